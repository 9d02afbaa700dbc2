"""Compiled loops of the metrics, over cells that a core's cache holds."""
