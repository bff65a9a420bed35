"""Pictures of files, and what Pillow raises on a file that is no whole one."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from qr_cli.engine.damage import FAULTS

NO_PICTURE: tuple[type[Exception], ...] = FAULTS + (Image.DecompressionBombError,)


def opened(path: Path) -> Image.Image:
    """Open a picture from memory: on disk, Pillow allocates what a piece is said to hold."""
    return Image.open(BytesIO(path.read_bytes()))
