"""Loaders of aligned chips and what they are compared on; `benchmarks.loading` runs them in turns."""
