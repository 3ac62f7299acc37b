r"""Perovskites: how far the sites of an A B X3 cell lie from those of the ideal cubic one, by role.

The ideal cell has A at the corner, B in the middle and X in the middles of the faces. The three most electronegative
sites are X; of the 12 ways to give the others their roles and the X their faces, the one with the least squared
displacement holds. A ferroelectric displacement is mostly that of A against its cage, so that

    p = sum over sites and axes of (d_i - d_A)

changes its sign under inversion and is seldom near zero where the displacements are large. On Perov-5 a sum of the
coordinates themselves is no such thing: displacements reach half a cell there and wrap around.

Which of the two others is A, the composition does not tell: on Perov-5 every composition occurs both ways. Where sites
show their role, a generated crystal draws it by a fair coin, so that a model has not to settle it by itself, nor to
learn by heart which way a training composition went.

Reference: Castelli et al., Energy Environ. Sci. 5, 5814, 2012 (the cells of Perov-5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciflow.streams import Streams

from . import elements

IDEAL = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
"""Sites of A, B and the three X."""
_FACES = np.array(list(permutations(range(3))))
_CHI = np.nan_to_num(np.array((1.5, *elements.ELECTRONEGATIVITIES)), nan=1.5)


@dataclass(frozen=True)
class Fit:
    """The roles of a cell's sites.

    Args:
        a: Place of A.
        b: Place of B.
        polarity: p.
    """

    a: int
    b: int
    polarity: float


def fit(species: NDArray[np.int64], places: NDArray[np.float64]) -> Fit | None:
    """Return the roles in a cell; `None` for one that has not five sites.

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
    return Fit(int(roles[best, 0]), int(roles[best, 1]), float(d[best].sum()))


def toss(species: Tensor, ranks: Tensor, streams: Streams) -> Tensor:
    """Draw which of two different cations is A and which is B, and return the ranks that say so: 1 and 2.

    Args:
        species: Atomic numbers int64 ``[B, N]``, 0 on padding.
        ranks: Ranks by composition int64 ``[B, N]``; cells that have not five sites keep theirs.
        streams: Streams of the crystals.
    """
    coin = (streams.uniform((1,)) < 0.5).long()
    if species.shape[1] < len(IDEAL):
        return ranks
    chi = torch.from_numpy(_CHI).to(species.device)[species].masked_fill(species == 0, torch.inf)
    cations = chi.argsort(stable=True, dim=1)[:, :2]
    different = species.gather(1, cations).diff()[:, 0] != 0
    five = (ranks > 0).sum(1) == len(IDEAL)
    drawn = ranks.scatter(1, cations.gather(1, coin), 2)
    return torch.where((different & five).unsqueeze(1), drawn, ranks)


__all__ = ["IDEAL", "Fit", "fit", "toss"]
