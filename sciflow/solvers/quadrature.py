r"""Exponential quadrature: integrals of a polynomial against the kernel of a linear equation.

With l = log(a / s), which grows along every Gaussian path, and h = l_s - l_t, the probability flow is solved by

    x_s = (s_s / s_t) x_t + a_s int_0^h e^{u - h} D(l_t + u) du        (data, D = E[x_1 | x_l])
    x_s = (a_s / a_t) x_t - s_s int_0^h e^{h - u} N(l_t + u) du        (noise, N = E[x_0 | x_l])

and a reversed diffusion with eta times the full noise by the first with the rate 1 + eta^2 in place of 1. Where D is
replaced by the polynomial through known values, its integral is a sum of these values with the weights of `weights`.

Reference: Lu et al., DPM-Solver, arXiv:2206.00927, equations 3.4-3.6; Lu et al., DPM-Solver++, arXiv:2211.01095,
equation 8; Gonzalez et al., SEEDS, arXiv:2305.14267, section 3 (diffusions).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..paths.gaussian import Coefficients

_SERIES = 24
"""Terms of the series for |rate h| < 1: the next is below 1e-24."""


def level(c: Coefficients) -> float:
    """Return l = log(a / s): minus or plus infinity where no signal or no noise is left."""
    if c.a == 0:
        return -math.inf
    return math.inf if c.s == 0 else math.log(c.a) - math.log(c.s)


def moment(rate: float, h: float, power: int) -> float:
    """Return the integral of e^{rate (u - h)} u^power over [0, h], without cancellation for small h."""
    z = rate * h
    if abs(z) < 1:
        series = sum(z**k / math.factorial(k) / (power + k + 1) for k in range(_SERIES))
        return h ** (power + 1) * math.exp(-z) * series
    if power == 0:
        return -math.expm1(-z) / rate
    return (h**power - power * moment(rate, h, power - 1)) / rate


def weights(rate: float, h: float, points: Sequence[float]) -> list[float]:
    """Return what each value counts in the integral of rate e^{rate (u - h)} times the polynomial through them.

    Args:
        rate: Rate of the kernel, not 0.
        h: Length of the step in l.
        points: Where the values are taken, in l from the start of the step; all different.

    Returns:
        One weight for each point; they sum to 1 - e^{-rate h}.
    """
    moments = [rate * moment(rate, h, p) for p in range(len(points))]
    result = []
    for j, own in enumerate(points):
        basis = [1.0]  # coefficients of the Lagrange polynomial, lowest power first
        for m, other in enumerate(points):
            if m != j:
                up, down = [0.0, *basis], [*(c * other for c in basis), 0.0]
                basis = [(u - d) / (own - other) for u, d in zip(up, down, strict=True)]
        result.append(sum(c * m for c, m in zip(basis, moments, strict=True)))
    return result
