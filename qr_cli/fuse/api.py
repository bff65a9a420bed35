"""`qr_cli.fuse(hsi, msi, ...)`: the command as a Python call, on files or arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qr_cli.engine.resolve import by_name, read_recipe, resolve
from qr_cli.errors import UsageError
from qr_cli.fuse import inputs, task
from qr_cli.fuse.formats.write import check_out
from qr_cli.fuse.raster import Raster, from_array
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.save import write
from qr_cli.fuse.selftest import assembled
from qr_cli.fuse.task import Fusion

Record = dict[str, Any]
Source = str | Path | ArrayLike | Raster


class Fused:
    """A fused image.

    Attributes:
        fusion: the fitted method and what it knows.
        array: the image (H, W, L) over the common area, in the units of the HSI; NaN where invalid.
        record: the final record.
    """

    def __init__(self, fusion: Fusion) -> None:
        self.fusion = fusion
        self.array: NDArray[np.floating] = assembled(fusion)
        self.record: Record = fusion.final(None)

    @property
    def wavelength_nm(self) -> NDArray[np.floating] | None:
        """Return the centre of each band."""
        return self.fusion.scene.hsi.wavelength_nm

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Return the pixels that hold data (H, W)."""
        return np.isfinite(self.array).all(-1)

    @property
    def psf(self) -> NDArray[np.floating] | None:
        """Return the taps (k, k), or None for a ratio that is not whole."""
        return self.fusion.degradation.psf.taps

    @property
    def srf(self) -> NDArray[np.floating]:
        """Return R (L, l) in the units of the files."""
        scene = self.fusion.scene
        return self.fusion.degradation.srf * (scene.q_z / scene.q_y)

    @property
    def records(self) -> list[Record]:
        """Return all records, in the order they were made."""
        return [*self.fusion.records, self.record]

    def uncertainty(self) -> NDArray[np.floating]:
        """Return the expected size of the error (H, W, L), in the units of the HSI.

        Raises:
            UsageError: the method knows none.
        """
        fusion = self.fusion
        if not hasattr(fusion.fitted, "uncertainty"):
            raise UsageError(
                f"{fusion.recipe.method.method} knows no uncertainty", hint="method='auto'"
            )
        block = fusion.scene.whole()
        return np.asarray(fusion.fitted.uncertainty(block) * fusion.scene.q_y)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the image, and NAME.json beside it."""
        place = Path(path)
        check_out(place, overwrite=overwrite)
        return write(self.fusion, place).files[0]


def fuse(
    hsi: Source,
    msi: Source,
    *,
    wavelength_nm: ArrayLike | None = None,
    recipe: str | None = None,
    say: Callable[[Record], None] = lambda record: None,
    **settings: Any,
) -> Fused:
    """Fuse a hyperspectral and a multispectral image.

    Args:
        hsi: file, array (h, w, L) or raster.
        msi: file, array (H, W, l) or raster.
        wavelength_nm: of the HSI's bands, for arrays.
        recipe: a recipe file or shipped recipe to start from.
        say: takes records as they are made.
        settings: flags of `qr fuse` with underscores: ``method="auto", register="psf"``.

    Raises:
        QrError: what the command line would print; `exit_code` is its exit code.
    """
    file = read_recipe("fuse", recipe) if recipe else None
    files = {
        name: str(source)
        for name, source in (("hsi", hsi), ("msi", msi))
        if isinstance(source, str | Path)
    }
    asked = resolve(Fuse, file=file, given=by_name(Fuse, {**settings, **files}))
    rasters = {
        "hsi": hsi if isinstance(hsi, Raster) else None,
        "msi": msi if isinstance(msi, Raster) else None,
    }
    if files:
        opened = dict(zip(("hsi", "msi"), _opened(asked), strict=True))
        rasters = {name: rasters[name] or opened[name] for name in rasters}
    made = {
        "hsi": rasters["hsi"] or from_array(hsi, path="hsi", wavelength_nm=wavelength_nm),  # type: ignore[arg-type]
        "msi": rasters["msi"] or from_array(msi, path="msi"),  # type: ignore[arg-type]
    }
    return Fused(task.fit(asked, made["hsi"], made["msi"], say=say))


def _opened(recipe: Fuse) -> tuple[Raster | None, Raster | None]:
    """Return the rasters of the files that a recipe names."""
    if recipe.pair.hsi and recipe.pair.msi:
        return inputs.open_pair(recipe)
    name = "hsi" if recipe.pair.hsi else "msi"
    both = recipe.changed("pair", hsi=recipe.pair.hsi or recipe.pair.msi,
                          msi=recipe.pair.msi or recipe.pair.hsi)  # fmt: skip
    opened = dict(zip(("hsi", "msi"), inputs.open_pair(both), strict=True))
    return (opened["hsi"], None) if name == "hsi" else (None, opened["msi"])
