"""The recipes of this room: fuse a pair, evaluate a fused image. Imports no torch.

Defaults are those of the method `auto`; the published schedule of ADASR is a recipe file.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from qr_cli.engine.recipe import Recipe, Section, Seed
from qr_cli.errors import UsageError
from qr_cli.fuse.names import near_method

Quad = tuple[int, int, int, int]
Two = tuple[int, int]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(GiB|MiB)")


def _method(value: str) -> str:
    try:
        return near_method(value)
    except UsageError as error:
        raise ValueError(error.message) from error


def _psf(value: str) -> str:
    words = ("auto", "gaussian", "taps", "block", "official")
    if value not in words and not value.endswith((".npy", ".csv")):
        raise ValueError(f"should be {', '.join(words)} or a .npy file, got {value}")
    return value


def _memory(value: str) -> str:
    if not _SIZE.fullmatch(value):
        raise ValueError(f"should be a size as 1.5GiB or 800MiB, got {value}")
    return value


class Pair(Section):
    """The two images."""

    hsi: Annotated[str | None, Field(description="Hyperspectral image: FILE, coarse pixels.")] = (
        None
    )
    msi: Annotated[str | None, Field(description="Multispectral image: FILE, or bands A,B,..")] = (
        None
    )
    pairs: Annotated[
        tuple[str, ...],
        Field(
            description="JSON lines of pairs; - reads stdin.",
            json_schema_extra={"argument": "PAIRS"},
        ),
    ] = ()
    ratio: Annotated[
        float | None, Field(gt=1, description="HR per LR pixel; default: from the grids.")
    ] = None
    hsi_key: Annotated[str | None, Field(description="Name of the cube inside the HSI.")] = None
    msi_key: Annotated[str | None, Field(description="Name of the cube inside the MSI.")] = None
    shape: Annotated[
        Two | None, Field(description="Rows,columns of a .mat with a list of pixels.")
    ] = None
    hsi_scale: Annotated[float | None, Field(gt=0, description="Factor of HSI values.")] = None
    hsi_offset: Annotated[float | None, Field(description="Added to HSI values.")] = None
    hsi_nodata: Annotated[float | None, Field(description="HSI value that is no data.")] = None
    msi_scale: Annotated[float | None, Field(gt=0, description="Factor of MSI values.")] = None
    msi_offset: Annotated[float | None, Field(description="Added to MSI values.")] = None
    msi_nodata: Annotated[float | None, Field(description="MSI value that is no data.")] = None
    reproject: Annotated[
        Literal["none", "hsi"], Field(description="Warp onto the CRS of the MSI:")
    ] = "none"
    crop: Annotated[Quad | None, Field(description="Use HSI pixels R0,R1,C0,C1 only.")] = None
    bands: Annotated[tuple[str, ...], Field(description="HSI bands from 0: 3-50,60-.")] = ()
    drop_water: Annotated[bool, Field(description="Leave out bands of water vapour.")] = False
    trim_uncovered: Annotated[bool, Field(description="Leave out bands the MSI does not see.")] = (
        False
    )
    mask: Annotated[str | None, Field(description="FILE, nonzero = bad, on either grid.")] = None
    quality_mask: Annotated[bool, Field(description="Use the masks of an EnMAP product.")] = False
    overlap: Annotated[
        Literal["vnir", "swir"], Field(description="Sensor that counts where both see (PRISMA):")
    ] = "vnir"


class Sensors(Section):
    """What is known of the sensors; the rest is estimated."""

    psf: Annotated[
        str,
        AfterValidator(_psf),
        Field(description="One of auto, gaussian, taps, block, official, or FILE.npy."),
    ] = "auto"
    srf: Annotated[str | None, Field(description="Sensor name or FILE (.csv, .npy, .mat).")] = None
    srf_use: Annotated[
        Literal["given", "ranges"], Field(description="Take --srf as it is, or its ranges only:")
    ] = "given"
    srf_raw: Annotated[bool, Field(description="Do not normalise the columns of --srf.")] = False
    srf_sum: Annotated[Literal["free", "one"], Field(description="Sum of each response:")] = "free"
    srf_offset: Annotated[
        Literal["auto", "on", "off"], Field(description="Constant per MSI band:")
    ] = "auto"
    snr_hsi: Annotated[float | None, Field(description="SNR of the HSI in dB.")] = None
    snr_msi: Annotated[float | None, Field(description="SNR of the MSI in dB.")] = None
    registration: Annotated[
        Literal["psf", "msi", "off"],
        Field(
            description="Shift: in the PSF, MSI resampled, or none:",
            json_schema_extra={"flag": "--register"},
        ),
    ] = "psf"


class Method(Section):
    """How the images are fused."""

    method: Annotated[
        str,
        AfterValidator(_method),
        Field(description="A name of qr list methods, or pkg.mod:Class."),
    ] = "auto"
    back_projection: Annotated[int, Field(ge=0, le=10, description="Passes (auto, adasr).")] = 2
    clip: Annotated[
        Literal["auto", "none", "zero"], Field(description="Negative values (auto, adasr):")
    ] = "auto"
    glp_mode: Annotated[
        Literal["additive", "multiplicative"], Field(description="Injection of glp:")
    ] = "additive"
    subspace: Annotated[int | None, Field(ge=1, description="Dimensions of fuse and hysure.")] = (
        None
    )
    endmembers: Annotated[int, Field(ge=2, description="Endmembers of cnmf.")] = 20


class Adasr(Section):
    """ADASR and UDALN only."""

    schedule: Annotated[
        Literal["fast", "official"], Field(description="Ours, or as published:")
    ] = "fast"
    targets: Annotated[
        Literal["consistency", "oracle"], Field(description="Blind, or true low MSIs:")
    ] = "consistency"
    augmentor: Annotated[
        Literal["adversarial", "official", "pointnet", "none"],
        Field(description="Transforms while PSF and SRF are learnt:"),
    ] = "adversarial"
    adv_weight: Annotated[
        float, Field(ge=0, description="Weight of the transformed loss (fast).")
    ] = 0.1
    up_net: Annotated[
        Literal["residual", "official"], Field(description="Network from MSI to HSI (fast):")
    ] = "residual"
    iterations: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(description="Steps of each stage; default: of the schedule."),
    ] = ()
    constrained: Annotated[bool, Field(description="Keep PSF and SRF physical (udaln).")] = True


class Output(Section):
    """What is written."""

    out: Annotated[str | None, Field(description="Fused image: .tif, .hdr, .mat or .npz.")] = None
    dtype: Annotated[Literal["same", "float32"], Field(description="Stored as the HSI is, or:")] = (
        "same"
    )
    compress: Annotated[
        Literal["deflate", "none"], Field(description="Compression of GeoTIFF:")
    ] = "deflate"
    uncertainty: Annotated[
        str | None, Field(description="FILE for the size of the error (auto).")
    ] = None
    uncertainty_bands: Annotated[
        Literal["rms", "all"], Field(description="Over bands, or every band:")
    ] = "rms"
    self_test: Annotated[bool, Field(description="Also test at reduced resolution.")] = False
    report: Annotated[bool, Field(description="Write a run folder with report.html.")] = True
    quicklook: Annotated[bool, Field(description="Write a picture beside the output.")] = True
    runs: Annotated[str, Field(description="Folder of run folders.")] = "runs"


class Job(Section):
    """How it is computed."""

    tile: Annotated[int, Field(ge=8, le=1024, description="Side of a tile, LR pixels.")] = 64
    max_memory: Annotated[
        str, AfterValidator(_memory), Field(description="Limit of methods without tiles.")
    ] = "1.5GiB"
    threads: Annotated[int, Field(ge=0, le=256, description="Threads; 0: the cores.")] = 0
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], Field(description="Where networks are trained:")
    ] = "auto"
    num_processes: Annotated[int, Field(ge=1, le=1024, description="Processes over pairs.")] = 1
    seed: Annotated[Seed, Field(description="Seed of samples and networks.")] = 0
    strict: Annotated[bool, Field(description="Refuse pairs that are not to be trusted.")] = False

    @property
    def memory_bytes(self) -> int:
        """Return the memory limit in bytes."""
        found = _SIZE.fullmatch(self.max_memory)
        assert found is not None
        return int(float(found[1]) * 2 ** (30 if found[2] == "GiB" else 20))


def _is_adasr(method: str) -> bool:
    return method in ("adasr", "udaln")


class Fuse(Recipe):
    """Fuse a hyperspectral and a multispectral image."""

    task: Literal["fuse"] = "fuse"
    pair: Pair = Pair()
    sensors: Sensors = Sensors()
    method: Method = Method()
    adasr: Adasr = Adasr()
    output: Output = Output()
    job: Job = Job()

    @model_validator(mode="after")
    def _oracle(self) -> Self:
        known = self.sensors.psf not in ("auto", "gaussian", "taps", "block")
        if self.adasr.targets == "oracle" and not (known and self.sensors.srf):
            raise ValueError("--targets: oracle needs the true --psf and --srf")
        return self

    @model_validator(mode="after")
    def _adasr_only(self) -> Self:
        given = self.adasr.model_dump(exclude_defaults=True)
        if given and not _is_adasr(self.method.method):
            flag = "--" + next(iter(given)).replace("_", "-")
            raise ValueError(f"{flag}: only with --method adasr, got {self.method.method}")
        return self

    @model_validator(mode="after")
    def _only_with_their_method(self) -> Self:
        for key, methods in _OWN.items():
            if key in self.method.model_dump(exclude_defaults=True) and (
                self.method.method not in methods
            ):
                flag = "--" + key.replace("_", "-")
                raise ValueError(
                    f"{flag}: only with --method {' or '.join(methods)}, got {self.method.method}"
                )
        return self

    @model_validator(mode="after")
    def _uncertainty(self) -> Self:
        if self.output.uncertainty and self.method.method != "auto":
            raise ValueError(f"--uncertainty: only with --method auto, got {self.method.method}")
        return self


_OWN = {
    "glp_mode": ("glp",),
    "subspace": ("fuse", "hysure"),
    "endmembers": ("cnmf",),
}


class Question(Section):
    """What is evaluated."""

    reference: Annotated[str | None, Field(description="True image on the fine grid.")] = None
    fused: Annotated[str | None, Field(description="Fused image to be scored.")] = None
    cube: Annotated[str | None, Field(description="Simulate a pair from this cube.")] = None
    hsi: Annotated[str | None, Field(description="Hyperspectral image: FILE.")] = None
    msi: Annotated[str | None, Field(description="Multispectral image: FILE.")] = None
    key: Annotated[str | None, Field(description="Name of the cube inside --cube.")] = None
    hsi_key: Annotated[str | None, Field(description="Name of the cube inside the HSI.")] = None
    msi_key: Annotated[str | None, Field(description="Name of the cube inside the MSI.")] = None
    ratio: Annotated[float | None, Field(gt=1, description="HR per LR pixel.")] = None
    self_test: Annotated[bool, Field(description="Test methods at reduced resolution.")] = False
    methods: Annotated[tuple[str, ...], Field(description="Methods to compare.")] = ("auto",)

    @property
    def answerable(self) -> bool:
        """Tell whether enough is given to answer anything."""
        pair = self.hsi is not None and self.msi is not None
        return (
            self.cube is not None
            or (self.reference is not None and self.fused is not None)
            or (pair and (self.fused is not None or self.self_test))
        )


class Simulation(Section):
    """How a pair is simulated from --cube."""

    srf: Annotated[str, Field(description="Sensor name or FILE.")] = "sentinel2a-10"
    snr: Annotated[tuple[float, ...], Field(description="SNR of HSI,MSI in dB; none: clean.")] = ()
    psf_given: Annotated[bool, Field(description="Tell methods the true PSF.")] = False


class Conventions(Section):
    """How figures are counted."""

    psnr_peak: Annotated[str, Field(description="Peak of PSNR: band, cube or a number.")] = "band"
    sam_zero: Annotated[
        Literal["count", "skip"], Field(description="Pixels of norm zero in SAM:")
    ] = "count"
    data_range: Annotated[
        float | None, Field(gt=0, description="Range of SSIM; default: band maximum.")
    ] = None
    uiqi: Annotated[bool, Field(description="Also the universal quality index.")] = False
    border: Annotated[int, Field(ge=0, description="HR pixels left out at each edge.")] = 0
    per_band: Annotated[bool, Field(description="Also a record per band.")] = False


class FuseEval(Recipe):
    """Score fused images, and compare methods."""

    question: Question = Question()
    simulation: Simulation = Simulation()
    conventions: Conventions = Conventions()
    job: Job = Job()

    @model_validator(mode="after")
    def _peak(self) -> Self:
        text = self.conventions.psnr_peak
        if text not in ("band", "cube") and not re.fullmatch(r"\d+(\.\d+)?", text):
            raise ValueError(f"--psnr-peak: should be band, cube or a number, got {text}")
        return self

    @model_validator(mode="after")
    def _snr(self) -> Self:
        if len(self.simulation.snr) not in (0, 2):
            raise ValueError("--snr: give two numbers, HSI,MSI")
        return self
