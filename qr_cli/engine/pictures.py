"""Pictures of files, and what Pillow raises on a file that is no whole one."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from qr_cli.engine.damage import FAULTS
from qr_cli.errors import DataError

NO_PICTURE: tuple[type[Exception], ...] = FAULTS + (Image.DecompressionBombError,)


def opened(path: Path) -> Image.Image:
    """Open a picture from memory: on disk, Pillow allocates what a piece is said to hold."""
    return Image.open(BytesIO(path.read_bytes()))


def decoded(path: Path, mode: str = "RGB") -> Image.Image:
    """Return a picture whole, in Pillow's `mode`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with opened(path) as picture:
            return picture.convert(mode)
    except NO_PICTURE as error:
        raise DataError(f"{path} is no picture: {error}") from error
