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

_ROUNDS = (6, 16)
"""Proposals per draw, at first and for samples in which one is left over: each is taken with probability > .657."""


def mean_length(c: Tensor) -> Tensor:
    """Return A(c), the length of the mean vector, for concentrations c >= 0 of any shape."""
    return torch.special.i1e(c) / torch.special.i0e(c)


def entropy(c: Tensor) -> Tensor:
    """Return the entropy of vM(., c) in nats, from log(2 pi) at c = 0 down to log(2 pi e / c) / 2 for large c."""
    log_i0 = torch.special.i0e(c).log() + c
    return math.log(2 * math.pi) + log_i0 - c * mean_length(c)


def draw(c: Tensor, streams: Streams) -> Tensor:
    """Draw angles from vM(0, c), exactly (Best and Fisher's wrapped Cauchy proposals).

    Six proposals are made at once, and 16 more where they all fail; a draw takes the same place in its stream
    either way, so that no sample depends on its batch.

    Args:
        c: Concentrations ``[B, ...]``, >= 0.
        streams: Random streams of the batch.

    Returns:
        Angles in (-pi, pi), float64 ``[B, ...]``.
    """
    angle, left = _propose(c, streams, _ROUNDS[0])
    rows = (
        left.flatten(1).any(1).nonzero().squeeze(1) if c.dim() > 1 else left.nonzero().squeeze(1)
    )
    if rows.shape[0]:
        again, _ = _propose(c[rows], streams.select(rows), _ROUNDS[1])
        angle[rows] = torch.where(left[rows], again, angle[rows])
    streams.draws += 1
    return angle


def _propose(c: Tensor, streams: Streams, rounds: int) -> tuple[Tensor, Tensor]:
    """The first proposal that is taken, and whether there is none (1e-10 of all cases with 22)."""
    u = streams.uniform((*c.shape[1:], 2, rounds)).double()
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
    return angle.gather(-1, first).squeeze(-1), ~taken.any(-1)
