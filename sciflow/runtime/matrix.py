"""The matrix: which solver treats which path on which space, and why the others do not.

Nothing here is kept by hand: every path and every solver is asked (`Path.misfit`, `Solver.lacks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .. import paths, solvers
from ..spaces import SPACES, Space
from ..system import Component

CLASSES = 4
"""Number of classes of the labels that stand for all labels."""


@dataclass(frozen=True)
class Row:
    """One path on one space.

    Args:
        space: Name of the space.
        path: Name of the path.
        misfit: Why the path is not defined on the space; "" where it is.
        lacks: Solver name to why it cannot treat the path; "" where it can.
    """

    space: str
    path: str
    misfit: str
    lacks: Mapping[str, str]


def space_of(name: str) -> Space:
    """A space by its name; labels have `CLASSES` classes."""
    kind = SPACES[name]
    return kind(CLASSES) if "classes" in kind.__dataclass_fields__ else kind()  # type: ignore[call-arg]


def component_of(space: str, path: str) -> Component:
    """A component on a space and a path given by name, with a prediction kind that suits.

    Raises:
        SciflowError: The path is not defined on the space.
    """
    where, way = space_of(space), paths.make(path, (1 / CLASSES,) * CLASSES, {})
    kind = "data" if way.continuous else "logits"
    return Component(where, way, "velocity" if way.refuses(where, kind) else kind)


def rows() -> list[Row]:
    """Ask every solver about every path on every space."""
    found = []
    for space in SPACES:
        for name in paths.names():
            path = paths.make(name, (1 / CLASSES,) * CLASSES, {})
            misfit, lacks = path.misfit(space_of(space)), {}
            if not misfit:
                component = component_of(space, name)
                lacks = {s: solver().lacks(component) for s, solver in solvers.SOLVERS.items()}
            found.append(Row(space, name, misfit, lacks))
    return found


def table() -> list[dict[str, object]]:
    """The matrix as plain values: one row for each path on each space."""
    return [
        {
            "space": row.space,
            "path": row.path,
            "defined": not row.misfit,
            "why_not": row.misfit,
            "solvers": [name for name, why in row.lacks.items() if not why],
            "not": {name: why for name, why in row.lacks.items() if why},
        }
        for row in rows()
    ]


def text() -> str:
    """The matrix for a terminal: solvers that agree everywhere share a column, reasons are numbered below."""
    found = rows()
    defined = [row for row in found if not row.misfit]
    verdicts: dict[tuple[bool, ...], list[str]] = {}
    for solver in solvers.SOLVERS:
        verdicts.setdefault(tuple(not row.lacks[solver] for row in defined), []).append(solver)
    groups = list(verdicts.values())
    reasons: dict[str, int] = {}

    def cell(row: Row, group: list[str]) -> str:
        why = row.lacks[group[0]]
        return f"({reasons.setdefault(why, len(reasons) + 1)})" if why else "yes"

    lines = ["Solvers, in the columns of the table:"]
    for letter, group in zip("ABCDEFGHIJKL", groups, strict=False):
        lines.append(f"  {letter}  {', '.join(group)}")
    width = max(len(row.path) for row in found) + 2
    for space in SPACES:
        mine = [row for row in defined if row.space == space]
        head = "".join(f"{letter:>6}" for letter, _ in zip("ABCDEFGHIJKL", groups, strict=False))
        lines += ["", f"{space:<{width}}{head}"]
        lines += [
            f"  {row.path:<{width - 2}}" + "".join(f"{cell(row, group):>6}" for group in groups)
            for row in mine
        ]
        absent: dict[str, list[str]] = {}
        for row in found:
            if row.space == space and row.misfit:
                absent.setdefault(row.misfit, []).append(row.path)
        lines += [f"  no {', '.join(names)}: {why}" for why, names in absent.items()]
    lines += ["", *(f"({number}) {why}" for why, number in reasons.items())]
    return "\n".join(lines)


__all__ = ["Row", "component_of", "rows", "space_of", "table", "text"]
