r"""Laws on which everything is known: mixtures of Gaussians, what a perfect network would say of them, and their flow.

For x_t = a x_1 + s x_0 with x_1 ~ sum_k w_k N(m_k, c^2 I) and x_0 ~ N(0, I), with v = a^2 c^2 + s^2,

    p_k     propto  w_k exp(a x_t.m_k / v - a^2 |m_k|^2 / (2 v)),
    E[x_1]  =  (s^2 / v) sum_k p_k m_k + (a c^2 / v) x_t,
    E[x_0]  =  (s / v) (x_t - a sum_k p_k m_k).

x_t / sqrt(a^2 + s^2) as a function of the angle atan(a / s) solves one differential equation whatever the path, so the
end point that belongs to a start is the same for all: it is computed once, by the classical Runge-Kutta method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

F64 = torch.float64
Scalar = Tensor | float


@dataclass(frozen=True)
class Start:
    """Where a sampler started: x with signal a and noise s."""

    x: Tensor
    a: float
    s: float


class Mixture:
    """A mixture of isotropic Gaussians; every look at its field is counted in `calls`.

    Args:
        name: Its name.
        weights: Weights ``[K]``.
        means: Means ``[K, D]``.
        std: Standard deviation c of every mode.
        size: Number of samples that are drawn from it.
    """

    def __init__(self, name: str, weights: Tensor, means: Tensor, std: float, size: int) -> None:
        self.name, self.weights, self.means, self.std, self.size = name, weights, means, std, size
        self.log_weights, self.squares = weights.log(), means.square().sum(1)
        self.calls = 0

    @property
    def dimension(self) -> int:
        """Dimension D."""
        return self.means.shape[1]

    def ends(self, x: Tensor, a: Scalar, s: Scalar) -> tuple[Tensor, Tensor]:
        """Return E[x_1 | x_t] and E[x_0 | x_t] at `x` ``[B, D]``, for one a and s or one per sample ``[B]``."""
        self.calls += 1
        return self._ends(x, a, s)

    def data(self, x: Tensor, a: Scalar, s: Scalar) -> Tensor:
        """Return E[x_1 | x_t] (see `ends`)."""
        return self.ends(x, a, s)[0]

    def noise(self, x: Tensor, a: Scalar, s: Scalar) -> Tensor:
        """Return E[x_0 | x_t] (see `ends`)."""
        return self.ends(x, a, s)[1]

    def _ends(self, x: Tensor, a: Scalar, s: Scalar) -> tuple[Tensor, Tensor]:
        a, s = _column(a), _column(s)
        v = (a * self.std) ** 2 + s * s
        means = self.means.to(x.dtype)
        logits = (x @ means.T) * (a / v) - self.squares.to(x.dtype) * (a * a / (2 * v))
        believed = (logits + self.log_weights.to(x.dtype)).softmax(1) @ means
        x1 = believed * (s * s / v) + x * (a * self.std**2 / v)
        return x1, (x - believed * a) * (s / v)

    def draw(self, seed: int) -> Tensor:
        """Draw `size` samples."""
        generator = torch.Generator().manual_seed(1000 + seed)
        k = torch.multinomial(self.weights, self.size, replacement=True, generator=generator)
        z = torch.randn(self.size, self.dimension, generator=generator, dtype=F64)
        return self.means[k] + self.std * z

    def start(self, seed: int) -> Tensor:
        """Draw the noise of `size` samples: every sampler starts from the same, scaled."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.size, self.dimension, generator=generator, dtype=F64)

    def flow(self, start: Start, steps: int = 500) -> Tensor:
        """Return where the probability flow carries `start` to: its point of the data."""
        angle = math.atan2(start.a, start.s)
        y = start.x / math.hypot(start.a, start.s)
        h = (math.pi / 2 - angle) / steps

        def velocity(angle: float, y: Tensor) -> Tensor:
            a, s = math.sin(angle), math.sin(math.pi / 2 - angle)
            x1, x0 = self._ends(y, a, s)
            return x1 * s - x0 * a

        for i in range(steps):
            u = angle + i * h
            k1 = velocity(u, y)
            k2 = velocity(u + h / 2, y + h / 2 * k1)
            k3 = velocity(u + h / 2, y + h / 2 * k2)
            k4 = velocity(u + h, y + h * k3)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y


def _column(value: Scalar) -> Scalar:
    return value.reshape(-1, 1) if isinstance(value, Tensor) and value.ndim else value


@cache
def ring() -> Mixture:
    """Eight modes on a ring in the plane, weights from .5 to 1.5 eighths, radius 1.35, standard deviation .12."""
    angle = torch.arange(8, dtype=F64) * (math.pi / 4)
    weights = torch.linspace(0.5, 1.5, 8, dtype=F64)
    means = 1.35 * torch.stack([angle.cos(), angle.sin()], 1)
    return Mixture("8 modes, 2-D", weights / weights.sum(), means, 0.12, 10_000)


@cache
def cloud() -> Mixture:
    """Ten modes in 64 dimensions: means drawn from N(0, .81 I), standard deviation .3."""
    generator = torch.Generator().manual_seed(0)
    means = 0.9 * torch.randn(10, 64, generator=generator, dtype=F64)
    return Mixture("10 modes, 64-D", torch.full((10,), 0.1, dtype=F64), means, 0.3, 2000)


LAWS = {"ring": ring, "cloud": cloud}


SETS = 16


class SlicedW2:
    """Sliced Wasserstein-2 distance of samples to a law, over 64 directions; infinite where one is not finite."""

    def __init__(self, law: Mixture, directions: int = 64) -> None:
        generator = torch.Generator().manual_seed(7)
        d = torch.randn(law.dimension, directions, generator=generator, dtype=F64)
        self.directions = d / d.norm(dim=0)
        # The quantile function of the law, from many sets: the target adds next to no noise of its own.
        many = Mixture(law.name, law.weights, law.means, law.std, SETS * law.size)
        along = (many.draw(0) @ self.directions).T.contiguous().sort(1).values
        self.sorted = along.view(directions, law.size, SETS).mean(2).T

    def __call__(self, x: Tensor) -> float:
        """Return the distance of the samples `x` ``[N, D]``, N as many as the law draws."""
        if not bool(torch.isfinite(x).all()):
            return math.inf
        along = (x.to(F64) @ self.directions).sort(0).values
        return float((along - self.sorted).square().mean().sqrt())


def distance(x: Tensor, exact: Tensor) -> tuple[float, float, float]:
    """Root mean square distance of end points, its standard error (a few that change mode may rule it), the median."""
    squares = (x.to(F64) - exact).square().sum(1)
    value = float(squares.mean().sqrt())
    if not math.isfinite(value):
        return math.inf, 0.0, math.inf
    error = float(squares.std()) / math.sqrt(len(squares)) / (2 * max(value, 1e-30))
    return value, error, float(squares.sqrt().median())
