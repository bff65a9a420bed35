"""Diagrams that come with a problem: read, checked, made grey on white."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from qr_cli.engine.pictures import opened
from qr_cli.errors import DataError

LARGEST = 64_000_000  # pixels


def read_diagram(path: Path) -> bytes:
    """Return a diagram as the bytes of a grey PNG; alpha lies on white.

    Raises:
        DataError: it is not there, no picture, truncated, animated or too large.
    """
    if not path.is_file():
        raise DataError(f"diagram {path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with opened(path) as image:
                pixels = image.width * image.height
                if pixels > LARGEST:
                    raise DataError(f"diagram {path}: {pixels:,} pixels are more than {LARGEST:,}")
                if getattr(image, "n_frames", 1) > 1:
                    raise DataError(f"diagram {path}: an animation, not a picture")
                image.load()
                grey = _grey(image)
    except UnidentifiedImageError as error:
        raise DataError(f"diagram {path}: cannot be read (no picture)") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        what = "truncated" if "truncated" in str(error) else str(error)
        raise DataError(f"diagram {path}: cannot be read ({what})") from error
    out = BytesIO()
    grey.save(out, "PNG", optimize=True)
    return out.getvalue()


def _grey(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(paper, layered).convert("L")
    return image.convert("L")
