"""The figures of a fusion's report; each is a function of a theme (`engine.figures`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qr_cli.engine.figures import SMALL, TEXT, WIDTH, End, Theme, label_ends, new_figure
from qr_cli.engine.report import Plot
from qr_cli.fuse.preview import Preview
from qr_cli.fuse.task import Fusion

Array = NDArray[Any]  # of floats
Record = dict[str, Any]
SEQUENTIAL = "viridis"


def stretch(images: Sequence[Array]) -> list[Array]:
    """Return images in [0, 1] by one common 2-98 % stretch per colour; holes are grey."""
    out = []
    held = np.concatenate([image.reshape(-1, 3) for image in images])
    low, high = np.nanpercentile(held, [2, 98], axis=0)
    for image in images:
        shown = np.clip((image - low) / np.maximum(high - low, 1e-12), 0, 1)
        out.append(np.where(np.isfinite(shown), shown, 0.5))
    return out


def matched(msi: Array, fused: Array) -> Array:
    """Return the MSI with the mean and spread of the fused colours: another sensor, other units."""
    mean, spread = np.nanmean(msi, (0, 1)), np.nanstd(msi, (0, 1))
    goal = np.nanmean(fused, (0, 1)), np.nanstd(fused, (0, 1))
    return (msi - mean) / np.maximum(spread, 1e-12) * goal[1] + goal[0]


def panels(
    theme: Theme, images: Sequence[tuple[str, Array]], *, width: float = WIDTH * 1.6
) -> Figure:
    """Return pictures side by side with their names above."""
    ratio = images[0][1].shape[0] / images[0][1].shape[1]
    each = width / len(images)
    figure = Figure(figsize=(width, each * ratio + 0.32), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(images), squeeze=False)[0]
    top = 1 - 0.28 / figure.get_figheight()
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=top, wspace=0.02)
    for one, (name, image) in zip(axes, images, strict=True):
        one.imshow(image, interpolation="nearest", aspect="auto")
        one.set_title(name, fontsize=TEXT, color=theme.ink, loc="left", pad=4)
        one.set_axis_off()
    return figure


def quicklook(theme: Theme, preview: Preview, *, zoom: bool = False) -> Figure:
    """Return HSI, MSI and fused image in colour."""
    fused = preview.zoom if zoom else preview.fused
    images = [preview.hsi(zoom), matched(preview.msi(zoom), fused), fused]
    names = ("HSI, nearest", "MSI", "fused")
    return panels(theme, list(zip(names, stretch(images), strict=True)))


def field(theme: Theme, image: Array, label: str) -> Figure:
    """Return a map with its colour bar."""
    ratio = image.shape[0] / image.shape[1]
    figure = Figure(figsize=(WIDTH, WIDTH * 0.78 * min(ratio, 1.4) + 0.2), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.02, right=0.86, bottom=0.03, top=0.97)
    top = np.nanpercentile(image, 99) if np.isfinite(image).any() else 1
    shown = axes.imshow(
        image, cmap=SEQUENTIAL, vmin=0, vmax=float(top) or 1.0, interpolation="nearest"
    )
    axes.set_axis_off()
    bar = figure.colorbar(shown, ax=axes, fraction=0.045, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, colors=theme.muted, length=0)
    bar.set_label(label, color=theme.ink, fontsize=SMALL)
    return figure


def psf_plot(theme: Theme, taps: Array, known: Array | None = None) -> Figure:
    """Return taps as a map, and those known beside them."""
    images = [("estimated" if known is not None else "", taps)]
    if known is not None:
        images.append(("true", known))
    figure = Figure(figsize=(WIDTH * (1.5 if known is not None else 1), 3.4), facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(images), squeeze=False)[0]
    figure.subplots_adjust(left=0.1, right=0.96, bottom=0.15, top=0.9, wspace=0.3)
    top = max(float(image.max()) for _, image in images)
    for one, (name, image) in zip(axes, images, strict=True):
        half = len(image) / 2
        one.imshow(image, cmap=SEQUENTIAL, vmin=0, vmax=top, extent=(-half, half, half, -half))
        one.plot(0, 0, "+", color=theme.colors[1], markersize=9)
        one.set_title(name, fontsize=TEXT, color=theme.ink)
        one.set_xlabel("columns, HR pixels", fontsize=SMALL, color=theme.ink)
        one.set_ylabel("rows, HR pixels", fontsize=SMALL, color=theme.ink)
        one.tick_params(labelsize=SMALL, colors=theme.muted, length=0)
        one.spines[:].set_visible(False)
    return figure


def srf_plot(theme: Theme, at: Array, srf: Array, label: str, known: Array | None = None) -> Figure:
    """Return the responses against wavelength, each divided by its sum; true ones thin."""
    figure, (axes,) = new_figure(theme)
    for band in range(srf.shape[1]):
        color = theme.colors[band % len(theme.colors)]
        column = srf[:, band] / max(float(srf[:, band].sum()), 1e-12)
        axes.plot(at, column, color=color, linewidth=1.6)
        if known is not None:
            axes.plot(at, known[:, band], color=color, linewidth=0.8, linestyle="--")
    axes.set_xlabel(label)
    axes.set_ylabel("weight")
    axes.set_ylim(bottom=0)
    return figure


def line_plot(
    theme: Theme,
    at: Array,
    lines: Sequence[tuple[str, Array]],
    x: str,
    y: str,
    *,
    zero: bool = False,
) -> Figure:
    """Return labelled lines."""
    figure, (axes,) = new_figure(theme)
    ends = []
    for index, (name, values) in enumerate(lines):
        color = theme.colors[index % len(theme.colors)]
        axes.plot(at, values, color=color, linewidth=1.4)
        ends.append(End(float(at[-1]), float(values[-1]), name, color))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if zero:
        axes.set_ylim(bottom=0)
    label_ends(axes, ends)
    return figure


def scores_plot(theme: Theme, records: Sequence[Record]) -> Figure:
    """Return the leave-one-out score of every candidate of the local part."""
    figure, (axes,) = new_figure(theme)
    ends = []
    sigmas = sorted({r["local_sigma_px"] for r in records if r["local_sigma_px"]})
    plain = next(r for r in records if not r["local_sigma_px"])
    axes.axhline(plain["loo_score_db"], color=theme.muted, linewidth=1, linestyle="--")
    ends.append(End(1.0, plain["loo_score_db"], "none", theme.muted))
    for index, sigma in enumerate(sigmas):
        rows = [r for r in records if r["local_sigma_px"] == sigma]
        color = theme.colors[index % len(theme.colors)]
        x = [r["local_lambda"] for r in rows]
        y = [r["loo_score_db"] for r in rows]
        axes.plot(x, y, color=color, marker="o", markersize=4)
        ends.append(End(x[-1], y[-1], f"σ {sigma:g}", color))
    best = next(r for r in records if r["chosen"])
    if best["local_lambda"]:
        axes.plot(best["local_lambda"], best["loo_score_db"], "o", markersize=10,
                  markerfacecolor="none", markeredgecolor=theme.ink)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("ridge of the local part")
    axes.set_ylabel("held-out score, dB")
    label_ends(axes, ends)
    return figure


def coverage_plot(theme: Theme, rows: Sequence[Record]) -> Figure:
    """Return R^2 of held-out pixels per band; bands that the MSI does not see are shaded."""
    wave = [r["wavelength_nm"] for r in rows]
    at = np.array(range(len(rows)) if wave[0] is None else wave, float)
    figure, (axes,) = new_figure(theme)
    values = np.array([r["r2_loo"] for r in rows])
    for x, row in zip(at, rows, strict=True):
        if row["covered"] is False:
            axes.axvspan(x - 6, x + 6, color=theme.rule, linewidth=0)
    axes.plot(at, values, color=theme.colors[0], linewidth=1.4)
    axes.set_ylim(min(0.0, float(values.min())), 1.02)
    axes.set_xlabel("HSI band" if wave[0] is None else "wavelength, nm")
    axes.set_ylabel("R² of held-out pixels")
    return figure


def spectra_plot(theme: Theme, preview: Preview) -> Figure:
    """Return spectra at the chosen points: HSI pixel dashed, fused solid."""
    scene = preview.scene
    wave = scene.hsi.wavelength_nm
    at = np.arange(scene.hsi.shape[2]) if wave is None else wave
    figure, (axes,) = new_figure(theme)
    owners = scene.rows.owner(), scene.columns.owner()
    ends = []
    gaps = np.flatnonzero(np.diff(at) > 5 * np.median(np.diff(at))) + 1
    for index, (u, v) in enumerate(preview.points):
        color = theme.colors[index % len(theme.colors)]
        i = int(np.clip(owners[0][u], 0, scene.rows.low - 1))
        j = int(np.clip(owners[1][v], 0, scene.columns.low - 1))
        low, _ = scene.read_low(i, i + 1, j, j + 1)
        for part in np.split(np.arange(len(at)), gaps):  # no line over left-out bands
            axes.plot(at[part], preview.spectra[index][part], color=color, linewidth=1.3)
            pixel = low[0, 0] * scene.q_y
            axes.plot(at[part], pixel[part], color=color, linewidth=0.9, linestyle=":")
        ends.append(End(float(at[-1]), float(preview.spectra[index][-1]), f"({u}, {v})", color))
    axes.set_xlabel("HSI band" if wave is None else "wavelength, nm")
    axes.set_ylabel("value of the HSI")
    label_ends(axes, ends)
    return figure


def consistency_map(fusion: Fusion) -> Array | None:
    """Return |P F - Y| per LR pixel, root mean square over bands, in units of the HSI."""
    scene = fusion.scene
    parts = fusion.sums.low
    if not parts:
        return None
    out = np.full((scene.rows.low, scene.columns.low), np.nan, np.float32)
    for (i, j), part in parts.items():
        out[i : i + part.shape[0], j : j + part.shape[1]] = part * scene.q_y
    return out


def fusion_plots(fusion: Fusion, preview: Preview) -> list[Plot]:
    """Return all figures of a report."""
    scene, degradation = fusion.scene, fusion.degradation
    wave = scene.hsi.wavelength_nm
    at = np.arange(scene.hsi.shape[2], dtype=float) if wave is None else wave
    x = "HSI band" if wave is None else "wavelength, nm"
    names = ", ".join(str(b) for b in preview.bands)
    colour = "true colour" if preview.true_color else "false colour"
    plots = [
        Plot("quicklook", "The fused image has the detail of the MSI and the colours of the HSI",
             f"{colour}, HSI bands {names}; one 2-98 % stretch, the MSI matched to the fused mean "
             "and spread.", lambda theme: quicklook(theme, preview)),
        Plot("zoom", "The most structured 64 x 64 pixels",
             f"Bands and stretch as above; first HR pixel {preview.corner}.",
             lambda theme: quicklook(theme, preview, zoom=True)),
    ]  # fmt: skip
    if degradation.psf.taps is not None:
        taps = degradation.psf.taps
        width, shift = degradation.psf.moments()
        plots.append(
            Plot("psf", f"A point spreads over {width[0]:.1f} x {width[1]:.1f} HR pixels",
                 f"Taps of the {degradation.psf.family} PSF; full widths at half maximum, shift "
                 f"({shift[0]:+.2f}, {shift[1]:+.2f}); cross: centre of the LR pixel.",
                 lambda theme: psf_plot(theme, taps)))  # fmt: skip
    plots.append(
        Plot("srf", "What each MSI band sees of the HSI bands",
             "Non-negative least squares with roughness; each response divided by its sum. "
             "Where HSI bands are alike, many responses explain the MSI equally well.",
             lambda theme: srf_plot(theme, at, degradation.srf, x)))  # fmt: skip
    plots.append(
        Plot(
            "snr",
            "Estimated signal-to-noise ratio of the HSI",
            f"Residual of each band regressed on the others; MSI, median: "
            f"{fusion.noise.snr_msi_db:.1f} dB.",
            lambda theme: line_plot(theme, at, [("HSI", fusion.noise.snr_y)], x, "SNR, dB"),
        )
    )
    candidates = [r for r in fusion.records if r["event"] == "candidate" and "loo_score_db" in r]
    if len(candidates) > 1:
        plots.append(
            Plot("scores", "Held-out LR pixels choose the local part",
                 "Leave-one-out score of every candidate; ring: chosen; dashed: no local part.",
                 lambda theme: scores_plot(theme, candidates)))  # fmt: skip
    if fusion.bands and "r2_loo" in fusion.bands[0]:
        plots.append(
            Plot("coverage", "How well the MSI predicts each HSI band",
                 "R² of held-out LR pixels; shaded: more than 50 nm from what the MSI sees.",
                 lambda theme: coverage_plot(theme, fusion.bands)))  # fmt: skip
    if np.isfinite(preview.spectra).all() and len(preview.points):
        plots.append(
            Plot("spectra", "Fused spectra keep the shape of the HSI",
                 "Six pixels that differ most in the MSI (k-means); solid: fused, dotted: the HSI "
                 "pixel they lie in.", lambda theme: spectra_plot(theme, preview)))  # fmt: skip
    gap = consistency_map(fusion)
    if gap is not None:
        plots.append(
            Plot("consistency", "What the fused image leaves of the HSI",
                 "|P F - Y| per LR pixel, root mean square over bands.",
                 lambda theme: field(theme, gap, "units of the HSI")))  # fmt: skip
    plots += getattr(fusion.fitted, "plots", [])
    return plots
