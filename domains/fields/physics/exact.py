"""Exact solutions that the solvers are held to, in double precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cole_hopf(
    x: Tensor,
    time: float,
    viscosity: float,
    amplitude: float = 1.0,
    wavenumber: float = math.pi,
    points: int = 4001,
) -> Tensor:
    r"""Solution of the Burgers equation without force from u0 = a sin(k x).

    .. math::
        u(x, t) = \frac{\int u_0(x - \eta) w(\eta) d\eta}{\int w(\eta) d\eta}, \qquad
        \log w = \frac{a \cos k (x - \eta)}{2 \nu k} - \frac{\eta^2}{4 \nu t},

    the mean of u0 under positive weights, by the trapezium rule, which is exact to rounding here.

    Args:
        x: Places, any shape; the solution is 0 wherever sin(k x) is.
        time: Time, > 0.
        viscosity: The viscosity.
        amplitude: a.
        wavenumber: k.
        points: Points of the rule, over 16 standard widths of the heat kernel.

    Reference: Cole, On a quasi-linear parabolic equation occurring in aerodynamics, Quart. Appl. Math. 9 (1951).
    """
    shift = torch.linspace(-8, 8, points, dtype=torch.float64) * math.sqrt(4 * viscosity * time)
    away = wavenumber * (x.double()[..., None] - shift)
    weight = amplitude / (2 * viscosity * wavenumber) * away.cos()
    weight = torch.softmax(weight - shift.square() / (4 * viscosity * time), dim=-1)
    return (weight * amplitude * away.sin()).sum(-1)
