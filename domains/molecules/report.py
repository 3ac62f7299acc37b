"""The metrics of molecules as an aligned table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .metrics import Metrics

# Label of a figure, and how its value is written.
_LABELS = {
    "valid": ("valid as generated", "share"),
    "connected": ("connected", "share"),
    "valid_and_connected": ("valid and connected", "share"),
    "unique": ("unique", "share"),
    "novel": ("novel", "share"),
    "valid_unique_novel": ("valid, unique and novel", "share"),
    "nspdk": ("NSPDK MMD", "distance"),
    "fcd": ("FCD", "distance"),
    "aromatic": ("with an aromatic ring", "share"),
    "large_rings": ("with a ring of 8 or more", "share"),
    "charged": ("with a charged atom", "share"),
    "atoms": ("atoms per molecule", "mean"),
    "rings": ("rings per molecule", "mean"),
    "ceiling": ("ceiling without charges", "share"),
    "gdss_valid": ("GDSS: valid w/o correction", "share"),
    "gdss_unique": ("GDSS: unique", "share"),
    "gdss_novel": ("GDSS: novel", "share"),
    "gdss_nspdk": ("GDSS: NSPDK MMD", "distance"),
    "gdss_fcd": ("GDSS: FCD", "distance"),
}


_HIGHER = ("valid", "connected", "unique", "novel")


def described(name: str) -> dict[str, str]:
    """Return the label, kind, direction and group of a figure, for reports."""
    label, kind = _LABELS[name]
    bare = name.removeprefix("gdss_")
    better = "lower" if kind == "distance" else "higher" if bare.startswith(_HIGHER) else ""
    group = "After correction, as GDSS measures." if name.startswith("gdss_") else ""
    return {"label": label, "kind": kind, "better": better, "group": group}


def _written(value: float | None, kind: str) -> str:
    if value is None:
        return "-"
    if kind == "share":
        return f"{100 * value:.1f} %"
    if kind == "distance":  # an MMD is some thousandths, an FCD a tenth or more
        return f"{value:.4f}" if value < 0.05 else f"{value:.3f}"
    return f"{value:.2f}"


def lines(metrics: Metrics) -> Iterator[str]:
    """Write the totals line by line, figures first, then the histograms."""
    sets = [f"{metrics.generated:,} generated"]
    if metrics.unreadable:
        sets.append(f"{metrics.unreadable:,} of them unreadable")
    if metrics.reference is not None:
        sets.append(f"reference {metrics.reference:,}")
    if metrics.train is not None:
        sets.append(f"training set {metrics.train:,}")
    yield ", ".join(sets)
    yield ""
    yield f"{'':28}{'generated':>10}{'reference':>11}{'floor':>9}{'over':>9}"
    notes: list[str] = []
    for name, figure in metrics.figures.items():
        label, kind = _LABELS[name]
        mark = ""
        if figure.note:
            if figure.note not in notes:
                notes.append(figure.note)
            mark = f"  [{notes.index(figure.note) + 1}]"
        yield (
            f"{label:28}{_written(figure.value, kind):>10}{_written(figure.reference, kind):>11}"
            f"{_written(figure.floor, kind):>9}{figure.over:>9,}{mark}"
        )
    for number, note in enumerate(notes, 1):
        yield f"[{number}] {note}"
    for histogram in metrics.histograms:
        if histogram.name == "sizes" or not histogram.bins:
            continue
        kind = "mean" if histogram.name == "rings" else "share"
        yield ""
        yield f"{histogram.unit:20}" + "".join(f"{name:>9}" for name in histogram.bins)
        yield f"  {'generated':18}" + "".join(f"{_bar(v, kind):>9}" for v in histogram.generated)
        if histogram.reference is not None:
            yield f"  {'reference':18}" + "".join(
                f"{_bar(v, kind):>9}" for v in histogram.reference
            )


def _bar(value: float, kind: str) -> str:
    return f"{value:.3f}" if kind == "mean" else f"{100 * value:.2f} %"
