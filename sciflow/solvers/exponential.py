r"""Exponential integrators: exact in the linear part of the flow, with the data D extrapolated.

With l = log(a / s) and h = l_s - l_t,

    x_s = (s_s / s_t) x_t + a_s int_{l_t}^{l_s} e^{l - l_s} D(l) dl.

DPM-Solver++ 2M replaces D by the line in l through the values at this and the last knot, taken in
the middle of the step: D + (h / 2 h_before) (D - D_before).

Reference: Lu et al., DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
models, arXiv:2211.01095, algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from ..paths.base import Ends
from ..paths.gaussian import Coefficients
from ..state import State
from ..streams import Streams
from ..system import System
from .affine import Affine, exponential, move
from .base import Predict, Solver, Step

_MOST = 1.0
"""Largest weight of the extrapolation, reached where a step is twice as long as the last one."""


def _log_ratio(c: Coefficients) -> float:
    if c.a == 0:
        return -math.inf
    return math.inf if c.s == 0 else math.log(c.a) - math.log(c.s)


def _extrapolation(before: Coefficients, now: Coefficients, then: Coefficients) -> float:
    past = _log_ratio(now) - _log_ratio(before)
    coming = _log_ratio(then) - _log_ratio(now)
    # There is no line through an infinite step: no signal at its start, or no noise at its end.
    if math.isinf(past) or math.isinf(coming):
        return 0.0
    return min(coming / (2 * past), _MOST)


@dataclass(frozen=True)
class _Weights:
    move: Mapping[str, Affine]
    extrapolation: Mapping[str, float]


@dataclass(frozen=True)
class DPMSolverPP2M(Solver):
    """DPM-Solver++ 2M: one network call per step, order 2, each component in its own log-SNR.

    The first step is of order 1, since there is no value before it, and so is the last; where no
    noise is left at t = 1 the last step returns the believed data. Order 2 needs knots at which
    the data hardly change any more when the last step starts: s^2 at the last inner knot has to
    fall as the square of the step. Uniform knots do that for linear and cosine paths; VP wants
    grid ``log-snr``, or ``power`` with exponent 2.
    """

    order: ClassVar[float] = 2.0
    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "exponential"

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the step and of the extrapolation."""
        steps = super().plan(system, knots)
        planned = []
        for i, step in enumerate(steps):
            inner = i > 0 and not step.last
            extrapolation = {
                name: _extrapolation(steps[i - 1].now[name], step.now[name], step.then[name])
                if inner
                else 0.0
                for name in system
            }
            weights = {name: exponential(step.now[name], step.then[name]) for name in system}
            planned.append(replace(step, extra=_Weights(weights, extrapolation)))
        return planned

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Move with the extrapolated data; the carry is the believed data of this knot."""
        weights: _Weights = step.extra
        believed = {name: end.x1 for name, end in predict(state, step.t).items()}
        data = {}
        for name, x1 in believed.items():
            w = weights.extrapolation[name]
            data[name] = Ends(torch.lerp(carry[name], x1, 1 + w) if w else x1)
        return move(system, state, data, weights.move, streams), believed
