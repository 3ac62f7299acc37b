"""Spaces: where a component lives, how noise looks there, and how to move, compare and project.

Masks act here and nowhere else: noise, projections and moves are zero on padding.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import expected
from .shapes import expand
from .streams import Streams


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # kept for later calls, which may record gradients
def pair_index(nodes: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Indices (i, j) with i > j of all unordered pairs of `nodes` nodes, int64 ``[P]`` each, P = nodes (nodes - 1) / 2.

    The order is (1,0), (2,0), (2,1), (3,0), ...: the first n (n - 1) / 2 pairs belong to the first n nodes, so padding
    with nodes only appends pairs.
    """
    i, j = torch.tril_indices(nodes, nodes, -1, device=device)
    return i, j


class Space(ABC):
    """A space of tensors ``[B, ...]``."""

    @abstractmethod
    def noise(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        """Draw the standard noise of the space.

        Args:
            shape: Shape of one sample (without B).
            streams: Random streams of the batch.
            mask: Mask of the component, or None.
            dtype: Floating-point type of the result.

        Returns:
            Noise ``[B, *shape]``, zero on padding.
        """

    def base(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        """Draw from the law that knows nothing: the standard noise, or the uniform law where the space is compact."""
        return self.noise(shape, streams, mask, dtype)

    def project(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the nearest point of the space, zero on padding."""
        return x if mask is None else x * expand(mask, x).to(x.dtype)

    def tangent(self, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return the nearest tangent vector (a step, a velocity, a score), zero on padding."""
        return self.project(v, mask)

    def move(self, x: Tensor, step: Tensor) -> Tensor:
        """Return the point reached from `x` by the tangent vector `step`."""
        return x + step

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the shortest tangent vector that moves `y` to `x`."""
        return x - y

    def lift(self, x: Tensor, near: Tensor) -> Tensor:
        """Return the coordinates of the point `x` that lie nearest to `near` (they are unique but on a torus)."""
        return x

    def dimension(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Number of free coordinates of each sample, float ``[B]``."""
        real = torch.ones_like(x) if mask is None else expand(mask, x).to(x.dtype).expand_as(x)
        return real.flatten(1).sum(1)


@dataclass(frozen=True)
class Euclidean(Space):
    """Real vectors; the standard noise is N(0, I)."""

    def noise(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        return self.project(streams.normal(shape, dtype), mask)


@dataclass(frozen=True)
class Torus(Space):
    """Coordinates modulo a period; tangent noise is N(0, I), the base law is uniform.

    Between projections, coordinates are lifted: x and x + period are one point, and a path moves on the real line.

    Args:
        period: Length after which a coordinate comes back, > 0.
    """

    period: float = 1.0

    def __post_init__(self) -> None:
        if not self.period > 0:
            raise expected("period of a torus", self.period, "a positive number")

    def noise(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        x = streams.normal(shape, dtype)
        return x if mask is None else x * expand(mask, x).to(x.dtype)

    def base(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        return self.project(streams.uniform(shape, dtype) * self.period, mask)

    def project(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = torch.remainder(x, self.period)
        # Rounding carries a small negative number to the period itself.
        return super().project(torch.where(x < self.period, x, 0.0), mask)

    def tangent(self, v: Tensor, mask: Tensor | None) -> Tensor:
        return super().project(v, mask)

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        half = self.period / 2
        return torch.remainder(x - y + half, self.period) - half

    def lift(self, x: Tensor, near: Tensor) -> Tensor:
        return near + self.difference(x, near)


@dataclass(frozen=True)
class Symmetric(Space):
    """Symmetric matrices ``[B, N, N]`` with zero diagonal; the standard noise is N(0, 1) on each unordered pair."""

    def noise(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        nodes = shape[-1]
        i, j = pair_index(nodes, streams.index.device)
        pairs = streams.normal((i.shape[0],), dtype)
        x = pairs.new_zeros(pairs.shape[0], nodes, nodes)
        x[:, i, j] = pairs
        x[:, j, i] = pairs
        return super().project(x, mask)

    def project(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = (x + x.transpose(-1, -2)) / 2
        x = x - torch.diag_embed(x.diagonal(dim1=-2, dim2=-1))
        return super().project(x, mask)

    def dimension(self, x: Tensor, mask: Tensor | None) -> Tensor:
        off = 1 - torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand_as(x)
        return super().project(off, mask).flatten(1).sum(1) / 2


@dataclass(frozen=True)
class Categorical(Space):
    """Labels 0 .. classes - 1, int64 ``[B, ...]``; the standard noise is uniform over the classes.

    Args:
        classes: Number of classes K of the data; a path may add states of its own (a mask) above them.
    """

    classes: int

    def noise(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        labels = (streams.uniform(shape, dtype) * self.classes).long()
        return self.project(labels, mask)

    def dimension(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return super().dimension(x.float(), mask)


@dataclass(frozen=True)
class Simplex(Space):
    """Beliefs about labels: one number for each class in the last dimension, ``[B, ..., K]``; noise is N(0, I).

    The data are corners of the simplex (one-hot); on the way a state is a vector of logits, which no projection may
    touch, so that `project` only applies the mask.

    Args:
        classes: Number of classes K.
    """

    classes: int

    def noise(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        return self.project(streams.normal(shape, dtype), mask)

    def corners(self, labels: Tensor, dtype: torch.dtype) -> Tensor:
        """Return labels ``[B, ...]`` as one-hot vectors ``[B, ..., K]``."""
        return F.one_hot(labels, self.classes).to(dtype)

    def labels(self, x: Tensor) -> Tensor:
        """Return the most likely labels ``[B, ...]`` of beliefs ``[B, ..., K]``."""
        return x.argmax(-1)


@dataclass(frozen=True)
class Circle(Space):
    """Beliefs about angles: vectors c (cos m, sin m) in the last dimension of size 2, ``[B, ..., 2]``.

    The data are points of the unit circle; on the way, the direction m of a state is the believed angle and its length
    c says how sure the belief is, so that no projection may normalise it: `project` only applies the mask. The
    standard noise is N(0, I) in the plane, the base law is uniform on the circle.

    Args:
        period: Length of the circle in the coordinate that `vectors` and `coordinates` translate, > 0.
    """

    period: float = 1.0

    def __post_init__(self) -> None:
        if not self.period > 0:
            raise expected("period of a circle", self.period, "a positive number")

    def noise(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        self._planar(shape)
        return self.project(streams.normal(shape, dtype), mask)

    def base(
        self, shape: Sequence[int], streams: Streams, mask: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        self._planar(shape)
        turns = streams.uniform(shape[:-1], dtype) * self.period
        return self.project(self.vectors(turns), mask)

    def vectors(self, coordinates: Tensor) -> Tensor:
        """Return coordinates ``[...]`` (any number is taken modulo the period) as unit vectors ``[..., 2]``."""
        angle = coordinates * (2 * math.pi / self.period)
        return torch.stack((angle.cos(), angle.sin()), dim=-1)

    def coordinates(self, x: Tensor) -> Tensor:
        """Return the directions of vectors ``[..., 2]`` as coordinates in [0, period), ``[...]``."""
        turns = torch.atan2(x[..., 1], x[..., 0]) * (self.period / (2 * math.pi))
        turns = torch.remainder(turns, self.period)
        # Rounding carries a small negative number to the period itself.
        return torch.where(turns < self.period, turns, 0.0)

    def nearest(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the point of the unit circle that is nearest to `x`; the zero vector goes to coordinate 0."""
        length = x.norm(dim=-1, keepdim=True)
        first = torch.zeros_like(x)
        first[..., 0] = 1.0
        return self.project(torch.where(length > 0, x / length.clamp_min(1e-30), first), mask)

    @staticmethod
    def _planar(shape: Sequence[int]) -> None:
        if not shape or shape[-1] != 2:
            raise expected("shape of a component on a circle", tuple(shape), "(..., 2)")


SPACES: dict[str, type[Space]] = {
    "euclidean": Euclidean,
    "symmetric": Symmetric,
    "torus": Torus,
    "circle": Circle,
    "categorical": Categorical,
    "simplex": Simplex,
}
