"""Layers that follow from layers: functions, units, types, classes, masks and areas, all lazy."""
