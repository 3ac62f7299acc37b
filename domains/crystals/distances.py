r"""Distances between the distributions of two sets of crystals: density, number of elements.

The Wasserstein-1 distance of two samples on the line is the area between their distribution functions,

    W1 = int |F(x) - G(x)| dx,

in the unit of the quantity: g/cm^3 for the density, elements for the number of different elements in a crystal.

Reference: Xie et al. (CDVAE), arXiv:2110.06197, section 5.3 (property statistics), where it is taken over 1,000 valid
samples; here over all valid ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .crystal import Crystal

QUANTITIES: dict[str, Callable[[Crystal], float]] = {
    "density": lambda crystal: crystal.density,
    "elements": lambda crystal: float(len(crystal.composition)),
}
"""What is compared, by name."""


def wasserstein(first: ArrayLike, second: ArrayLike) -> float:
    """Return the Wasserstein-1 distance of two samples of numbers, of any sizes but none."""
    a, b = np.sort(np.asarray(first, float)), np.sort(np.asarray(second, float))
    every = np.sort(np.concatenate((a, b)))
    below = every[:-1]
    f = np.searchsorted(a, below, side="right") / len(a)
    g = np.searchsorted(b, below, side="right") / len(b)
    return float(np.abs(f - g) @ np.diff(every))


def distance(
    name: str, generated: Sequence[Crystal], reference: Sequence[Crystal]
) -> float | None:
    """Return the Wasserstein-1 distance of a quantity; `None` where a set is empty."""
    if not generated or not reference:
        return None
    value = QUANTITIES[name]
    return wasserstein([value(c) for c in generated], [value(c) for c in reference])
