"""Attention modules, the backbones they go into, and what is asked of a trained network."""
