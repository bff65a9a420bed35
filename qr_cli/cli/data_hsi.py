"""`qr data hsi VERB`: simulate, info, srf, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qr_cli.cli.lazy import SETTINGS, Command, LazyGroup
from qr_cli.cli.output import out

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines.", metavar=" ")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only the one path.", metavar=" ")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files.", metavar=" ")]
Key = Annotated[str | None, typer.Option(help="Name of the cube inside the file.")]

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    help="Hyperspectral images: simulate pairs, look into files, convert.",
    **SETTINGS,
)


def _epilog(*lines: str) -> str:
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])


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


@app.command(
    "simulate",
    cls=Command,
    epilog=_epilog(
        "qr data hsi simulate --cube X.mat --srf worldview2 --snr 30,40 --out pair",
        "qr data hsi simulate --cube X.npz --ratio 4 --shift 0.8,-1.3 --out pair",
    ),
)
def simulate(
    cube: Annotated[str, typer.Option(help="The true cube: FILE.")],
    folder: Annotated[str, typer.Option("--out", help="Folder for the pair.")],
    ratio: Annotated[int, typer.Option(min=2, help="HR per LR pixel.")] = 5,
    srf: Annotated[str, typer.Option(help="Sensor name or FILE.")] = "sentinel2a-10",
    snr: Annotated[str | None, typer.Option(help="SNR of HSI,MSI in dB; none: clean.")] = None,
    fwhm: Annotated[float | None, typer.Option(help="Width of the PSF, HR pixels.")] = None,
    shift: Annotated[str | None, typer.Option(help="Shift of the PSF, HR pixels.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    key: Key = None,
    format: Annotated[str, typer.Option(help="npz, tif, mat or hdr.")] = "npz",
    overwrite: Overwrite = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a test pair by the Wald protocol: hsi, msi, reference, truth.json, psf.npy, srf.csv."""
    out.configure(as_json=json, quiet=quiet)
    out.route_logs()
    from qr_cli.fuse.wald import simulate_files

    record = simulate_files(
        cube, out=Path(folder), key=key, ratio=ratio, srf=srf, snr=_two(snr, "--snr"), seed=seed,
        fwhm=fwhm, shift=_two(shift, "--shift") or (0.0, 0.0), suffix=format, overwrite=overwrite,
    )  # fmt: skip
    _tell(record, folder)


@app.command(
    "info",
    cls=Command,
    epilog=_epilog("qr data hsi info cube.mat", "qr data hsi info b.tif --json"),
)
def info(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An image.")],
    key: Key = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show shape, type, wavelengths, place, nodata and estimated noise of a file."""
    out.configure(as_json=json, quiet=quiet)
    out.route_logs()
    from qr_cli.fuse.wald import info as look

    record = look(file, key=key)
    _tell(record, " ".join(map(str, record["shape"])))


@app.command(
    "srf",
    cls=Command,
    epilog=_epilog("qr data hsi srf --sensor worldview2 --wavelengths wl.txt --out srf.csv"),
)
def srf(
    sensor: Annotated[str, typer.Option(help="sentinel2a-10, worldview2, ali, rgb, ..")],
    wavelengths: Annotated[str, typer.Option(help="Text file of nanometres.")],
    file: Annotated[str, typer.Option("--out", help="Table to write, .csv.")],
    overwrite: Overwrite = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the responses of a sensor at given wavelengths."""
    out.configure(as_json=json, quiet=quiet)
    out.route_logs()
    from qr_cli.fuse.wald import response_file

    _tell(response_file(sensor, Path(wavelengths), Path(file), overwrite=overwrite), file)


@app.command("convert", cls=Command, epilog=_epilog("qr data hsi convert A.he5 B.tif"))
def convert(
    source: Annotated[str, typer.Argument(metavar="FROM", help="An image.")],
    target: Annotated[str, typer.Argument(metavar="TO", help=".tif, .hdr, .mat or .npz.")],
    key: Key = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Copy an image into another format, with its wavelengths and place."""
    out.configure(as_json=json, quiet=quiet)
    out.route_logs()
    from qr_cli.fuse.wald import convert as copy

    _tell(copy(source, Path(target), key=key, overwrite=overwrite), target)
