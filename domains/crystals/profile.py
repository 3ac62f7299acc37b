"""The profile of a set of crystals: histograms of elements, sizes, crystal systems and densities.

Taken over valid structures, whatever their composition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from . import elements, symmetry
from .crystal import Crystal

MOST = 24
"""Elements shown; the rest are summed up."""
_SYMMETRIES = 1000  # crystals of the reference of which the system is sought: 2 ms each


@dataclass(frozen=True)
class Histogram:
    """One histogram of the generated crystals beside that of the reference.

    Attributes:
        name: What is counted.
        unit: What a bar says.
        bins: Names of the bars.
        generated: Heights.
        reference: Heights for the reference; `None` without one.
        distance: Total variation, half the sum of |p - q|; `None` without a reference or where one is empty.
    """

    name: str
    unit: str
    bins: tuple[str, ...]
    generated: tuple[float, ...]
    reference: tuple[float, ...] | None
    distance: float | None

    def summary(self) -> dict[str, Any]:
        """Return the histogram as plain lists and numbers."""
        plain = asdict(self)
        del plain["name"]
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()
        } | {"kind": "share"}


def histograms(
    generated: Sequence[Crystal], reference: Sequence[Crystal] | None, systems: Sequence[str]
) -> tuple[Histogram, ...]:
    """Return the histograms of elements, sizes, numbers of elements, crystal systems and densities.

    Args:
        generated: Valid structures.
        reference: Real crystals; None without a reference.
        systems: Crystal systems of the generated.
    """
    known = None if reference is None else list(reference)
    return (
        _elements(generated, known),
        _counted(
            "sites",
            "share of crystals",
            map(len, generated),
            None if known is None else map(len, known),
        ),
        _counted(
            "number of elements",
            "share of crystals",
            (len(c.composition) for c in generated),
            None if known is None else (len(c.composition) for c in known),
        ),
        _systems(systems, known),
        _densities(
            [c.density for c in generated], None if known is None else [c.density for c in known]
        ),
    )


def _make(
    name: str,
    unit: str,
    bins: Sequence[Any],
    generated: Counter[Any],
    reference: Counter[Any] | None,
) -> Histogram:
    def heights(counts: Counter[Any]) -> tuple[float, ...]:
        total = sum(counts[key] for key in bins)
        return tuple(counts[key] / max(total, 1) for key in bins)

    own, other = heights(generated), None if reference is None else heights(reference)
    distance = None
    if other is not None and sum(own) > 0 and sum(other) > 0:
        distance = 0.5 * sum(abs(p - q) for p, q in zip(own, other, strict=True))
    return Histogram(name, unit, tuple(map(str, bins)), own, other, distance)


def _elements(generated: Sequence[Crystal], reference: Sequence[Crystal] | None) -> Histogram:
    own = Counter(int(z) for crystal in generated for z in crystal.species)
    other = (
        None
        if reference is None
        else Counter(int(z) for crystal in reference for z in crystal.species)
    )
    both = own + (other or Counter())
    shown = sorted(z for z, _ in both.most_common(MOST))
    rest = len(both) > len(shown)

    def named(counts: Counter[int]) -> Counter[str]:
        found = Counter({elements.symbol(z): counts[z] for z in shown})
        found["others"] = sum(counts.values()) - sum(found.values())
        return found

    bins = [elements.symbol(z) for z in shown] + (["others"] if rest else [])
    return _make(
        "elements", "share of atoms", bins, named(own), None if other is None else named(other)
    )


def _counted(
    name: str, unit: str, generated: Iterable[int], reference: Iterable[int] | None
) -> Histogram:
    own, other = Counter(generated), None if reference is None else Counter(reference)
    found = sorted(own + (other or Counter()))
    bins = range(found[0], found[-1] + 1) if found else range(0)
    return _make(name, unit, bins, own, other)


def _systems(systems: Sequence[str], reference: Sequence[Crystal] | None) -> Histogram:
    other = None
    if reference is not None:
        step = max(1, len(reference) // _SYMMETRIES)
        groups = (symmetry.space_group(crystal) for crystal in reference[::step])
        other = Counter(symmetry.system(group[1]) for group in groups if group)
    return _make("crystal systems", "share of crystals", symmetry.SYSTEMS, Counter(systems), other)


def _densities(generated: list[float], reference: list[float] | None) -> Histogram:
    every = np.array(generated + (reference or []))
    if not len(every):
        return _make(
            "density",
            "share of crystals, g/cm3",
            [],
            Counter(),
            None if reference is None else Counter(),
        )
    top = int(np.ceil(np.quantile(every, 0.999))) + 1

    def binned(values: list[float]) -> Counter[str]:
        return Counter(f"{min(int(value), top - 1)}" for value in values)

    bins = [str(k) for k in range(top)]
    other = None if reference is None else binned(reference)
    return _make("density", "share of crystals, g/cm3", bins, binned(generated), other)
