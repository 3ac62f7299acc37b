r"""Charts of trajectories beside the picture in space and time: fans of ensembles, spectra, animations.

    fan         at a few places, the middle 50 and 90 per cent of an ensemble over time, its median, and what truly
                followed.
    spectra     mean square by wavenumber, of the samples and of the reference.
    animation   the fields over time, as GIF: lines where there is one dimension of space, else pictures.

Sample i belongs to reference trajectory i modulo their number; without a reference, samples that start alike are one
ensemble.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from sciflow.errors import SciflowError, expected

from . import metrics
from .layout import TIME, Layout

MEMBERS = 4
"""Least members of a fan."""
_ROWS, _PLACES, _LINES = 2, 3, 16
_FRAMES = 60
_INK, _QUIET, _OWN, _TRUE = "#2b2f36", "#7a828e", "#3566b8", "#c4452d"


def fan(
    objects: Sequence[xr.Dataset],
    path: str | Path,
    reference: Sequence[xr.Dataset] | None = None,
) -> bool:
    """Draw fan charts of the first field.

    Args:
        objects: Samples.
        path: ``.svg`` or ``.png``.
        reference: What truly followed.

    Returns:
        False where there is nothing to draw: no ensemble of `MEMBERS` or more.
    """
    layout, name, box = _boxes(objects)
    size = float(np.sqrt(np.mean(np.square(box)))) or 1.0
    if reference:
        count = len(reference)
    elif np.abs(box[:, 0] - box[0, 0]).max() < 1e-3 * size:
        count = 1
    else:
        return False
    members = len(box) // count
    if members < MEMBERS:
        return False
    box = box[: members * count].reshape(members, count, *box.shape[1:])
    truth = _boxes(reference)[2] if reference else None
    times = layout.coordinates[TIME]
    rows = min(_ROWS, count)
    places = _places(box.shape[3:])
    figure = _figure(2.6 * len(places) + 0.6, 1.9 * rows + 0.4)
    axes = figure.subplots(rows, len(places), squeeze=False, sharex=True, sharey="row")
    for row in range(rows):
        for ax, place in zip(axes[row], places, strict=True):
            lines = box[:, row, :, *place]
            for low, high, shade in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.35)):
                ends = np.quantile(lines, (low, high), axis=0)
                ax.fill_between(times, *ends, color=_OWN, alpha=shade, linewidth=0)
            ax.plot(times, np.median(lines, axis=0), color=_OWN, linewidth=1.2, label="median")
            if truth is not None:
                ax.plot(times, truth[row, :, *place], color=_TRUE, linewidth=1, label="truth")
            where = ", ".join(
                f"{d} {layout.coordinates[d][k]:.3g}"
                for d, k in zip(layout.space, place, strict=True)
            )
            title = f"start {row}, {where}" if count > 1 else where
            _dress(ax, title, TIME if row + 1 == rows else "")
        axes[row][0].set_ylabel(_named(layout, name), fontsize=8, color=_QUIET)
    axes[0][0].legend(fontsize=7, frameon=False)
    _save(figure, path)
    return True


def spectra(
    objects: Sequence[xr.Dataset],
    path: str | Path,
    reference: Sequence[xr.Dataset] | None = None,
) -> bool:
    """Draw the spectrum of the first field, first frame left out; see `fan` for the arguments.

    Returns:
        False where there is nothing to draw: fewer than four points in space.
    """
    layout, name, box = _boxes(objects)
    if max(box.shape[2:]) < 4:
        return False
    curves = [("samples", box, _OWN)]
    if reference:
        curves.append(("reference", _boxes(reference)[2], _TRUE))
    figure = _figure(4.2, 2.6)
    ax = figure.subplots()
    for label, values, colour in curves:
        power = metrics.spectrum(torch.from_numpy(values[:, 1:]), len(layout.space))
        mean = power.flatten(0, -2).double().mean(0).numpy()
        wave = np.arange(len(mean))
        ax.loglog(wave[1:], np.maximum(mean[1:], 1e-12 * mean.max()), color=colour, label=label)
    ax.legend(fontsize=7, frameon=False)
    _dress(ax, f"spectrum of {_named(layout, name)}", "waves per box")
    ax.set_ylabel("mean square", fontsize=8, color=_QUIET)
    _save(figure, path)
    return True


def animation(
    objects: Sequence[xr.Dataset],
    path: str | Path,
    reference: Sequence[xr.Dataset] | None = None,
) -> bool:
    """Draw the first field over time as a GIF; see `fan` for the arguments.

    Returns:
        False where there is nothing to draw: a single frame.

    Raises:
        SciflowError: The suffix is another.
    """
    if Path(path).suffix.lower() != ".gif":
        raise expected(str(path), Path(path).suffix, ".gif")
    layout, name, box = _boxes(objects)
    if box.shape[1] < 2:
        return False
    truth = _boxes(reference)[2] if reference else None
    chosen = np.unique(np.linspace(0, box.shape[1] - 1, _FRAMES).round().astype(int))
    draw = _line_frames if len(layout.space) == 1 else _picture_frames
    draw(layout, name, box, truth, chosen, Path(path))
    return True


def shown(
    objects: Sequence[xr.Dataset], reference: Sequence[xr.Dataset] | None = None
) -> list[tuple[str, str | bytes]]:
    """Return all charts that there is something to draw for, with captions: what a page shows.

    Args:
        objects: Samples.
        reference: What truly followed.
    """
    beside = ", what truly followed in red" if reference else ""
    charts = {
        "fan.svg": (fan, f"Median, middle 50 and 90 % of the ensemble over time{beside}."),
        "spectra.svg": (spectra, "Mean square by wavenumber."),
        "animation.gif": (animation, f"Over time{beside}."),
    }
    found: list[tuple[str, str | bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (draw, caption) in charts.items():
            path = Path(folder) / name
            try:
                if draw(objects, path, reference):
                    moving = path.suffix == ".gif"
                    image = path.read_bytes() if moving else path.read_text(encoding="utf-8")
                    found.append((caption, image))
            except SciflowError:
                continue  # what has no such chart still has a page
    return found


def _line_frames(
    layout: Layout,
    name: str,
    box: np.ndarray,
    truth: np.ndarray | None,
    chosen: np.ndarray,
    path: Path,
) -> None:
    from matplotlib.animation import PillowWriter

    (dim,) = layout.space
    x, times = layout.coordinates[dim], layout.coordinates[TIME]
    count = len(truth) if truth is not None else len(box)
    own = box[::count][:_LINES] if truth is not None else box[:_LINES]
    figure = _figure(4.6, 2.8)
    ax = figure.subplots()
    low, high = float(box.min()), float(box.max())
    room = 0.05 * (high - low or 1.0)
    ax.set(xlim=(x[0], x[-1]), ylim=(low - room, high + room))
    lines = [ax.plot(x, one[0], color=_OWN, linewidth=0.9, alpha=0.6)[0] for one in own]
    if truth is not None:
        lines += ax.plot(x, truth[0, 0], color=_TRUE, linewidth=1.4)
        own = np.concatenate([own, truth[:1]])
    _dress(ax, " ", dim)
    ax.set_ylabel(_named(layout, name), fontsize=8, color=_QUIET)
    writer = PillowWriter(fps=10)
    with writer.saving(figure, str(path), dpi=80):
        for k in chosen:
            for line, one in zip(lines, own, strict=True):
                line.set_ydata(one[k])
            ax.set_title(f"{TIME} {times[k]:.3g}", fontsize=8, color=_INK, loc="left")
            writer.grab_frame()


def _picture_frames(
    layout: Layout,
    name: str,
    box: np.ndarray,
    truth: np.ndarray | None,
    chosen: np.ndarray,
    path: Path,
) -> None:
    from matplotlib.animation import PillowWriter

    times = layout.coordinates[TIME]
    panels = [(f"sample {k}", one) for k, one in enumerate(box[:3])]
    if truth is not None:
        panels.append(("reference 0", truth[0]))
    low, high = (float(v) for v in np.quantile(box, (0.002, 0.998)))
    figure = _figure(2.1 * len(panels), 2.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    images = []
    for ax, (title, one) in zip(axes, panels, strict=True):
        images.append(
            ax.imshow(_plane(one[0]), origin="lower", vmin=low, vmax=high, cmap="viridis")
        )
        ax.set_xticks([])
        ax.set_yticks([])
        _dress(ax, title, "")
    writer = PillowWriter(fps=10)
    with writer.saving(figure, str(path), dpi=80):
        for k in chosen:
            for image, (_, one) in zip(images, panels, strict=True):
                image.set_data(_plane(one[k]))
            figure.suptitle(f"{_named(layout, name)}, {TIME} {times[k]:.3g}", fontsize=8)
            writer.grab_frame()


# -- inside -----------------------------------------------------------------------------------------------------------


def _boxes(objects: Sequence[xr.Dataset]) -> tuple[Layout, str, np.ndarray]:
    """The first field of trajectories, ``[B, time, *space]``.

    Raises:
        SciflowError: There are none.
    """
    if not objects:
        raise expected("trajectories to draw", "none", "at least one")
    layout = Layout.of(objects[0], path="sample 0")
    name = layout.fields[0]
    boxes = [np.asarray(one[name].transpose(TIME, *layout.space).values) for one in objects]
    return layout, name, np.stack(boxes)


def _places(grid: Sequence[int]) -> list[tuple[int, ...]]:
    """Points at the quarters of the first axis of space, in the middle of the others."""
    first = [grid[0] * (k + 1) // (_PLACES + 1) for k in range(_PLACES)]
    rest = tuple(n // 2 for n in grid[1:])
    return [(k, *rest) for k in dict.fromkeys(first)]


def _plane(frame: np.ndarray) -> np.ndarray:
    """Two dimensions of a frame: the middle of a third."""
    while frame.ndim > 2:
        frame = frame[len(frame) // 2]
    return frame


def _named(layout: Layout, name: str) -> str:
    unit = layout.units.get(name, "1")
    return name if unit == "1" else f"{name} ({unit})"


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _dress(ax: Any, title: str, below: str) -> None:
    ax.set_title(title, fontsize=8, color=_INK, loc="left", pad=3)
    ax.set_xlabel(below, fontsize=8, color=_QUIET)
    ax.tick_params(labelsize=7, colors=_QUIET, length=2)
    for side in ax.spines.values():
        side.set_color("#c3cad3")
        side.set_linewidth(0.6)


def _save(figure: Any, path: str | Path) -> None:
    path = Path(path)
    if path.suffix.lower() not in (".svg", ".png"):
        raise expected(str(path), path.suffix, ".svg or .png")
    figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)


__all__ = ["MEMBERS", "animation", "fan", "shown", "spectra"]
