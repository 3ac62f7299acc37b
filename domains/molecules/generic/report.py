"""The metrics of graphs as an aligned table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .metrics import Metrics


def lines(metrics: Metrics) -> Iterator[str]:
    """Write the totals line by line."""
    from .metrics import LABELS

    sets = [f"{metrics.generated:,} generated"]
    if metrics.unreadable:
        sets.append(f"{metrics.unreadable:,} of them unreadable")
    if metrics.reference is not None:
        sets.append(f"reference {metrics.reference:,}")
    if metrics.train is not None:
        sets.append(f"training set {metrics.train:,}")
    yield ", ".join(sets)
    yield ""
    yield f"{'':34}{'generated':>10}{'lowest':>9}{'highest':>9}{'reference':>11}{'floor':>9}{'over':>8}"
    notes: list[str] = []
    for name, figure in metrics.figures.items():
        label, kind, _ = LABELS[name]
        mark = ""
        if figure.note:
            if figure.note not in notes:
                notes.append(figure.note)
            mark = f"  [{notes.index(figure.note) + 1}]"
        low, high = figure.spread or (None, None)
        yield (
            f"{label:34}{_written(figure.value, kind):>10}{_bare(low, kind):>9}{_bare(high, kind):>9}"
            f"{_written(figure.reference, kind):>11}{_written(figure.floor, kind):>9}"
            f"{figure.over:>8,}{mark}"
        )
    for number, note in enumerate(notes, 1):
        yield f"[{number}] {note}"


def _bare(value: float | None, kind: str) -> str:
    return "" if value is None else _written(value, kind)


def _written(value: float | None, kind: str) -> str:
    if value is None:
        return "-"
    if kind == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.4f}" if kind == "distance" else f"{value:.2f}"
