"""The rows a training starts from: read, checked, and parted into what is learned and held out."""

from __future__ import annotations

from pathlib import Path

from accelerate import PartialState

from qr_cli.errors import DataError, UsageError
from qr_cli.generate import world
from qr_cli.generate.surd import Row, metadata_file, read_surd, scan, split_rows


def read_rows(
    source: str,
    *,
    root: Path,
    pictures: bool,
    skip_missing: bool = False,
    max_samples: int | None = None,
) -> tuple[list[Row], list[Row]]:
    """Return training and validation rows.

    Args:
        source: a SURD folder, a metadata.jsonl, or "tiny", which is written into the cache once.
        root: the folder of caches.
        pictures: whether every row needs one.
        skip_missing: leave rows with faults out.
        max_samples: training rows at most.

    Raises:
        DataError: they cannot be used, or none are left.
        UsageError: pictures are needed and the file stands alone.
    """
    if source == "tiny":
        from qr_cli.generate.collect import write_tiny

        folder = root / f"surd-tiny-{world.VERSION}"
        with PartialState().main_process_first():
            if not folder.is_dir():
                write_tiny(folder)
        source = str(folder)
    if pictures:
        _require_pictures(metadata_file(source))
    train, val = split_rows(read_surd(source, pictures=pictures, skip_missing=skip_missing))
    if not train:
        raise DataError(f"{source} holds no rows to train on")
    return train[:max_samples], val


def _require_pictures(file: Path) -> None:
    """Raise `UsageError` for metadata without a single picture."""
    rows, _ = scan(file, pictures=False)
    if rows and not any(row.picture for row in rows):
        raise UsageError(
            f"--diffusion-steps: the diffusion phase needs pictures, and {file} has none",
            hint="--diffusion-steps 0, or a SURD folder",
        )
