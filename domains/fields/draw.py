"""Pictures of trajectories: fields in space and time, one panel for each sample.

With one dimension of space a panel is the whole trajectory, time upward. With two it is a row of frames. Where all
samples start alike they are an ensemble, and its mean and spread come first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciflow.errors import expected

from .layout import TIME, Layout

MOST = 16
"""Most samples in a picture."""
_FRAMES = 6
_INK, _QUIET = "#2b2f36", "#7a828e"


def grid(
    objects: Sequence[xr.Dataset], path: str | Path, titles: Sequence[str] | None = None
) -> None:
    """Draw the first field of trajectories.

    Args:
        objects: Trajectories; at most `MOST` are drawn.
        path: ``.svg`` or ``.png``.
        titles: What the panels are called; without them they are samples, numbered, and one ensemble if they start
            alike.

    Raises:
        SciflowError: There is nothing to draw, or the suffix is another.
    """
    path = Path(path)
    if path.suffix.lower() not in (".svg", ".png"):
        raise expected(str(path), path.suffix, ".svg or .png")
    if not objects:
        raise expected("trajectories to draw", "none", "at least one")
    layout = Layout.of(objects[0], path="sample 0")
    name = layout.fields[0]
    shown = [np.asarray(one[name].transpose(TIME, *layout.space).values) for one in objects[:MOST]]
    named = titles or [f"sample {k}" for k in range(len(shown))]
    panels = [(title, box, False) for title, box in zip(named, shown, strict=False)]
    size = float(np.sqrt(np.mean(np.square(shown[0])))) or 1.0
    alike = all(np.abs(box[0] - shown[0][0]).max() < 1e-3 * size for box in shown)
    if titles is None and len(shown) > 1 and alike:
        every = np.stack([np.asarray(one[name].transpose(TIME, *layout.space)) for one in objects])
        first = [("mean", every.mean(0), False), ("spread", every.std(0, ddof=1), True)]
        panels = first + panels[: MOST - 2]
    plot = _lines if len(layout.space) == 1 else _frames
    figure = plot(layout, name, panels)
    figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)


def _limits(
    name: str, panels: Sequence[tuple[str, np.ndarray, bool]]
) -> dict[bool, dict[str, Any]]:
    """Colours of fields (False) and of spreads (True), the same in all panels."""
    values = np.concatenate([box.ravel() for _, box, spread in panels if not spread])
    low, high = (float(v) for v in np.quantile(values, (0.002, 0.998)))
    if low < 0 < high:
        most = max(-low, high)
        field = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
    else:
        field = {"cmap": "viridis", "vmin": low, "vmax": high if high > low else low + 1}
    spreads = [box.max() for _, box, spread in panels if spread]
    return {
        False: field,
        True: {"cmap": "magma", "vmin": 0, "vmax": float(max(spreads, default=1))},
    }


def _lines(layout: Layout, name: str, panels: Sequence[tuple[str, np.ndarray, bool]]) -> Any:
    (x,) = layout.space
    space, time = layout.coordinates[x], layout.coordinates[TIME]
    half = (space[-1] - space[0]) / max(1, len(space) - 1) / 2
    extent = (space[0] - half, space[-1] + half, time[0], time[-1])
    columns = min(4, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, axes = _figure(rows, columns, 2.3, 2.1)
    limits = _limits(name, panels)
    images: dict[bool, Any] = {}
    for k, ax in enumerate(axes.flat):
        if k >= len(panels):
            ax.axis("off")
            continue
        title, box, spread = panels[k]
        images[spread] = ax.imshow(
            box,
            origin="lower",
            aspect="auto",
            extent=extent,
            interpolation="bilinear",
            **limits[spread],
        )
        _dress(ax, title)
        if k + columns >= len(panels):
            ax.set_xlabel(x, fontsize=8, color=_QUIET)
        else:
            ax.set_xticklabels([])
        if k % columns:
            ax.set_yticklabels([])
        else:
            ax.set_ylabel(TIME, fontsize=8, color=_QUIET)
    _bars(figure, axes, images, layout, name)
    return figure


def _frames(layout: Layout, name: str, panels: Sequence[tuple[str, np.ndarray, bool]]) -> Any:
    panels = panels[:6]
    times = layout.coordinates[TIME]
    chosen = np.unique(
        np.linspace(0, len(times) - 1, min(_FRAMES, len(times))).round().astype(int)
    )
    figure, axes = _figure(len(panels), len(chosen), 1.5, 1.5)
    limits = _limits(name, panels)
    images: dict[bool, Any] = {}
    for row, (title, box, spread) in zip(axes, panels, strict=True):
        for ax, k in zip(row, chosen, strict=True):
            frame = box[k]
            while frame.ndim > 2:  # the middle of a third dimension
                frame = frame[len(frame) // 2]
            images[spread] = ax.imshow(frame, origin="lower", **limits[spread])
            ax.set_xticks([])
            ax.set_yticks([])
            _dress(ax, f"{TIME} {times[k]:.3g}" if ax in axes[0] else "")
        row[0].set_ylabel(title, fontsize=8, color=_INK)
    _bars(figure, axes, images, layout, name)
    return figure


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * width + 1.0, rows * height + 0.3), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _dress(ax: Any, title: str) -> None:
    ax.set_title(title, fontsize=8, color=_INK, loc="left", pad=3)
    ax.tick_params(labelsize=7, colors=_QUIET, length=2)
    for side in ax.spines.values():
        side.set_color("#c3cad3")
        side.set_linewidth(0.6)


def _bars(figure: Any, axes: Any, images: dict[bool, Any], layout: Layout, name: str) -> None:
    unit = layout.units.get(name, "1")
    label = name if unit == "1" else f"{name} ({unit})"
    for spread, image in images.items():
        bar = figure.colorbar(
            image, ax=axes, shrink=0.8 if len(images) == 1 else 0.9, aspect=30, pad=0.015
        )
        bar.set_label(f"spread of {label}" if spread else label, fontsize=8, color=_INK)
        bar.ax.tick_params(labelsize=7, colors=_QUIET, length=2)
        bar.outline.set_visible(False)


__all__ = ["MOST", "grid"]
