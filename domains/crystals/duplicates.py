"""Which crystals are the same: uniqueness within a set, novelty against another.

Two crystals are the same where pymatgen's ``StructureMatcher.fit`` says so at its default tolerances (.2, .3, 5): no
site is displaced by more than .3 (V / n)^(1/3). Only crystals whose primitive cells hold the same atoms can match, so
only these are compared; no verdict changes by that.

The relation is not transitive: a set is counted in its order, each crystal against those that were the first of their
kind, and another order may give a slightly other number.

Reference: Zeni et al. (MatterGen), arXiv:2312.03687, section D (unique, novel).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from sciflow.errors import SciflowError

from . import alignment
from .alignment import STRICT, Reduced, Tolerances
from .crystal import Crystal
from .matching import key
from .workers import spread

Progress = Callable[[str, int, int], None]


def reduced(crystal: Crystal) -> Reduced | None:
    """Return the reduced form of a crystal; `None` where there is none."""
    try:
        return alignment.reduce(crystal)
    except SciflowError:
        return None


def same(a: Reduced, b: Reduced, tolerances: Tolerances = STRICT) -> bool:
    """Return whether two crystals are the same."""
    return alignment.displacement(a, b, tolerances, largest=True) is not None


def unique(crystals: Sequence[Crystal], workers: int | None = None) -> list[bool]:
    """Return for each crystal whether it is the first of its kind; `False` for one that cannot be compared."""
    groups: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for k, crystal in enumerate(crystals):
        groups[key(crystal)].append(k)
    first = [False] * len(crystals)
    tasks = [[crystals[k] for k in places] for places in groups.values()]
    for places, found in zip(groups.values(), spread(_first, tasks, workers), strict=True):
        for place, is_first in zip(places, found, strict=True):
            first[place] = is_first
    return first


def _first(crystals: list[Crystal]) -> list[bool]:
    kinds: list[Reduced] = []
    found: list[bool] = []
    for crystal in crystals:
        own = reduced(crystal)
        found.append(own is not None and not any(same(own, kind) for kind in kinds))
        if own is not None and found[-1]:
            kinds.append(own)
    return found


def known(
    crystals: Sequence[Crystal], others: Sequence[Crystal], workers: int | None = None
) -> list[bool]:
    """Return for each crystal whether one of `others` is the same."""
    groups: dict[tuple[tuple[int, int], ...], list[Crystal]] = defaultdict(list)
    wanted = {key(crystal) for crystal in crystals}
    for other in others:
        if (found := key(other)) in wanted:
            groups[found].append(other)
    tasks = [(crystal, groups.get(key(crystal), [])) for crystal in crystals]
    return list(spread(_is_known, tasks, workers))


def _is_known(task: tuple[Crystal, list[Crystal]]) -> bool:
    crystal, others = task
    own = reduced(crystal) if others else None
    if own is None:
        return False
    return any((other := reduced(thing)) is not None and same(own, other) for thing in others)
