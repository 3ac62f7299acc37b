r"""Perovskites: how far the sites of an A B X3 cell lie from those of the ideal cubic one, by role.

The ideal cell has A at the corner, B in the middle and X in the middles of the faces. The three most electronegative
sites are X; of the 12 ways to give the others their roles and the X their faces, the one with the least squared
displacement holds. A ferroelectric displacement is mostly that of A against its cage, so that

    p = sum over sites and axes of (d_i - d_A)

changes its sign under inversion and is seldom near zero where the displacements are large. On Perov-5 a sum of the
coordinates themselves is no such thing: displacements reach half a cell there and wrap around.

Reference: Castelli et al., Energy Environ. Sci. 5, 5814, 2012 (the cells of Perov-5).
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from . import elements

IDEAL = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
"""Sites of A, B and the three X."""
_FACES = np.array(list(permutations(range(3))))
_CHI = np.nan_to_num(np.array((1.5, *elements.ELECTRONEGATIVITIES)), nan=1.5)


def polarity(species: NDArray[np.int64], places: NDArray[np.float64]) -> float | None:
    """Return p of a cell; `None` for one that has not five sites.

    Args:
        species: Atomic numbers ``[N]``.
        places: Fractional coordinates ``[N, 3]``, of any origin.
    """
    if len(species) != len(IDEAL):
        return None
    order = np.argsort(_CHI[species], kind="stable")
    cations, anions = order[:2], order[2:]
    faces = anions[_FACES]
    first = np.broadcast_to(cations, (len(faces), 2))
    roles = np.concatenate((np.hstack((first, faces)), np.hstack((first[:, ::-1], faces))))
    f = places[roles]
    d = (f - f[:, :1] - IDEAL + 0.5) % 1.0 - 0.5  # relative to A, [12, 5, 3]
    own = d - d.mean(1, keepdims=True)
    best = int(np.square(own).sum((1, 2)).argmin())
    return float(d[best].sum())


__all__ = ["IDEAL", "polarity"]
