r"""The metric of a noisy crystal: distances between sites in the lattice that is believed at the time.

For the wrapped fractional difference d of two sites and the lattice L, the distances to the nearest 27 images are
r_k = |(d + k) L|, k in {-1, 0, 1}^3, and what a network sees of them is

    phi_c = sum_k exp(-(r_k - c)^2 / (2 w^2)),    c = .2, .35, ..., 2.15,    w = .15,

a smooth count of the neighbours by distance. Lengths are in units of the cube root of the volume per site that the
composition is expected to have (see `cells`), in which nearest neighbours are about 1 apart. The counts do not know how
space is oriented.

Reference: Schuett et al. (SchNet), arXiv:1706.08566, section 3.2 (Gaussians of distances).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FIRST = 0.2
_WIDTH = 0.15
DISTANCES = 14
"""Number of Gaussians."""


def distances(directions: Tensor, matrix: Tensor) -> Tensor:
    """Return the counts of neighbours by distance.

    Args:
        directions: Unit vectors of the angles 2 pi f, ``[B, N, 3, 2]``.
        matrix: Lattices in the unit of the module, ``[B, 3, 3]``.

    Returns:
        Counts ``[DISTANCES, B, N, N]``.
    """
    turns = torch.atan2(directions[..., 1], directions[..., 0]) / (2 * math.pi)
    d = turns.unsqueeze(1) - turns.unsqueeze(2)
    d = d - d.round()
    one = torch.tensor((-1.0, 0.0, 1.0), dtype=d.dtype, device=d.device)
    images = torch.cartesian_prod(one, one, one) @ matrix  # [B, 27, 3]
    r = d @ matrix.unsqueeze(1)
    square = r.square().sum(-1, keepdim=True) + images.square().sum(-1)[:, None, None]
    square = square + 2 * r @ images.mT.unsqueeze(1)
    # Gaussians at equal distances follow from one another by a factor: two exponentials make all.
    x = (square.clamp_min(1e-12).sqrt() - _FIRST) / _WIDTH
    bump, factor = torch.exp(-0.5 * x * x), torch.exp(x.clamp(max=40.0) - 0.5)
    counts = [bump.sum(-1)]
    for k in range(DISTANCES - 1):
        bump = bump * factor * math.exp(-k)
        counts.append(bump.sum(-1))
    return torch.stack(counts)


__all__ = ["DISTANCES", "distances"]
