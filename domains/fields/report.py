"""Metrics of trajectories: errors against what truly followed, scores of ensembles, scales.

Sample i belongs to reference trajectory i modulo their number R, as ``generate`` makes them with the option ``given``;
where there are more samples than trajectories, those of one trajectory are its ensemble. The first frame, which is
given, counts nowhere. Persistence, the start at all times, stands beside each error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciflow.errors import SciflowError, expected

from . import metrics, scores
from .layout import TIME, Layout
from .wavelet import Axis, Transform

# Label of a figure, and which direction is better.
_LABELS = {
    "nrmse": ("nRMSE of one sample", "lower"),
    "vrmse": ("VRMSE of one sample", "lower"),
    "mse": ("mean square error", "lower"),
    "mae": ("mean absolute error", "lower"),
    "l_inf": ("largest error", "lower"),
    "abrupt": ("error in the steepest tenth", "lower"),
    "boundary": ("RMSE at the borders", "lower"),
    "conserved": ("RMSE of the means over space", "lower"),
    "low": ("RMSE below 4 waves", "lower"),
    "mid": ("RMSE at 4 to 12 waves", "lower"),
    "high": ("RMSE beyond 12 waves", "lower"),
    "correlation_time": ("time of correlation > 0.8", "higher"),
    "ensemble_nrmse": ("nRMSE of the ensemble mean", "lower"),
    "ensemble_rmse": ("RMSE of the ensemble mean", "lower"),
    "crps": ("fair CRPS", "lower"),
    "energy": ("energy score", "lower"),
    "spread_skill": ("spread-skill ratio (1 is right)", ""),
    "outside": ("truth beyond all members", ""),
    "acc": ("anomaly correlation of the mean", "higher"),
    "miss": ("distance to the target", "lower"),
    "mean": ("mean", ""),
    "deviation": ("standard deviation", ""),
}


@dataclass(frozen=True)
class Figure:
    """A number of all samples.

    Args:
        value: The number; None where it could not be taken.
        over: How many samples it is of.
        reference: The same number of the persistence forecast, or of the reference data.
        note: Why there is no value, or what it is of.
    """

    value: float | None
    over: int
    reference: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Metrics:
    """Metrics of a set of trajectories.

    Args:
        table: One row per sample.
        figures: Totals by name, ``<figure>`` or ``<figure> of <field>`` where there are several fields.
        scales: Share of the energy in each octave of wavenumbers, of the samples and of the reference.
        ranks: Rank histograms of ensembles: how often so many members lie below the truth.
        reference: Number of reference trajectories.
        unreadable: Number of samples that could not be read.
    """

    table: list[dict[str, Any]]
    figures: dict[str, Figure]
    scales: dict[str, tuple[list[str], list[float], list[float] | None]] = field(
        default_factory=dict
    )
    reference: int = 0
    unreadable: int = 0
    ranks: dict[str, list[float]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float | None:
        return self.figures[name].value

    def summary(self) -> dict[str, Any]:
        """Totals, JSON-able."""
        figures = {}
        for name, figure in self.figures.items():
            kind, _, of = name.partition(" of ")
            label, better = _LABELS.get(kind, (f"RMSE in wavelet {kind}", "lower"))
            figures[name] = {
                "label": f"{label}, {of}" if of else label,
                "kind": "mean",
                "better": better,
                "value": figure.value,
                "over": figure.over,
                "reference": figure.reference,
                "note": figure.note,
            }
        histograms = {
            f"scales of {name}": {
                "unit": "waves per box",
                "kind": "share",
                "bins": bins,
                "generated": own,
                "reference": other,
            }
            for name, (bins, own, other) in self.scales.items()
        }
        histograms |= {
            f"ranks of {name}": {
                "unit": "members below the truth; beside it: the right spread",
                "kind": "share",
                "bins": [str(k) for k in range(len(shares))],
                "generated": shares,
                "reference": [1 / len(shares)] * len(shares),
            }
            for name, shares in self.ranks.items()
        }
        return {
            "generated": len(self.table),
            "unreadable": self.unreadable,
            "reference": self.reference,
            "figures": figures,
            "histograms": histograms,
        }

    def to_text(self) -> str:
        """Totals as an aligned table."""
        head = f"{len(self.table):,} generated"
        if self.unreadable:
            head += f", {self.unreadable:,} more unreadable"
        if self.reference:
            head += f", against {self.reference:,} trajectories"
        beside = "persistence" if self.reference else ""
        summary = self.summary()["figures"]
        wide = max((len(figure["label"]) + 2 for figure in summary.values()), default=0)
        wide = max(36, wide)
        lines = [head, "", f"{'':{wide}}{'generated':>12}{beside:>13}{'over':>9}"]
        for name, figure in summary.items():
            over = f"{figure['over']:>9,}"
            note = f"  {figure['note']}" if figure["note"] else ""
            if figure["value"] is None:
                lines.append(f"{figure['label']:{wide}}{'-':>12}{'':13}{over}{note}")
                continue
            other = "" if figure["reference"] is None else f"{figure['reference']:.4g}"
            if name.startswith(("mean", "deviation")) and other:
                note = "  beside it: the reference data"
            lines.append(
                f"{figure['label']:{wide}}{figure['value']:>12.4g}{other:>13}{over}{note}"
            )
        return "\n".join(lines)


def evaluate(
    objects: Sequence[xr.Dataset],
    reference: Sequence[xr.Dataset] | None = None,
    unreadable: int = 0,
) -> Metrics:
    """Judge trajectories.

    Args:
        objects: Samples.
        reference: Trajectories that truly followed, in the order of the starts that were given.
        unreadable: Number of samples that could not even be read.

    Raises:
        SciflowError: A sample has not the fields or the grid of the others, or starts elsewhere than its reference.
    """
    if not objects:
        return Metrics([], {}, reference=len(reference or ()), unreadable=unreadable)
    layout = Layout.of(objects[0], path="sample 0")
    made = _boxes(layout, objects, "sample")
    true = _boxes(layout, reference, "reference trajectory") if reference else None
    table = [described(k, one) for k, one in enumerate(objects)]
    figures: dict[str, Figure] = {}
    scales: dict[str, Any] = {}
    ranks: dict[str, list[float]] = {}
    dims = len(layout.space)
    for c, name in enumerate(layout.fields):
        of = f" of {name}" if len(layout.fields) > 1 else ""
        box = made[:, c]
        for kind, value in (("mean", Tensor.mean), ("deviation", Tensor.std)):
            beside = None if true is None else float(value(true[:, c, 1:]))
            figures[kind + of] = Figure(float(value(box[:, 1:])), len(box), beside)
        other = None if true is None else true[:, c]
        scales[name] = _octaves(box, other, dims)
        if other is not None:
            rows, found, ranks[name] = _errors(box, other, layout, dims)
            figures |= {kind + of: figure for kind, figure in found.items()}
            for k, row in enumerate(rows):
                table[k] |= {kind + of: value for kind, value in row.items()}
    if (missed := _missed(layout, objects)) is not None:
        figures["miss"] = missed
    ranks = {name: shares for name, shares in ranks.items() if shares}
    return Metrics(table, figures, scales, len(reference or ()), unreadable, ranks)


def _missed(layout: Layout, objects: Sequence[xr.Dataset]) -> Figure | None:
    """J of generated forces, tried on the solver; None where the samples are no controls."""
    from . import control
    from .physics import Burgers

    law = layout.law()
    if not isinstance(law, Burgers) or any("uT" not in one or "f" not in one for one in objects):
        return None

    def stacked(name: str) -> Tensor:
        return torch.stack([torch.from_numpy(np.asarray(one[name])).float() for one in objects])

    task = control.Task(stacked("u")[:, 0], stacked("uT"))
    found = control.judge(law, task, stacked("f")).objective
    idle = control.uncontrolled(law, task).objective
    note = "of the force on the solver; beside it: no force"
    return Figure(float(found.mean()), len(found), float(idle.mean()), note)


def _errors(
    box: Tensor, other: Tensor, layout: Layout, dims: int
) -> tuple[list[dict[str, float]], dict[str, Figure], list[float]]:
    """Errors of one field: rows by sample, totals, and the rank histogram where there are members."""
    count = len(other)
    index = torch.arange(len(box)) % count
    start, wanted = box[:, 0], other[index, 0]
    size = float(other.square().mean().sqrt()) or 1.0
    off = (start - wanted).square().flatten(1).mean(1).sqrt()
    if bool((off > 1e-2 * size).any()):
        k = int((off > 1e-2 * size).nonzero()[0])
        raise SciflowError(
            f"sample {k}: got another initial state than reference trajectory {k % count}, expected the same; "
            "generate with --option given=FILE of the reference"
        )
    p, u = box[:, 1:], other[index, 1:]
    lasting = wanted.unsqueeze(1).expand_as(u)
    times = torch.tensor(layout.coordinates[TIME][1:])
    errors = {
        "nrmse": metrics.nrmse,
        "vrmse": metrics.vrmse,
        "mse": metrics.mse,
        "mae": metrics.mae,
        "l_inf": metrics.l_inf,
        "abrupt": metrics.abrupt_error,
        "boundary": lambda a, b: metrics.boundary_error(a, b, dims),
        "conserved": lambda a, b: metrics.conservation_error(a, b, dims),
        **{
            scale: lambda a, b, k=k: metrics.spectral_errors(a, b, dims)[:, k]
            for k, scale in enumerate(("low", "mid", "high"))
        },
        "correlation_time": lambda a, b: metrics.correlation_time(a, b, times, dims),
    }
    columns = {name: function(p, u) for name, function in errors.items()}
    beside = {name: function(lasting, u) for name, function in errors.items()}
    notes = {}
    if (bands := _transform(layout, p)) is not None:
        columns |= {f"band {n}": e for n, e in metrics.band_errors(p, u, bands).items()}
        beside |= {f"band {n}": e for n, e in metrics.band_errors(lasting, u, bands).items()}
        notes = {f"band {n}": _told(n, bands) for n in bands.bands}
    rows = [{name: float(column[k]) for name, column in columns.items()} for k in range(len(box))]
    found = {
        name: Figure(
            float(column.mean()),
            len(box),
            float(beside[name].nan_to_num().mean()),
            notes.get(name, ""),
        )
        for name, column in columns.items()
    }
    members = len(box) // count
    if members > 1:
        ensemble = p[: members * count].unflatten(0, (members, count)).transpose(0, 1)
        scored, ranks = of_ensemble(ensemble, other[:, 1:], float(beside["mae"][:count].mean()))
        mean = metrics.nrmse(ensemble.mean(1), other[:, 1:])
        found["ensemble_nrmse"] = Figure(float(mean.mean()), count, note=f"{members} members")
        return rows, found | scored, ranks
    why = "needs two samples or more of each trajectory"
    for name in ("ensemble_nrmse", "crps", "spread_skill"):
        found[name] = Figure(None, min(count, len(box)), note=why)
    return rows, found, []


def _transform(layout: Layout, box: Tensor) -> Transform | None:
    """One level of wavelets over time and space; None where an axis is too short, or there are too many."""
    if min(box.shape[1:]) < 2 or box.dim() > 4:
        return None
    axes = [
        Axis(name, length, "periodization" if name in layout.periodic else "mirror")
        for name, length in zip((TIME, *layout.space), box.shape[1:], strict=True)
    ]
    return Transform(tuple(axes))


def _told(band: str, transform: Transform) -> str:
    """What a band holds, in words."""
    details = [a.name for a, letter in zip(transform.axes, band, strict=False) if letter == "d"]
    return f"detail in {', '.join(details)}" if details else "the coarse part"


def of_ensemble(
    ensemble: Tensor, truth: Tensor, lasting: float, weight: Tensor | None = None
) -> tuple[dict[str, Figure], list[float]]:
    """Scores of ensembles ``[B, M, ...]``, and their rank histogram.

    Args:
        ensemble: Two members or more.
        truth: ``[B, ...]``.
        lasting: Mean absolute error of the persistence forecast, which is its CRPS.
        weight: As in `metrics`.
    """
    count, members = ensemble.shape[:2]
    note = f"{members} members"
    ranks = scores.rank_histogram(ensemble, truth, weight).tolist()
    score = float(scores.crps(ensemble, truth, weight).mean())
    energy = float(scores.energy_score(ensemble, truth, weight).mean())
    ratio = scores.spread_skill(ensemble, truth, weight).ratio
    right = f"{note}; beside it: where the spread is right"
    found = {
        "crps": Figure(score, count, lasting, note),
        "energy": Figure(energy, count, note=note),
        "spread_skill": Figure(ratio, count, note=note),
        "outside": Figure(ranks[0] + ranks[-1], count, 2 / (members + 1), right),
    }
    return found, ranks


def _boxes(layout: Layout, objects: Sequence[xr.Dataset], what: str) -> Tensor:
    """Fields of all objects, first frame included: ``[B, fields, time, *space]``."""
    found = []
    bare = Layout(
        layout.fields, layout.space, {}, layout.coordinates, layout.units, layout.periodic
    )
    for k, one in enumerate(objects):
        values = bare.read(one, path=f"{what} {k}")
        box = torch.cat((values["start"].unsqueeze(2), values["fields"]), dim=2)
        if found and box.shape != found[0].shape:
            raise expected(
                f"{what} {k}: grid",
                list(box.shape[2:]),
                f"{list(found[0].shape[2:])} as the others",
            )
        found.append(box)
    return torch.cat(found)


def _octaves(
    box: Tensor, other: Tensor | None, dims: int
) -> tuple[list[str], list[float], list[float] | None]:
    """Shares of the mean square by octave of wavenumbers."""

    def shares(values: Tensor) -> Tensor:
        power = metrics.spectrum(values[:, 1:], dims).flatten(0, -2).mean(0)
        edge = power.new_tensor([2.0**k for k in range(16)])
        octave = torch.bucketize(torch.arange(len(power)).to(power), edge, right=True)
        summed = power.new_zeros(int(octave.max()) + 1).index_add_(0, octave, power)
        return summed / summed.sum()

    own = shares(box)
    names = ["0", "1"]
    names += [f"{2**k} to {2 ** (k + 1) - 1}" for k in range(1, len(own) - 1)]
    return names[: len(own)], own.tolist(), None if other is None else shares(other).tolist()


def described(number: int, one: xr.Dataset) -> dict[str, Any]:
    """One row of plain values: mean, deviation and range of each field."""
    row: dict[str, Any] = {"sample": number}
    for name, array in one.data_vars.items():
        if TIME in array.dims and array.ndim > 1:
            values = np.asarray(array.values, dtype=np.float64)
            row |= {
                f"{name}_mean": float(values.mean()),
                f"{name}_std": float(values.std()),
                f"{name}_min": float(values.min()),
                f"{name}_max": float(values.max()),
            }
    return row


__all__ = ["Figure", "Metrics", "described", "evaluate", "of_ensemble"]
