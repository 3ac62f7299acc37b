r"""Accuracy schedules under which the entropy of a belief about an angle falls linearly in t.

In the additive flow the belief at accuracy b is vM(m, c) with c the length of a planar normal vector of mean b and
variance b in each direction. Its mean entropy h(b) is an integral over the law of c (Rice),

    h(b) = int_0^inf (c / b) exp(-(c^2 + b^2) / (2 b)) I_0(c) H(vM(c)) dc,

and falls at the rate that the error of the best guess says (I-MMSE): h'(b) = -(1 - E A(c)^2) / 2. With finite steps the
schedule is that of CrysBFN: concentrations beta(t) whose entropy is linear in t, and the accuracy alpha
of the observation that carries a belief that points at the truth from one of them to the next,

    E |beta e^{i x} + alpha e^{i y}| = beta',    y ~ vM(x, alpha).

All is computed by quadrature, on the host, once: CrysBFN searches alpha on a Monte Carlo mean and keeps it in files.

Reference: Wu et al., A periodic Bayesian flow for material generation, arXiv:2502.02016, section 4; Guo, Shamai, Verdu,
Mutual information and minimum mean-square error in Gaussian channels, arXiv:cs/0412108, theorem 1.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from .von_mises import entropy, mean_length

KNOTS = 1024
"""Intervals of the table of accuracies; between them it is a cubic with the exact derivatives, good to 1e-9."""
_NODES = 160
_ANGLES = 512


@lru_cache(maxsize=1)
@torch.inference_mode(False)
def _legendre() -> tuple[Tensor, Tensor]:
    """Nodes and weights of the Gauss-Legendre rule on [0, 1] (Golub and Welsch)."""
    k = torch.arange(1, _NODES, dtype=torch.float64)
    off = k / (4 * k * k - 1).sqrt()
    x, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return (x + 1) / 2, vectors[0] ** 2


def _rice(b: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes c and weights of the law of c for accuracies `b` > 0, ``[..., nodes]`` each."""
    x, w = _legendre()
    root = b.sqrt()
    low, high = (b - 9 * root).clamp_min(0).unsqueeze(-1), (b + 9 * root).unsqueeze(-1)
    c = low + (high - low) * x
    b = b.unsqueeze(-1)
    density = c / b * (-((c - b) ** 2) / (2 * b)).exp() * torch.special.i0e(c)
    return c, density * w * (high - low)


def mean_entropy(b: Tensor) -> Tensor:
    """Return h(b), the mean entropy in nats of the belief about an angle at accuracies `b` >= 0, float64."""
    c, w = _rice(b.double().clamp_min(1e-12))
    return (w * entropy(c)).sum(-1)


def mean_error(b: Tensor) -> Tensor:
    """Return 1 - E A(c)^2, the mean squared distance of e^{i x} from its believed mean at accuracies `b` >= 0."""
    c, w = _rice(b.double().clamp_min(1e-12))
    return 1 - (w * mean_length(c) ** 2).sum(-1)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def planar_table(stop: float) -> Tensor:
    """Return log(1 + b) and its derivative in t at t = 0, 1 / KNOTS, ..., 1, float64 ``[KNOTS + 1, 2]``.

    Args:
        stop: Accuracy at t = 1.
    """
    ends = mean_entropy(torch.tensor([0.0, stop], dtype=torch.float64))
    fall = ends[0] - ends[1]
    target = ends[0] - fall * torch.linspace(0, 1, KNOTS + 1, dtype=torch.float64)
    low, high = 0.0, math.log1p(stop)
    u = torch.linspace(low, high, 257, dtype=torch.float64)
    h = mean_entropy(torch.expm1(u))
    right = torch.searchsorted(-h, -target).clamp(1, 256)
    part = (h[right - 1] - target) / (h[right - 1] - h[right])
    u = u[right - 1] + part * (u[right] - u[right - 1])
    for _ in range(6):  # Newton
        b = torch.expm1(u)
        slope = mean_error(b) * (1 + b) / 2
        u = (u + (mean_entropy(b) - target) / slope).clamp(low, high)
    u[0], u[-1] = low, high
    b = torch.expm1(u)
    return torch.stack((u, 2 * fall / (mean_error(b) * (1 + b))), dim=-1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _table_as(stop: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return planar_table(stop).to(device, dtype)


def planar_accuracy(t: Tensor, stop: float) -> tuple[Tensor, Tensor]:
    """Return the accuracy b at times `t`, which is `stop` at t = 1, and its derivative."""
    table = _table_as(stop, t.dtype, t.device)
    place = t.clamp(0, 1) * KNOTS
    left = place.floor().clamp(max=KNOTS - 1)
    f, i = place - left, left.long()
    (u0, d0), (u1, d1) = table[i].unbind(-1), table[i + 1].unbind(-1)
    d0, d1, rise = d0 / KNOTS, d1 / KNOTS, u1 - u0
    # Hermite: u0 + d0 f + p f^2 + q f^3.
    p, q = 3 * rise - 2 * d0 - d1, d0 + d1 - 2 * rise
    u = u0 + f * (d0 + f * (p + f * q))
    du = (d0 + f * (2 * p + 3 * f * q)) * KNOTS
    b = torch.expm1(u)
    return b, du * (1 + b)


def planar_time(accuracy: Tensor, stop: float) -> Tensor:
    """Return the time at which the accuracy has a value: the inverse of `planar_accuracy`, by quadrature."""
    ends = mean_entropy(torch.tensor([0.0, stop], dtype=torch.float64))
    h = mean_entropy(accuracy.cpu()).to(accuracy.device)
    return ((ends[0] - h) / (ends[0] - ends[1])).to(accuracy.dtype)


def concentration(t: Tensor, beta_1: float) -> Tensor:
    """Return beta(t), whose entropy falls linearly from log(2 pi) at t = 0 to that of `beta_1` at t = 1, float64."""
    t = t.double()
    first = math.log(2 * math.pi)
    last = float(entropy(torch.tensor(beta_1, dtype=torch.float64)))
    target = first + t * (last - first)
    low, high = torch.zeros_like(t), torch.full_like(t, beta_1)
    for _ in range(80):  # bisection, to the last bit
        middle = (low + high) / 2
        above = entropy(middle) > target
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.where(t <= 0, 0.0, torch.where(t >= 1, beta_1, (low + high) / 2))


def observation(beta: Tensor, later: Tensor) -> Tensor:
    """Return the accuracy alpha of the observation that takes a belief from `beta` to `later` > `beta` on average.

    Args:
        beta: Concentrations before, any shape, float64.
        later: Concentrations after, of the same shape.
    """
    angle = (torch.arange(_ANGLES, dtype=torch.float64) + 0.5) * (math.pi / _ANGLES)
    cos = angle.cos()
    beta, later = beta.double().unsqueeze(-1), later.double().unsqueeze(-1)
    low, high = later - beta, later - beta + 1
    for _ in range(60):
        alpha = (low + high) / 2
        weight = (alpha * (cos - 1)).exp()
        length = (beta**2 + alpha**2 + 2 * alpha * beta * cos).clamp_min(0).sqrt()
        short = (weight * length).sum(-1, keepdim=True) < later * weight.sum(-1, keepdim=True)
        low, high = torch.where(short, alpha, low), torch.where(short, high, alpha)
    return ((low + high) / 2).squeeze(-1)
