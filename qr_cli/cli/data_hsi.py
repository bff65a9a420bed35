"""`qr data hsi VERB`: simulate, info, srf, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qr_cli.cli.output import out
from qr_cli.cli.verb import Overwrite, group, verb

Key = Annotated[str | None, typer.Option(help="Name of the cube inside the file.", metavar="NAME")]

app = group("Hyperspectral images: simulate pairs, look into files, convert.")


def _tell(record: dict[str, Any], value: str) -> None:
    out.record(record)
    rows = [[k.replace("_", " "), _text(v)] for k, v in record.items() if k != "event"]
    out.table(str(record["event"]), ["", "value"], rows)
    out.value(value)


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) > 6:
        return f"{value[0]} .. {value[-1]} ({len(value)})"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)


def _two(text: str | None, flag: str) -> tuple[float, float] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(
        p.strip().lstrip("+-").replace(".", "", 1).isdigit() for p in parts
    ):
        raise typer.BadParameter(f"{flag}: give two numbers as 30,40, got {text}")
    return float(parts[0]), float(parts[1])


@verb(
    app,
    "simulate",
    shown=[
        "qr data hsi simulate --cube generated --out pair",
        "qr data hsi simulate --cube X.mat --srf worldview2 --snr 30,40 --out pair",
        "qr data hsi simulate --cube X.npz --ratio 4 --shift 0.8,-1.3 --out pair",
    ],
)
def simulate(
    cube: Annotated[
        str, typer.Option(help="The true cube; generated: one of ours.", metavar="FILE")
    ],
    folder: Annotated[str, typer.Option("--out", help="Folder for the pair.", metavar="DIR")],
    ratio: Annotated[int, typer.Option(min=2, help="HR per LR pixel.", metavar="N")] = 5,
    srf: Annotated[
        str, typer.Option(help="Sensor name or FILE.", metavar="NAME|FILE")
    ] = "sentinel2a-10",
    snr: Annotated[
        str | None, typer.Option(help="SNR of HSI,MSI in dB; none: clean.", metavar="DB,DB")
    ] = None,
    fwhm: Annotated[
        float | None, typer.Option(help="Width of the PSF, HR pixels.", metavar="X")
    ] = None,
    shift: Annotated[
        str | None, typer.Option(help="Shift of the PSF, HR pixels.", metavar="ROWS,COLS")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.", metavar="N")] = 0,
    key: Key = None,
    format: Annotated[str, typer.Option(help="npz, tif, mat or hdr.", metavar="NAME")] = "npz",
    overwrite: Overwrite = False,
) -> None:
    """Make a test pair by the Wald protocol: hsi, msi, reference, truth.json, psf.npy, srf.csv."""
    from qr_cli.fuse.wald import simulate_files

    record = simulate_files(
        cube, out=Path(folder), key=key, ratio=ratio, srf=srf, snr=_two(snr, "--snr"), seed=seed,
        fwhm=fwhm, shift=_two(shift, "--shift") or (0.0, 0.0), suffix=format, overwrite=overwrite,
    )  # fmt: skip
    _tell(record, folder)


@verb(
    app,
    "info",
    shown=["qr data hsi info cube.mat", "qr data hsi info b.tif --json"],
)
def info(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An image.")],
    key: Key = None,
) -> None:
    """Show shape, type, wavelengths, place, nodata and estimated noise of a file."""
    from qr_cli.fuse.wald import info as look

    record = look(file, key=key)
    _tell(record, " ".join(map(str, record["shape"])))


@verb(
    app,
    "srf",
    shown=["qr data hsi srf --sensor worldview2 --wavelengths wl.txt --out srf.csv"],
)
def srf(
    sensor: Annotated[
        str, typer.Option(help="sentinel2a-10, worldview2, ali, rgb, ..", metavar="NAME")
    ],
    wavelengths: Annotated[str, typer.Option(help="Text file of nanometres.", metavar="FILE")],
    file: Annotated[str, typer.Option("--out", help="Table to write, .csv.", metavar="FILE")],
    overwrite: Overwrite = False,
) -> None:
    """Write the responses of a sensor at given wavelengths."""
    from qr_cli.fuse.wald import response_file

    _tell(response_file(sensor, Path(wavelengths), Path(file), overwrite=overwrite), file)


@verb(app, "convert", shown=["qr data hsi convert A.he5 B.tif"])
def convert(
    source: Annotated[str, typer.Argument(metavar="FROM", help="An image.")],
    target: Annotated[str, typer.Argument(metavar="TO", help=".tif, .hdr, .mat or .npz.")],
    key: Key = None,
    overwrite: Overwrite = False,
) -> None:
    """Copy an image into another format, with its wavelengths and place."""
    from qr_cli.fuse.wald import convert as copy

    _tell(copy(source, Path(target), key=key, overwrite=overwrite), target)
