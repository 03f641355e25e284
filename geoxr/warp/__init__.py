"""Reprojection: exact coordinates, compiled gathers, the same pixels for any window."""
