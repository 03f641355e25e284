"""Chips: which windows of a Dataset a model sees, planned before anything is read."""
