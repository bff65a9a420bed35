"""Fusion methods, one file each; their names stand in `qr_cli.fuse.names`."""
