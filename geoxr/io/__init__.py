"""Readers: pixels of any window of a grid, into memory the caller owns."""
