r"""Whether a generated crystal could exist at all: no atoms in each other, charges that can balance.

**Structure.** Every two sites lie more than .5 angstrom apart, over all periodic images, and the volume is .1
angstrom^3 or more. (A site and its own image do not count, as in the published codes.)

**Composition.** With n_e atoms of element e in lowest terms, there are charges q_e, each one that the element is known
to carry (`oxidation`), such that

    sum_e n_e q_e = 0,   and   chi_e < chi_f wherever q_e > 0 > q_f

in Pauling's electronegativities chi. A single element is valid, and so are metals among themselves (alloys).

Since the second condition splits the elements by electronegativity into those that may be positive and those that may
be negative, it is enough to try every cut, and below and above it the sums of charges that can be reached.

Reference: Xie et al. (CDVAE), arXiv:2110.06197, section 5.2 and appendix; Davies et al., SMACT, 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import elements, oxidation
from .crystal import Crystal

NEAREST = 0.5
"""Least distance between two sites, in angstrom."""
SMALLEST = 0.1
"""Least volume, in angstrom^3."""


def problem(crystal: Crystal) -> str:
    """Return why a crystal is no valid structure, in a few words; empty if it is one."""
    if len(crystal) == 0:
        return "no sites"
    if ((crystal.species < 1) | (crystal.species > len(elements.SYMBOLS))).any():
        return "unknown element"
    if not (np.isfinite(crystal.coordinates).all() and np.isfinite(crystal.lattice).all()):
        return "not finite"
    # A cell of the right volume, but of lengths that no crystal has, would take forever to look through.
    if not crystal.volume >= SMALLEST or crystal.volume <= 1e-6 * float(np.prod(crystal.lengths)):
        return "volume too small"
    if not shortest_distance(crystal, NEAREST) > NEAREST:
        return "atoms too close"
    return ""


def structure(crystal: Crystal) -> bool:
    """Return whether a crystal is a valid structure."""
    return not problem(crystal)


def shortest_distance(crystal: Crystal, enough: float = np.inf) -> float:
    """Return the least distance in angstrom between two different sites, over all periodic images.

    Args:
        crystal: A crystal whose lattice is not flat; infinite for fewer than two sites.
        enough: Distances above this need not be exact: what is returned is then above it, too.
    """
    n = len(crystal)
    if n < 2:
        return np.inf
    i, j = np.triu_indices(n, 1)
    gap = crystal.coordinates[i] - crystal.coordinates[j]
    gap = gap - np.round(gap)
    lattice = np.asarray(crystal.lattice)
    # A vector of length d has fractional coordinates of at most d |b*|: no image farther out can be shorter.
    reciprocal = np.sqrt((np.linalg.inv(lattice) ** 2).sum(0))
    bound = min(float(_norms(gap @ lattice).min()), enough)
    far = np.ceil(np.maximum(bound * reciprocal - 0.5, 0.0)).astype(int).clip(max=50)
    axes = [np.arange(-k, k + 1) for k in far]
    images = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3) @ lattice
    near = gap @ lattice
    return min(float(_norms(near + image).min()) for image in images)


def _norms(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt((vectors**2).sum(-1))


def composition(counts: Mapping[int, int]) -> bool:
    """Return whether charges can balance in a composition.

    Args:
        counts: Number of atoms by atomic number.
    """
    return _neutral(tuple(sorted(elements.reduced(dict(counts)).items())))


@lru_cache(maxsize=100_000)
def _neutral(counts: tuple[tuple[int, int], ...]) -> bool:
    kinds = [z for z, _ in counts]
    if len(kinds) == 1:
        return True
    if all(z in oxidation.METALS for z in kinds):
        return True
    chi = [oxidation.PAULING.get(z, np.nan) for z in kinds]
    if any(x != x for x in chi):
        return False
    for cut in (-np.inf, *sorted(set(chi))):
        sums = {0}
        for (z, n), x in zip(counts, chi, strict=True):
            # At or below the cut an element gives electrons, above it takes them.
            charges = [q for q in oxidation.STATES[z] if (q >= 0 if x <= cut else q <= 0)]
            sums = {total + n * q for total in sums for q in charges}
        if 0 in sums:
            return True
    return False
