"""A model over a whole scene, back on the grid."""
