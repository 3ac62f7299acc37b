"""Pictures of forecasts: maps of the mean, the spread and members by lead, and fan charts at the middle of the box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciflow.errors import expected

from .verification import Ensembles

_COLUMNS = 5
_MEMBERS = 2
_INK, _QUIET, _EDGE = "#2b2f36", "#7a828e", "#c3cad3"
_FAN = ("#cfe0f1", "#93bde0", "#4a8fc7")


def draw(objects: Sequence[xr.Dataset], path: str | Path) -> None:
    """Draw the ensemble of the first start: maps of the first variable, a fan chart of each.

    Args:
        objects: Forecasts.
        path: ``.svg`` or ``.png``.

    Raises:
        SciflowError: There is nothing to draw, or the suffix is another.
    """
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in (".svg", ".png"):
        raise expected(str(path), path.suffix, ".svg or .png")
    if not objects:
        raise expected("forecasts to draw", "none", "at least one")
    found = Ensembles.of([one for one in objects if _start(one) == _start(objects[0])])
    units = [str(objects[0][name].attrs.get("units", "1")) for name in found.variables]
    members = found.members[0].numpy()  # [M, K, V, Y, X]
    chosen = np.asarray(found.ahead)
    if len(chosen) > _COLUMNS:
        chosen = chosen[np.linspace(0, len(chosen) - 1, _COLUMNS).round().astype(int)]
    many = len(members) > 1
    rows = [("member 0", members[0, :, 0], False)]
    if many:
        rows = [
            ("mean", members[:, :, 0].mean(0), False),
            ("spread", members[:, :, 0].std(0, ddof=1), True),
        ]
        rows += [
            (f"member {k}", members[k, :, 0], False) for k in range(min(_MEMBERS, len(members)))
        ]
    shape = 1 / math.cos(math.radians(float(found.latitude.mean())))
    height = 1.75 * shape * len(found.latitude) / max(1, len(found.longitude)) + 0.12
    figure = Figure(
        figsize=(1.75 * len(chosen) + 1.2, height * len(rows) + 2.3), layout="constrained"
    )
    parts: Any = figure.subfigures(2, 1, height_ratios=(height * len(rows), 2.2))
    above, below = parts
    axes = above.subplots(len(rows), len(chosen), squeeze=False)
    _maps(above, axes, found, rows, chosen, shape, f"{found.variables[0]} ({units[0]})")
    charts = below.subplots(1, len(found.variables), squeeze=False)[0]
    for v, ax in enumerate(charts):
        _fan(ax, found, members[:, :, v], f"{found.variables[v]} ({units[v]})", v == 0)
    above.suptitle(f"from {_start(objects[0])} UTC", fontsize=9, color=_INK, x=0.01, ha="left")
    figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)


def _maps(
    figure: Any,
    axes: Any,
    found: Ensembles,
    rows: Sequence[tuple[str, np.ndarray, bool]],
    chosen: np.ndarray,
    shape: float,
    label: str,
) -> None:
    fields = np.concatenate([box[chosen].ravel() for _, box, spread in rows if not spread])
    leads: Any = found.leads
    low, high = (float(v) for v in np.nanquantile(fields, (0.002, 0.998)))
    spreads = [np.nanmax(box[chosen]) for _, box, spread in rows if spread]
    limits = {
        False: {"cmap": "viridis", "vmin": low, "vmax": high if high > low else low + 1},
        True: {"cmap": "magma", "vmin": 0, "vmax": float(max(spreads, default=1.0))},
    }
    lat, lon = found.latitude.numpy(), found.longitude.numpy()
    images: dict[bool, Any] = {}
    for row, (title, box, spread) in zip(axes, rows, strict=True):
        for ax, k in zip(row, chosen, strict=True):
            images[spread] = ax.pcolormesh(
                lon, lat, box[k], shading="nearest", rasterized=True, **limits[spread]
            )
            if not spread and min(box[k].shape) > 1:
                levels = np.linspace(low, high, 9)
                ax.contour(
                    lon, lat, box[k], levels=levels, colors="white", linewidths=0.4, alpha=0.7
                )
            ax.set_aspect(shape)
            ax.tick_params(labelsize=6, colors=_QUIET, length=2)
            for side in ax.spines.values():
                side.set_color(_EDGE)
            if ax not in axes[-1]:
                ax.set_xticklabels([])
            if ax is not row[0]:
                ax.set_yticklabels([])
            if ax in axes[0]:
                ax.set_title(
                    _lead(leads[k]),
                    fontsize=8,
                    color=_INK,
                    loc="left",
                    pad=3,
                )
        row[0].set_ylabel(title, fontsize=8, color=_INK)
    for spread, image in images.items():
        # The bar of the fields stands beside the members, for the mean above as well: two bars must not overlap.
        kinds = [s for _, _, s in rows]
        mine = [k for k, s in enumerate(kinds) if s == spread and not (any(kinds) and k == 0)]
        which = [ax for k in mine for ax in axes[k]]
        bar = figure.colorbar(image, ax=which, aspect=12 if spread else 30, pad=0.015)
        bar.set_label(f"spread of {label}" if spread else label, fontsize=7, color=_INK)
        bar.ax.tick_params(labelsize=6, colors=_QUIET, length=2)
        bar.outline.set_visible(False)


def _fan(ax: Any, found: Ensembles, members: np.ndarray, label: str, legend: bool) -> None:
    """Quantiles of the members at the middle of the box against the lead."""
    y, x = len(found.latitude) // 2, len(found.longitude) // 2
    lines = members[:, :, y, x]
    hours = found.leads / np.timedelta64(1, "h")
    unit = 24 if hours[-1] >= 48 else 1
    t = hours / unit
    now = int(np.abs(hours).argmin())
    if len(lines) > 1:
        pairs = ((0.0, 1.0), (0.1, 0.9), (0.25, 0.75))
        for (low, high), colour in zip(pairs, _FAN, strict=True):
            edge = np.quantile(lines[:, now:], (low, high), axis=0)
            ax.fill_between(
                t[now:], *edge, color=colour, linewidth=0, label=f"{round(100 * (high - low))} %"
            )
        ax.plot(t[now:], np.median(lines[:, now:], 0), color=_INK, linewidth=1.0, label="median")
        if legend:
            ax.legend(fontsize=6, frameon=False, loc="lower left", labelcolor=_QUIET)
    else:
        ax.plot(t[now:], lines[0, now:], color=_INK, linewidth=1.0)
    ax.plot(
        t[: now + 1], lines[0, : now + 1], color=_INK, linewidth=1.0, marker="o", markersize=2.5
    )
    where = f"{abs(float(found.latitude[y])):g}{'NS'[float(found.latitude[y]) < 0]}"
    where += f" {abs(float(found.longitude[x])):g}{'EW'[float(found.longitude[x]) < 0]}"
    ax.set_title(f"{label} at {where}", fontsize=8, color=_INK, loc="left", pad=3)
    ax.set_xlabel("days" if unit == 24 else "hours", fontsize=7, color=_QUIET)
    ax.tick_params(labelsize=6, colors=_QUIET, length=2)
    for name, side in ax.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color(_EDGE)


def _lead(lead: np.timedelta64) -> str:
    hours = float(lead / np.timedelta64(1, "h"))
    return f"{hours / 24:g} days" if hours > 24 and hours % 24 == 0 else f"{hours:g} h"


def _start(one: xr.Dataset) -> str:
    return str(one["time"].values)[:16].replace("T", " ")


__all__ = ["draw"]
