r"""Periodic neighbours: every pair of sites, over all images, that lie within a cutoff of each other.

Site j and its image by whole numbers s are apart by

    r = (f_j - f_i + s) L,      |r| < cutoff,

for sites at fractional coordinates f in a lattice L (rows). Wrapped to |f_j - f_i| <= 1/2 along every axis, a vector
shorter than the cutoff has |s_k| <= cutoff |b*_k| + 1/2 with the reciprocal vectors b*_k (columns of L^-1): these are
the images that are looked through, enough for every lattice. A site is a neighbour of its own images, not of itself.

So a function of the neighbours depends on the crystal alone: not on the cell it is written in, the origin, the order of
the sites or the side on which a coordinate was cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FARTHEST = 6
"""Images are looked for up to this many cells away along each axis; only lattices that no crystal has need more."""
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Neighbours:
    """E pairs of neighbours in B crystals padded to N sites.

    Args:
        centre: Place b N + i of the site in the batch, int64 ``[E]``.
        other: Place b N + j of its neighbour, int64 ``[E]``.
        vectors: From the site to the neighbour in angstrom, ``[E, 3]``; differentiable in coordinates and lattice.
        lengths: Their lengths ``[E]``, never zero.
    """

    centre: Tensor
    other: Tensor
    vectors: Tensor
    lengths: Tensor


def neighbours(coordinates: Tensor, matrix: Tensor, real: Tensor, cutoff: float) -> Neighbours:
    """Return the pairs of neighbours of a batch.

    Args:
        coordinates: Fractional coordinates ``[B, N, 3]``, any cell.
        matrix: Lattice vectors as rows in angstrom ``[B, 3, 3]``.
        real: True on real sites, bool ``[B, N]``.
        cutoff: Largest distance in angstrom.
    """
    n = coordinates.shape[1]
    with torch.no_grad():
        gap = coordinates.unsqueeze(1) - coordinates.unsqueeze(2)
        wrap = -gap.round()
        images = _images(matrix, cutoff)
        ways = ((gap + wrap) @ matrix.unsqueeze(1)).flatten(1, 2)
        steps = images @ matrix
        square = (ways**2).sum(-1).unsqueeze(2) + (steps**2).sum(-1).unsqueeze(1)
        square = square + 2 * ways @ steps.mT
        near = (square < cutoff**2).unflatten(1, (n, n))
        near &= (real.unsqueeze(1) & real.unsqueeze(2)).unsqueeze(-1)
        own = torch.arange(n, device=near.device)
        near[:, own, own, len(images) // 2] = False  # the middle image is the cell itself
        b, i, j, s = near.nonzero().unbind(1)
        cells = wrap[b, i, j] + images[s]
    difference = coordinates[b, j] - coordinates[b, i] + cells
    vectors = (difference.unsqueeze(1) @ matrix[b]).squeeze(1)
    lengths = ((vectors**2).sum(-1) + _TINY).sqrt()
    return Neighbours(b * n + i, b * n + j, vectors, lengths)


def _images(matrix: Tensor, cutoff: float) -> Tensor:
    """Whole numbers s to look through, ``[S, 3]``, the same forwards and backwards."""
    volume = torch.linalg.det(matrix).abs().clamp_min(_TINY)
    faces = torch.linalg.cross(matrix[:, [1, 2, 0]], matrix[:, [2, 0, 1]])
    reach = cutoff * faces.norm(dim=-1) / volume.unsqueeze(-1) + 0.5
    most = reach.floor().nan_to_num(0.0).clamp(max=FARTHEST).amax(0)
    axes = [torch.arange(-k, k + 1, device=matrix.device) for k in most.long().tolist()]
    return torch.cartesian_prod(*axes).to(matrix.dtype)


def envelope(ratio: Tensor, power: int = 6) -> Tensor:
    """Return a function that falls from 1 at 0 to 0 at 1 with two derivatives, and stays 0 beyond.

    1 - (p + 1)(p + 2)/2 x^p + p (p + 2) x^(p+1) - p (p + 1)/2 x^(p+2)

    Args:
        ratio: x, distance over cutoff.
        power: p.

    Reference: Gasteiger et al., Directional message passing, arXiv:2003.03123, equation 8.
    """
    p = power
    inside = (
        1
        - (p + 1) * (p + 2) / 2 * ratio**p
        + p * (p + 2) * ratio ** (p + 1)
        - p * (p + 1) / 2 * ratio ** (p + 2)
    )
    return torch.where(ratio < 1, inside, 0.0)


def bessel(lengths: Tensor, cutoff: float, count: int) -> Tensor:
    """Return sqrt(2 / c) sin(n pi r / c) / r for n = 1 .. `count`, ``[E, count]``.

    Reference: Gasteiger et al., arXiv:2003.03123, equation 7.
    """
    n = torch.arange(1, count + 1, dtype=lengths.dtype, device=lengths.device)
    r = lengths.unsqueeze(-1)
    return math.sqrt(2 / cutoff) * torch.sin(n * (math.pi / cutoff) * r) / r


__all__ = ["FARTHEST", "Neighbours", "bessel", "envelope", "neighbours"]
