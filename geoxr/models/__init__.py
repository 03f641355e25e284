"""Neural networks by name."""

from geoxr.models.registry import Padded, create_model, list_models

__all__ = ["Padded", "create_model", "list_models"]
