"""``python -m qr_cli``; also what Accelerate's launcher starts."""

from qr_cli.cli.app import main

main()
