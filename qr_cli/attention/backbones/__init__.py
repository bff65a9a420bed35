"""Networks that attention goes into, by name (imports no torch)."""
