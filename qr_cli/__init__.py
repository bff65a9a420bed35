"""qr: ten published methods of one research group as a command line and a Python library."""

__version__ = "0.1.0"
