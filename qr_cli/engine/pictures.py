"""What Pillow raises on a file that is no whole picture."""

from PIL import Image

from qr_cli.engine.damage import FAULTS

NO_PICTURE: tuple[type[Exception], ...] = FAULTS + (Image.DecompressionBombError,)
