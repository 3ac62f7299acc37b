r"""Interactions: features of every site that turn with the crystal, from its neighbourhood, by e3nn's representations.

A site has C channels of irreducible representations of O(3) of degree l = 0, 1, 2 and parity (-1)^l, written in e3nn's
basis. With the neighbours j of site i at r_ij and spherical harmonics Y, a layer is

    A_i  = n^(-1/2) sum_j R(|r_ij|) [h_j (x) Y(r_ij)],          one radial function R for each path l1 (x) l2 -> l3,
    B_i  = A_i (x) A_i,
    h_i <- U h_i + V A_i + W B_i,    degree 0 also through an MLP, the others gated by it,

(x) being the coupling by 3j symbols. Products are taken of the sums over neighbours, so that they cost as many
operations as there are sites, not pairs; the first layer couples degree 0 alone with Y.
R is an MLP of Bessel functions that an envelope takes to zero at the cutoff, so energies and forces are continuous.

Reference: Thomas et al., Tensor field networks, arXiv:1802.08219; Geiger and Smidt, e3nn, arXiv:2207.09453; Batzner et
al., NequIP, arXiv:2101.03164; Batatia et al., MACE, arXiv:2206.07697, equations 8-10 (products of sums).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from e3nn import o3
from torch import Tensor, nn

from sciflow.errors import expected

from .neighbours import Neighbours, bessel, envelope, neighbours

DEGREES = (0, 1, 2)
_TYPICAL = 30.0  # neighbours by which sums are scaled; any fixed number would do
Features = dict[int, Tensor]
"""Degree l to features ``[S, C, 2 l + 1]`` of S sites."""


@cache
def coupling(l1: int, l2: int, l3: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the 3j symbols of l1 (x) l2 -> l3, of outputs of variance 1, ``[2 l1 + 1, 2 l2 + 1, 2 l3 + 1]``."""
    with torch.inference_mode(False):  # kept for later, when gradients may be wanted
        return o3.wigner_3j(l1, l2, l3, dtype=dtype, device=device) * math.sqrt(2 * l3 + 1)


def harmonics(vectors: Tensor, degrees: Sequence[int] = DEGREES) -> Features:
    """Return the spherical harmonics of unit vectors, of mean square 1, ``[..., 2 l + 1]`` by degree l."""
    return {
        degree: o3.spherical_harmonics(degree, vectors, normalize=False, normalization="component")
        for degree in degrees
    }


def paths(
    first: Sequence[int], second: Sequence[int], out: Sequence[int]
) -> list[tuple[int, int, int]]:
    """Return the couplings of degrees that keep the parity (-1)^l."""
    return [
        (a, b, c)
        for a in first
        for b in second
        for c in out
        if abs(a - b) <= c <= a + b and (a + b + c) % 2 == 0
    ]


class Interactions(nn.Module):
    """Several rounds of interactions; see the module.

    Args:
        channels: Number C of channels of each degree.
        layers: Number of rounds; 0 leaves the sites alone.
        out: Degrees of the features that are wanted in the end.
        cutoff: Distance up to which sites interact, in angstrom.
        radial: Number of Bessel functions.
    """

    def __init__(
        self,
        channels: int,
        layers: int,
        out: Sequence[int] = (0,),
        cutoff: float = 5.0,
        radial: int = 8,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("radial", radial), ("cutoff", cutoff)):
            if not value >= 1:
                raise expected(f"{name} of network e3nn", value, "at least 1")
        self.cutoff, self.radial = float(cutoff), radial
        degrees = [(0,), *([DEGREES] * (layers - 1)), tuple(out)]
        self.layers = nn.ModuleList(
            _Layer(channels, degrees[k], degrees[k + 1], radial) for k in range(layers)
        )

    def forward(
        self, h: Tensor, coordinates: Tensor, matrix: Tensor, real: Tensor
    ) -> tuple[Features, Neighbours]:
        """Return the features of all sites, by degree ``[B, N, C, 2 l + 1]``, and the neighbours.

        Args:
            h: What is known of each site alone, ``[B, N, C]``.
            coordinates: Fractional coordinates ``[B, N, 3]``.
            matrix: Lattices as rows in angstrom ``[B, 3, 3]``.
            real: True on real sites ``[B, N]``.
        """
        near = neighbours(coordinates, matrix, real, self.cutoff)
        y = harmonics(near.vectors / near.lengths.unsqueeze(-1))
        fade = envelope(near.lengths / self.cutoff).unsqueeze(-1)
        basis = bessel(near.lengths, self.cutoff, self.radial) * fade
        features: Features = {0: h.flatten(0, 1).unsqueeze(-1)}
        for layer in self.layers:
            features = layer(features, near, y, basis, fade)
        return {k: x.unflatten(0, real.shape) for k, x in features.items()}, near


class _Layer(nn.Module):
    """One round: sums over neighbours, their products, the update."""

    def __init__(
        self, channels: int, before: Sequence[int], after: Sequence[int], radial: int
    ) -> None:
        super().__init__()
        self.channels, self.after = channels, tuple(after)
        # Coupled with degree 0 alone, all degrees are cheap; else only those are made that go on.
        made = DEGREES if tuple(before) == (0,) else self.after
        self.sums = paths(before, DEGREES, made)
        self.products = [p for p in paths(made, made, after) if p[0] <= p[1]]
        self.radial = nn.Sequential(
            nn.Linear(radial, 64), nn.SiLU(), nn.Linear(64, channels * len(self.sums))
        )
        self.weights = nn.Parameter(torch.randn(len(self.products), channels))
        self.mix_before = _mixes(channels, before, before)
        self.mix_skip = _mixes(channels, after, before)
        self.mix_sums = _mixes(channels, after, made)
        self.mix_products = _mixes(channels, after, after)
        self.norm = nn.LayerNorm(3 * channels)
        gates = channels * (len(self.after) - 1)
        self.scalars = nn.Sequential(
            nn.Linear(3 * channels, 2 * channels),
            nn.SiLU(),
            nn.Linear(2 * channels, channels + gates),
        )

    def forward(
        self,
        features: Mapping[int, Tensor],
        near: Neighbours,
        y: Mapping[int, Tensor],
        basis: Tensor,
        fade: Tensor,
    ) -> Features:
        sums = self._sums(_mixed(self.mix_before, features), near, y, basis, fade)
        products = self._products(sums)
        own = features[0].squeeze(-1)
        seen = torch.cat((own, sums[0].squeeze(-1), products[0].squeeze(-1)), -1)
        scalars = self.scalars(self.norm(seen))
        skip, linear = _mixed(self.mix_skip, features), _mixed(self.mix_sums, sums)
        squares = _mixed(self.mix_products, products)
        new: Features = {}
        for place, degree in enumerate(self.after):
            x = linear[degree] + squares[degree]
            if degree in skip:
                x = x + skip[degree]
            part = scalars[:, place * self.channels : (place + 1) * self.channels].unsqueeze(-1)
            new[degree] = x + part if degree == 0 else x * (1 + part)
        return new

    def _sums(
        self,
        h: Mapping[int, Tensor],
        near: Neighbours,
        y: Mapping[int, Tensor],
        basis: Tensor,
        fade: Tensor,
    ) -> Features:
        weights = (self.radial(basis) * fade).unflatten(-1, (len(self.sums), self.channels))
        sites = len(h[0])
        total: Features = {}
        gathered = {degree: x[near.other] for degree, x in h.items()}
        for k, (l1, l2, l3) in enumerate(self.sums):
            scaled = gathered[l1] * weights[:, k].unsqueeze(-1)
            if l1 == 0:
                message = scaled * y[l2].unsqueeze(1)
            else:
                c = coupling(l1, l2, l3, basis.dtype, basis.device)
                turned = torch.einsum("en,mnk->emk", y[l2], c)
                message = scaled @ turned
            total[l3] = total[l3] + message if l3 in total else message
        scale = _TYPICAL**-0.5
        return {
            degree: x.new_zeros(sites, *x.shape[1:]).index_add(0, near.centre, x) * scale
            for degree, x in total.items()
        }

    def _products(self, sums: Mapping[int, Tensor]) -> Features:
        total: Features = {}
        for k, (l1, l2, l3) in enumerate(self.products):
            c = coupling(l1, l2, l3, sums[0].dtype, sums[0].device)
            pairs = (sums[l1].unsqueeze(-1) * sums[l2].unsqueeze(-2)).flatten(-2)
            x = (pairs @ c.flatten(0, 1)) * self.weights[k].unsqueeze(-1)
            total[l3] = total[l3] + x if l3 in total else x
        return total


def _mixes(channels: int, wanted: Sequence[int], given: Sequence[int]) -> nn.ModuleDict:
    both = sorted(set(wanted) & set(given))
    return nn.ModuleDict({str(k): nn.Linear(channels, channels, bias=False) for k in both})


def _mixed(mixes: nn.ModuleDict, features: Mapping[int, Tensor]) -> Features:
    """Mix the channels of each degree."""
    return {
        int(degree): F.linear(features[int(degree)].mT, mix.weight).mT  # type: ignore[union-attr]
        for degree, mix in mixes.items()
    }


__all__ = ["DEGREES", "Features", "Interactions", "coupling", "harmonics", "paths"]
