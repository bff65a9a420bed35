"""Hyperspectral and multispectral images to one: degradation, methods, formats, metrics."""
