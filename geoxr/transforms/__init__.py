"""What happens to a batch between the loader and the model."""

from geoxr.transforms.normalize import Normalize, Stats, stats_of_batches, valid_of

__all__ = ["Normalize", "Stats", "stats_of_batches", "valid_of"]
