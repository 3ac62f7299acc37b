r"""The von Mises law on the circle: vM(y | x, c) = exp(c cos(y - x)) / (2 pi I_0(c)).

Its mean vector has length A(c) = I_1(c) / I_0(c), its entropy is log(2 pi I_0(c)) - c A(c), and

    KL(vM(x, c) || vM(x', c)) = c A(c) (1 - cos(x - x')).

Reference: Mardia, Jupp, Directional statistics, Wiley 2000, section 3.5.4; Best, Fisher, Efficient simulation of the
von Mises distribution, Applied Statistics 28 (1979) 152-157.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...streams import Streams

_ROUNDS = 20
"""Proposals per draw; each is taken with probability > .657, so that all fail once in 2e9 draws."""


def mean_length(c: Tensor) -> Tensor:
    """Return A(c), the length of the mean vector, for concentrations c >= 0 of any shape."""
    return torch.special.i1e(c) / torch.special.i0e(c)


def entropy(c: Tensor) -> Tensor:
    """Return the entropy of vM(., c) in nats, from log(2 pi) at c = 0 down to log(2 pi e / c) / 2 for large c."""
    log_i0 = torch.special.i0e(c).log() + c
    return math.log(2 * math.pi) + log_i0 - c * mean_length(c)


def draw(c: Tensor, streams: Streams) -> Tensor:
    """Draw angles from vM(0, c), exactly (Best and Fisher's wrapped Cauchy proposals).

    All proposals of a draw are made at once, so that no sample waits for another of its batch.

    Args:
        c: Concentrations ``[B, ...]``, >= 0.
        streams: Random streams of the batch.

    Returns:
        Angles in (-pi, pi), float64 ``[B, ...]``.
    """
    u = streams.uniform((*c.shape[1:], 2, _ROUNDS)).double()
    c = c.double().unsqueeze(-1)
    q = (1 + 4 * c * c).sqrt()
    root = (1 + q).sqrt()
    rho = 2 * root * c / ((q + 1) * (root + math.sqrt(2)))
    # c (1 + rho^2) / (2 rho), finite at c = 0.
    top = (1 + rho * rho) * (q + 1) * (root + math.sqrt(2)) / (4 * root)
    angle = 2 * torch.atan((1 - rho) / (1 + rho) * (math.pi * (u[..., 0, :] - 0.5)).tan())
    height = top - c * angle.cos()
    taken = height.log() + 1 - height >= u[..., 1, :].log()
    first = taken.to(torch.uint8).argmax(-1, keepdim=True)
    return angle.gather(-1, first).squeeze(-1)
