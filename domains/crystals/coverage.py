r"""Coverage: how much of a reference is generated, and how much of what is generated looks like the reference.

With fingerprints s of structures and c of compositions (`fingerprints`), crystal x is covered by a set Y where

    min_y |s(x) - s(y)| <= d_s    and    min_y |c(x) - c(y)| <= d_c,

the two minima being taken apart, as published: they may be reached by different crystals.

    recall (COV-R)       share of the reference that the generated crystals cover
    precision (COV-P)    share of all generated crystals that the reference covers; without a fingerprint, not covered

AMSD and AMCD are the mean least distances in s and c. Published thresholds (d_s, d_c): MP-20 (.4, 10), Perov-5 and
Carbon-24 (.2, 4). All models lie near 100 %, so differences say little; the floor, the same for training crystals in
the place of the generated ones, belongs beside it.

Reference: Xie et al. (CDVAE), arXiv:2110.06197, section 5.3 and appendix; Ganea et al., arXiv:2106.07802 (coverage).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import expected, unknown

from . import fingerprints
from .crystal import Crystal

THRESHOLDS = {
    "mp20": (0.4, 10.0),
    "mpts52": (0.4, 10.0),
    "perov5": (0.2, 4.0),
    "carbon24": (0.2, 4.0),
}
"""Published thresholds (structure, composition) by data set."""


@dataclass(frozen=True)
class Prints:
    """Fingerprints of a set of crystals.

    Attributes:
        structure: ``[M, 61]``, of those that have one.
        composition: ``[M, 108]``.
        total: Number of crystals, those without a fingerprint included.
    """

    structure: NDArray[np.float64]
    composition: NDArray[np.float64]
    total: int

    @classmethod
    def of(cls, things: Sequence[Any], workers: int | None = None) -> Prints:
        """Take the fingerprints of crystals: .1 to .3 CPU seconds each.

        Args:
            things: Crystals, pymatgen structures or ASE atoms.
            workers: Processes; None is the number of processors at hand.
        """
        crystals = [Crystal.of(thing) for thing in things]
        found = fingerprints.structures(crystals, workers)
        kept = [k for k, row in enumerate(found) if row is not None]
        rows = [row for row in found if row is not None]
        shape = np.array(rows) if rows else np.zeros((0, fingerprints.STRUCTURE))
        return cls(shape, fingerprints.compositions([crystals[k] for k in kept]), len(crystals))


@dataclass(frozen=True)
class Coverage:
    """Coverage of a reference by generated crystals.

    Attributes:
        recall: COV-R.
        precision: COV-P.
        structure_recall: AMSD of the reference: mean least distance of its structures to the generated.
        structure_precision: The same of the generated to the reference.
        composition_recall: AMCD of the reference.
        composition_precision: The same of the generated.
        generated: Number generated.
        without: Number of them without a fingerprint.
        reference: Number in the reference.
        thresholds: (d_s, d_c).
    """

    recall: float
    precision: float
    structure_recall: float
    structure_precision: float
    composition_recall: float
    composition_precision: float
    generated: int
    without: int
    reference: int
    thresholds: tuple[float, float]


def coverage(
    generated: Prints | Sequence[Any],
    reference: Prints | Sequence[Any],
    thresholds: str | tuple[float, float] = "mp20",
    workers: int | None = None,
) -> Coverage:
    """Return the coverage of a reference by generated crystals.

    Args:
        generated: Generated crystals or their fingerprints.
        reference: The same of the reference.
        thresholds: (d_s, d_c), or the name of a data set of `THRESHOLDS`.
        workers: Processes.

    Raises:
        SciflowError: A set is empty or has no fingerprints, or the thresholds are wrong.
    """
    if isinstance(thresholds, str):
        if thresholds not in THRESHOLDS:
            raise unknown("thresholds of coverage", thresholds, THRESHOLDS)
        thresholds = THRESHOLDS[thresholds]
    if not min(thresholds) > 0:
        raise expected("thresholds of coverage", thresholds, "two positive numbers")
    made = generated if isinstance(generated, Prints) else Prints.of(generated, workers)
    real = reference if isinstance(reference, Prints) else Prints.of(reference, workers)
    for name, prints in (("generated crystals", made), ("reference", real)):
        if not prints.total:
            raise expected(name, "none", "at least one")
    if not len(real.structure):
        raise expected("reference", "no fingerprints", "valid structures")
    there = _nearest(made.structure, real.structure), _nearest(made.composition, real.composition)
    back = _nearest(real.structure, made.structure), _nearest(real.composition, made.composition)
    d_s, d_c = thresholds

    def covered(nearest: tuple[NDArray[np.float64], ...]) -> int:
        return int(((nearest[0] <= d_s) & (nearest[1] <= d_c)).sum())

    def mean(values: NDArray[np.float64]) -> float:
        return float(values.mean()) if len(values) else float("inf")

    return Coverage(
        covered(back) / real.total,
        covered(there) / made.total,
        mean(back[0]),
        mean(there[0]),
        mean(back[1]),
        mean(there[1]),
        made.total,
        made.total - len(made.structure),
        real.total,
        thresholds,
    )


def _nearest(rows: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each row to the nearest of the others; infinite where there are none."""
    if not len(others):
        return np.full(len(rows), np.inf)
    squares = (others**2).sum(1)
    least = []
    for start in range(0, len(rows), 512):
        part = rows[start : start + 512]
        gap = (part**2).sum(1)[:, None] + squares - 2 * part @ others.T
        nearest = gap.argmin(1)
        # Differences of large squares lose digits: the distance itself is taken once more.
        least.append(np.sqrt(((part - others[nearest]) ** 2).sum(1)))
    return np.concatenate(least) if least else np.zeros(0)


__all__ = ["THRESHOLDS", "Coverage", "Prints", "coverage"]
