"""Attention modules, one idea per file; `contract.py` says what they have in common."""
