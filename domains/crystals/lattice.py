r"""Lattices: the ways to write one down, and the maps between them, differentiable.

A lattice is a matrix L whose **rows** are the vectors a, b, c in angstrom; a site at fractional coordinates f lies at
f L. L and L Q describe the same lattice for every rotation Q, so a model needs one of

* lengths and angles: a, b, c in angstrom; alpha = angle(b, c), beta = angle(a, c), gamma = angle(a, b);
* the logarithm of the metric, S = log(L L^T) / 2, a symmetric matrix: any S is a lattice, with L = exp(S) one
  of its matrices. Its trace is the logarithm of the volume, and a rotation does not touch it.

Both are made scale-free by dividing out the volume per site: v = V / N angstrom^3, length unit v^(1/3).

The standard matrix of (a, b, c, alpha, beta, gamma) has c along z and a in the x-z plane, as pymatgen's.

Reference: the logarithm on the basis of Sym(3): Jiao, Huang, Liu, Zhao, Liu: Space group constrained crystal
generation, arXiv:2402.03992, section 4.1 (the invariant vector k of L = Q exp(sum k_i B_i); ours has an orthonormal
basis, so distances between vectors are those between matrices). The derivative of a matrix function: Daleckii and
Krein, 1965; Higham, Functions of Matrices, Theorem 3.11.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciflow.errors import expected, unknown

Matrix = Float[Tensor, "... 3 3"]
Triple = Float[Tensor, "... 3"]
Six = Float[Tensor, "... 6"]
Sizes = Int[Tensor, "..."]
Volume = Float[Tensor, "..."]

_ROOT = 1.0 / math.sqrt(2.0)


def volume(matrix: Matrix) -> Volume:
    """Return the volume in angstrom^3."""
    return torch.linalg.det(matrix).abs()


def matrix(lengths: Triple, angles: Triple) -> Matrix:
    r"""Return the standard matrix: c along z, a in the x-z plane.

    With x = (cos(alpha) cos(beta) - cos(gamma)) / (sin(alpha) sin(beta)), the cosine of the reciprocal angle
    gamma*: a = a (sin(beta), 0, cos(beta)), b = b (-sin(alpha) x, sin(alpha) sqrt(1 - x^2), cos(alpha)),
    c = c (0, 0, 1).

    Args:
        lengths: a, b, c in angstrom.
        angles: alpha, beta, gamma in degrees. Where no three vectors have such angles, x is clipped to [-1, 1]
            and the lattice is flat.
    """
    radians = torch.deg2rad(angles)
    cos, sin = radians.cos(), radians.sin()
    x = (cos[..., 0] * cos[..., 1] - cos[..., 2]) / (sin[..., 0] * sin[..., 1])
    x = x.clamp(-1.0, 1.0)
    zero = torch.zeros_like(x)
    a = torch.stack((sin[..., 1], zero, cos[..., 1]), -1)
    b = torch.stack((-sin[..., 0] * x, sin[..., 0] * (1.0 - x * x).sqrt(), cos[..., 0]), -1)
    c = torch.stack((zero, zero, zero + 1.0), -1)
    return torch.stack((a, b, c), -2) * lengths[..., None]


def parameters(matrix: Matrix) -> tuple[Triple, Triple]:
    """Return lengths in angstrom and angles in degrees."""
    lengths = matrix.norm(dim=-1)
    unit = matrix / lengths[..., None]
    b, c, a = unit[..., 1, :], unit[..., 2, :], unit[..., 0, :]
    pairs = ((b, c), (a, c), (a, b))
    # The angle between unit vectors as 2 atan2(|u - v|, |u + v|): exact where the cosine is flat, and its derivative
    # is finite at 90 degrees and everywhere but 0 and 180.
    angles = [2.0 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1)) for u, v in pairs]
    return lengths, torch.rad2deg(torch.stack(angles, -1))


class _SymmetricLog(torch.autograd.Function):
    """The logarithm of a symmetric positive matrix, with a derivative that equal eigenvalues do not break."""

    @staticmethod
    def forward(ctx: Any, metric: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(metric)
        ctx.save_for_backward(values, vectors)
        return (vectors * values.log().unsqueeze(-2)) @ vectors.mT

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        grad = (grads[0] + grads[0].mT) / 2
        x, y = values.unsqueeze(-1), values.unsqueeze(-2)
        # Divided differences of the logarithm: log1p(d / y) / d with d = x - y, and 1 / y as d goes to 0.
        d = x - y
        small = d.abs() <= 1e-6 * y.abs()
        safe = torch.where(small, y, d)
        slope = torch.where(small, 2.0 / (x + y), torch.log1p(safe / y) / safe)
        inner = vectors.mT @ grad @ vectors
        return vectors @ (slope * inner) @ vectors.mT


def logarithm(matrix: Matrix) -> Six:
    r"""Return S = log(L L^T) / 2 as a vector: Sxx, Syy, Szz, and sqrt(2) times Syz, Sxz, Sxy.

    The norm of the vector is the Frobenius norm of S; its first three entries sum to log V.
    """
    metric = matrix @ matrix.mT
    s = _SymmetricLog.apply(metric) / 2.0  # type: ignore[operator]
    diagonal = s.diagonal(dim1=-2, dim2=-1)
    off = torch.stack((s[..., 1, 2], s[..., 0, 2], s[..., 0, 1]), -1) / _ROOT
    return torch.cat((diagonal, off), -1)


def exponential(vector: Six) -> Matrix:
    """Return the symmetric matrix L = exp(S) of a vector; every vector gives a lattice of positive volume."""
    xx, yy, zz, yz, xz, xy = (vector * _weights(vector)).unbind(-1)
    rows = ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))
    s = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return torch.linalg.matrix_exp(s)


def _weights(like: Tensor) -> Tensor:
    return torch.tensor((1.0, 1.0, 1.0, _ROOT, _ROOT, _ROOT), dtype=like.dtype, device=like.device)


class Representation(ABC):
    """A way to write a lattice of N sites as six numbers, free of rotation and of the mean volume per site."""

    name: str

    @abstractmethod
    def encode(self, matrix: Matrix, sizes: Sizes) -> Six:
        """Return the six numbers of lattices with `sizes` sites."""

    @abstractmethod
    def decode(self, vector: Six, sizes: Sizes) -> Matrix:
        """Return a matrix of the lattice that six numbers describe, up to rotation."""


class Logarithm(Representation):
    """The logarithm of the metric; log(N) / 3 is taken off the diagonal, so that its sum is log(V / N)."""

    name = "logarithm"

    def encode(self, matrix: Matrix, sizes: Sizes) -> Six:
        return logarithm(matrix) - self._share(sizes, matrix)

    def decode(self, vector: Six, sizes: Sizes) -> Matrix:
        return exponential(vector + self._share(sizes, vector))

    @staticmethod
    def _share(sizes: Tensor, like: Tensor) -> Tensor:
        share = sizes.to(like.dtype).log()[..., None] / 3.0
        return torch.cat(
            (
                share.expand(*share.shape[:-1], 3),
                torch.zeros_like(share).expand(*share.shape[:-1], 3),
            ),
            -1,
        )


class LengthsAngles(Representation):
    """Logarithms of the lengths over N^(1/3), and the angles less 90 degrees, in radians.

    Not every six numbers are a lattice: `decode` keeps angles within 1 and 179 degrees and what is impossible
    becomes flat.
    """

    name = "lengths-angles"

    def encode(self, matrix: Matrix, sizes: Sizes) -> Six:
        lengths, angles = parameters(matrix)
        share = sizes.to(lengths.dtype).log()[..., None] / 3.0
        return torch.cat((lengths.log() - share, torch.deg2rad(angles - 90.0)), -1)

    def decode(self, vector: Six, sizes: Sizes) -> Matrix:
        share = sizes.to(vector.dtype).log()[..., None] / 3.0
        angles = (torch.rad2deg(vector[..., 3:]) + 90.0).clamp(1.0, 179.0)
        return matrix((vector[..., :3] + share).exp(), angles)


REPRESENTATIONS = {"logarithm": Logarithm(), "lengths-angles": LengthsAngles()}


@dataclass(frozen=True)
class Standardised:
    """A representation with mean 0 and standard deviation 1 on the data it was fitted to.

    Args:
        representation: Name of the representation.
        mean: Six means.
        std: Six standard deviations.
    """

    representation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.representation not in REPRESENTATIONS:
            raise unknown("lattice representation", self.representation, REPRESENTATIONS)
        if len(self.mean) != 6 or len(self.std) != 6 or min(self.std) <= 0:
            raise expected(
                "lattice mean and std", (self.mean, self.std), "six numbers each, std > 0"
            )

    @classmethod
    def fit(
        cls,
        matrix: Float[Tensor, "M 3 3"],
        sizes: Int[Tensor, " M"],
        representation: str = "logarithm",
        floor: float = 0.02,
    ) -> Standardised:
        """Fit mean and standard deviation.

        Args:
            matrix: Lattices of the data.
            sizes: Their numbers of sites.
            representation: Name of the representation.
            floor: Least standard deviation, for entries that the data hardly vary (the angles of cubic cells).
        """
        if representation not in REPRESENTATIONS:
            raise unknown("lattice representation", representation, REPRESENTATIONS)
        vectors = REPRESENTATIONS[representation].encode(matrix.double(), sizes)
        std = vectors.std(0, correction=0).clamp(min=floor)
        return cls(representation, tuple(vectors.mean(0).tolist()), tuple(std.tolist()))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Standardised:
        """Make again what `config` described."""
        return cls(config["representation"], tuple(config["mean"]), tuple(config["std"]))

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs, JSON-able."""
        return {
            "representation": self.representation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def encode(self, matrix: Matrix, sizes: Sizes) -> Six:
        """Return the standardised six numbers of lattices."""
        vector = REPRESENTATIONS[self.representation].encode(matrix, sizes)
        return (vector - _like(self.mean, vector)) / _like(self.std, vector)

    def decode(self, vector: Six, sizes: Sizes) -> Matrix:
        """Return a matrix of the lattice that standardised numbers describe."""
        raw = vector * _like(self.std, vector) + _like(self.mean, vector)
        return REPRESENTATIONS[self.representation].decode(raw, sizes)


def _like(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)
