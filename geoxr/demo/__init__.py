"""The main job end to end: files, aligned Dataset, chips, training, prediction, report."""
