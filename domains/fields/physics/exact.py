"""Exact solutions that the solvers are held to, in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def riemann(
    x: Tensor, time: float, left: Sequence[float], right: Sequence[float], gamma: float = 1.4
) -> Tensor:
    """Solution of the Euler equations from two constant states that meet at x = 0.

    Args:
        x: Places ``[X]``.
        time: Time, > 0.
        left: Density, velocity, pressure on the left.
        right: The same on the right.
        gamma: Ratio of specific heats.

    Returns:
        Density, velocity, pressure ``[3, X]``; no vacuum is foreseen.

    Reference: Toro, Riemann solvers and numerical methods for fluid dynamics (2009), chapter 4. Sod's problem (J.
    Comput. Phys. 27, 1978) is (1, 0, 1) against (0.125, 0, 0.1).
    """
    sides = (tuple(left), tuple(right))
    sound = [math.sqrt(gamma * p / r) for r, _, p in sides]

    def change(pressure: float, k: int) -> tuple[float, float]:
        """Change of the velocity across the wave on side k, and its derivative."""
        r, _, p = sides[k]
        if pressure > p:
            a, b = 2 / ((gamma + 1) * r), (gamma - 1) / (gamma + 1) * p
            root = math.sqrt(a / (pressure + b))
            return (pressure - p) * root, root * (1 - (pressure - p) / (2 * (pressure + b)))
        power = (gamma - 1) / (2 * gamma)
        ratio = pressure / p
        return 2 * sound[k] / (gamma - 1) * (ratio**power - 1), ratio ** (-1 + power) / (
            r * sound[k]
        )

    pressure = 0.5 * (sides[0][2] + sides[1][2])
    for _ in range(100):
        (fl, dl), (fr, dr) = change(pressure, 0), change(pressure, 1)
        new = max(1e-12, pressure - (fl + fr + sides[1][1] - sides[0][1]) / (dl + dr))
        if abs(new - pressure) < 1e-15 * pressure:
            break
        pressure = new
    speed = 0.5 * (sides[0][1] + sides[1][1] + change(pressure, 1)[0] - change(pressure, 0)[0])

    place = x.double() / time
    out = torch.empty(3, *x.shape, dtype=torch.float64)
    for k, sign in ((0, 1.0), (1, -1.0)):
        r, v, p = sides[k]
        c, ratio, g = sound[k], pressure / p, (gamma - 1) / (gamma + 1)
        mine = place * sign < speed * sign if k == 0 else place >= speed
        xi = sign * place  # mirrored, so that both sides read as the left one
        vs, ve = sign * v, sign * speed
        state = torch.tensor([r, v, p], dtype=torch.float64)
        if ratio > 1:
            density = r * (ratio + g) / (g * ratio + 1)
            front = vs - c * math.sqrt(
                (gamma + 1) / (2 * gamma) * ratio + (gamma - 1) / (2 * gamma)
            )
            behind = torch.tensor([density, speed, pressure], dtype=torch.float64)
            value = torch.where(xi < front, state[:, None], behind[:, None])
        else:
            density = r * ratio ** (1 / gamma)
            behind = torch.tensor([density, speed, pressure], dtype=torch.float64)
            tail = ve - c * ratio ** ((gamma - 1) / (2 * gamma))
            fan = (2 / (gamma + 1) + g / c * (vs - xi)).clamp(min=0)
            inside = torch.stack(
                (
                    r * fan ** (2 / (gamma - 1)),
                    sign * (2 / (gamma + 1) * (c + (gamma - 1) / 2 * vs + xi)),
                    p * fan ** (2 * gamma / (gamma - 1)),
                )
            )
            value = torch.where(xi < vs - c, state[:, None], inside)
            value = torch.where(xi > tail, behind[:, None], value)
        out[:, mine] = value[:, mine]
    return out
