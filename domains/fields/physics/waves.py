r"""PDEBench's random initial states on a periodic interval: a few sines, sometimes folded, sometimes cut by a window.

.. math:: u_0(x) = \sum_{i=1}^{n} A_i \sin(2 \pi k_i x / L + \phi_i), \quad A_i \in [0, 1), k_i \leq K

One state in ten is replaced by its absolute value with a random sign, one in two is multiplied by a window with edges
of width L / 100.

Reference: Takamoto et al., PDEBench, NeurIPS 2022, appendix D.1 (as their code has it: window in one of two).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sciflow.streams import Streams


def random_waves(
    streams: Streams,
    x: Tensor,
    terms: int = 2,
    highest: int = 8,
    folded: float = 0.1,
    windowed: float = 0.5,
) -> Tensor:
    """Draw states ``[B, len(x)]`` in float64.

    Args:
        streams: One stream per state.
        x: Places as shares of the period, ``[X]``.
        terms: Number n of sines.
        highest: Largest wavenumber K.
        folded: Probability of the absolute value.
        windowed: Probability of the window.
    """
    draw = streams.uniform((terms, 3), torch.float64)
    wave = (highest * draw[..., 1]).floor() + 1
    angle = 2 * math.pi * (wave[..., None] * x + draw[..., 2, None])
    u = (draw[..., 0, None] * angle.sin()).sum(1)
    choice = streams.uniform((5,), torch.float64).unsqueeze(-1)
    sign = torch.where(choice[:, 1] < 0.5, -1.0, 1.0)
    u = torch.where(choice[:, 0] < folded, sign * u.abs(), u)
    left, right = 0.1 + 0.35 * choice[:, 3], 0.55 + 0.35 * choice[:, 4]
    window = 0.5 * (((x - left) / 0.01).tanh() - ((x - right) / 0.01).tanh())
    return torch.where(choice[:, 2] < windowed, u * window, u)
