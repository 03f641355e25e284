"""Batches: from chips to tensors. torch starts here."""
