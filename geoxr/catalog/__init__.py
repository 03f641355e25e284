"""From many files to one layer, and from many layers to one Dataset."""
