"""Exact fields in several dimensions: from a mixture of Gaussians, or from noise, to another mixture.

Given the modes i of the source and j of the data, x_t = a x_1 + s x_0 + gamma z is normal around a n_j + s m_i with
variance V = (a c_1)^2 + (s c_0)^2 + gamma^2 in every coordinate, and with d = x_t - a n_j - s m_i

    E[x_1] = n_j + a c_1^2 d / V,    E[x_0] = m_i + s c_0^2 d / V,    E[z] = gamma d / V,    score = -d / V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sciflow.paths import Ends
from sciflow.streams import Streams

F64 = torch.float64


@dataclass(frozen=True)
class Mixture:
    """Mixture of isotropic Gaussians of one standard deviation.

    Args:
        weights: Weights of the modes, summing to 1.
        means: Means of the modes.
        std: Standard deviation of every mode.
    """

    weights: tuple[float, ...]
    means: tuple[tuple[float, ...], ...]
    std: float

    @property
    def places(self) -> Tensor:
        """Means of the modes ``[K, d]``."""
        return torch.tensor(self.means, dtype=F64)

    def draw(self, streams: Streams, even: bool = False) -> Tensor:
        """Draw one point for each stream, ``[B, d]``; `even` gives every mode its share exactly."""
        weights = torch.tensor(self.weights, dtype=F64)
        if even:
            level = (torch.arange(len(streams), dtype=F64) + 0.5) / len(streams)
            mode = torch.searchsorted(weights.cumsum(0), level).clamp_max(len(weights) - 1)
        else:
            mode = streams.categorical(weights.expand(len(streams), 1, -1)).squeeze(1)
        return self.places[mode] + self.std * streams.normal((len(self.means[0]),), F64)


def ring(modes: int = 8, radius: float = 1.35, std: float = 0.12) -> Mixture:
    """Modes on a circle, with unequal weights."""
    raw = [1 + k % 3 for k in range(modes)]
    angles = [2 * math.pi * k / modes for k in range(modes)]
    means = tuple((radius * math.cos(v), radius * math.sin(v)) for v in angles)
    return Mixture(tuple(w / sum(raw) for w in raw), means, std)


def noise(dimension: int) -> Mixture:
    """Standard noise, as a mixture of one."""
    return Mixture((1.0,), ((0.0,) * dimension,), 1.0)


def ends_between(
    source: Mixture, data: Mixture, a: float, s: float, gamma: float, x: Tensor
) -> tuple[Ends, Tensor]:
    """Return the exact expected ends at points ``[B, d]`` and the score there."""
    p_0, p_1 = (torch.tensor(m.weights, dtype=F64).log() for m in (source, data))
    log_w = (p_0.unsqueeze(1) + p_1).flatten()
    m = source.places.repeat_interleave(len(data.means), 0)
    n = data.places.repeat(len(source.means), 1)
    variance = (a * data.std) ** 2 + (s * source.std) ** 2 + gamma**2
    centres = a * n + s * m
    p = (log_w - torch.cdist(x, centres) ** 2 / (2 * variance)).softmax(-1)
    pull = (x - p @ centres) / variance
    x1, x0 = p @ n + a * data.std**2 * pull, p @ m + s * source.std**2 * pull
    return Ends(x1, x0, gamma * pull), -pull


def sliced_distance(x: Tensor, y: Tensor, directions: int = 64) -> float:
    """Sliced Wasserstein-2 distance of two samples of one size, root mean square over directions."""
    towards = Streams.range(11, 0, directions).normal((x.shape[1],), F64)
    towards = towards / towards.norm(dim=1, keepdim=True)
    first, second = ((v @ towards.T).sort(0).values for v in (x, y))
    return float((first - second).square().mean().sqrt())
