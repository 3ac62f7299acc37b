r"""Exact laws in the plane: eight modes on a ring, tilted by a quadratic reward, or given a linear measurement.

For x_1 ~ sum_k w_k N(m_k, C_k) the expectations given x_t = a x_1 + s x_0 are, with S_k = a^2 C_k + s^2 I,

    p_k ~ w_k N(x_t; a m_k, S_k),    E[x_1] = sum_k p_k (m_k + a C_k S_k^{-1} (x_t - a m_k)).

A product with exp(-|A x - y|^2 / (2 n^2)) is such a mixture again; a reward -c |x - z|^2 is the case A = I.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sciflow.paths.base import Ends
from sciflow.paths.gaussian import GaussianPath
from sciflow.prediction import combine
from sciflow.state import State
from sciflow.system import Network, System

F64 = torch.float64


@dataclass(frozen=True)
class Mixture:
    """Mixture of Gaussians.

    Args:
        weights: w ``[K]``, summing to 1.
        means: m ``[K, D]``.
        covariance: C, the same for all modes, ``[D, D]``.
    """

    weights: Tensor
    means: Tensor
    covariance: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean ``[D]``."""
        return self.weights @ self.means

    @property
    def total(self) -> Tensor:
        """Covariance of the whole law ``[D, D]``."""
        off = self.means - self.mean
        return self.covariance + (self.weights.unsqueeze(1) * off).T @ off

    def data(self, x: Tensor, a: Tensor, s: Tensor) -> Tensor:
        """Return E[x_1 | x_t] at `x` ``[B, D]``; `a` and `s` are ``[B]`` or without dimensions."""
        values, vectors = torch.linalg.eigh(self.covariance)
        a, s = (v.reshape(-1, 1, 1) for v in (a, s))
        scale = a**2 * values + s**2
        off = (x.unsqueeze(1) - a * self.means) @ vectors
        p = (self.weights.log() - (off**2 / (2 * scale)).sum(2)).softmax(1)
        moved = self.means + (a * values / scale * off) @ vectors.T
        return (p.unsqueeze(2) * moved).sum(1)

    def network(self, system: System) -> Network:
        """The perfect network of a system with the component ``x``."""
        component = system["x"]
        path = component.path
        assert isinstance(path, GaussianPath)

        def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
            c = path.coefficients(t)
            x, a, s = state["x"], torch.as_tensor(c.a), torch.as_tensor(c.s)
            x1 = self.data(x, a, s)
            if component.kind == "data":
                return {"x": x1}
            x0 = (x - a.unsqueeze(1) * x1) / s.unsqueeze(1)
            return {"x": combine(component.kind, c, Ends(x1, x0))}

        return network

    def draw(self, count: int, seed: int = 0) -> Tensor:
        """Draw samples ``[count, D]``."""
        generator = torch.Generator().manual_seed(seed)
        k = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        z = torch.randn(count, self.means.shape[1], generator=generator, dtype=F64)
        return self.means[k] + z @ torch.linalg.cholesky(self.covariance).T

    def log_density(self, x: Tensor) -> Tensor:
        """Log density ``[B]``."""
        parts = torch.distributions.MultivariateNormal(self.means, self.covariance)
        return (self.weights.log() + parts.log_prob(x.unsqueeze(1))).logsumexp(1)

    def given(self, a: Tensor, y: Tensor, noise: float) -> Mixture:
        """Law given y = A x + n with n ~ N(0, noise^2 I)."""
        spread = a @ self.covariance @ a.T + noise**2 * torch.eye(len(y), dtype=F64)
        gain = self.covariance @ a.T @ torch.linalg.inv(spread)
        off = y - self.means @ a.T
        log_w = self.weights.log() - 0.5 * (off @ torch.linalg.inv(spread) * off).sum(1)
        return Mixture(
            log_w.softmax(0),
            self.means + off @ gain.T,
            self.covariance - gain @ a @ self.covariance,
        )

    def tilted(self, reward: Quadratic, scale: float = 1.0) -> Mixture:
        """Law p(x) exp(scale r(x))."""
        eye = torch.eye(len(reward.target), dtype=F64)
        return self.given(eye, reward.target, (2 * scale * reward.strength) ** -0.5)

    def reward(self, reward: Quadratic) -> float:
        """E[r(x)]."""
        off = self.means - reward.target
        square = (self.weights * (off**2).sum(1)).sum() + torch.trace(self.covariance)
        return -reward.strength * float(square)

    def occupation(self, x: Tensor) -> Tensor:
        """Share of samples nearest to each mode ``[K]``."""
        nearest = torch.cdist(x, self.means).argmin(1)
        return torch.bincount(nearest, minlength=len(self.means)).to(F64) / len(x)


@dataclass(frozen=True)
class Quadratic:
    """Reward -strength |x - target|^2 of the component ``x``."""

    target: Tensor
    strength: float

    def __call__(self, samples: State) -> Tensor:
        return -self.strength * ((samples["x"] - self.target) ** 2).sum(1)


def ring(std: float = 0.12) -> Mixture:
    """Eight modes on a ring of radius 1.35, weights from .5 to 1.5 eighths."""
    angle = torch.arange(8, dtype=F64) * (torch.pi / 4)
    weights = torch.linspace(0.5, 1.5, 8, dtype=F64)
    means = 1.35 * torch.stack([angle.cos(), angle.sin()], 1)
    return Mixture(weights / weights.sum(), means, std**2 * torch.eye(2, dtype=F64))


def sliced(x: Tensor, y: Tensor, directions: int = 64) -> float:
    """Sliced Wasserstein-2 distance of two sets of samples."""
    generator = torch.Generator().manual_seed(7)
    d = torch.randn(x.shape[1], directions, generator=generator, dtype=F64)
    d = d / d.norm(dim=0)
    p = (torch.arange(1000, dtype=F64) + 0.5) / 1000
    u, v = (torch.quantile(z @ d, p, dim=0) for z in (x, y))
    return float((u - v).square().mean().sqrt())
