r"""Singlestep exponential integrators: DPM-Solver of order 1 to 3, of noise or data prediction.

With h = l_s - l_t, stages at l_t + r_1 h and l_t + r_2 h, and the moments m_p(h) = int_0^h e^{k (u - h)} u^p du, where
for data D (k = 1, q = s, c = a) and for noise N (k = -1, q = a, c = -s)

    x_s = (q_s / q_t) x_t + c_s (m_0 F_t + (m_0 / 2 r_1) (F_1 - F_t))                            (order 2, r_1 = 1/2)
    y_2 = (q_2 / q_t) x_t + c_2 (m_0(r_2 h) F_t + (m_1(r_2 h) / r_1 h) (F_1 - F_t))
    x_s = (q_s / q_t) x_t + c_s (m_0 F_t + (m_1 / r_2 h) (F_2 - F_t))                (order 3, r_1 = 1/3, r_2 = 2/3)

The stages stand at these places of the first component; the others use their own r, which changes no order. A step that
starts without signal or ends without noise is one of order 1 (DDIM, which both predictions share).

Reference: Lu et al., DPM-Solver, arXiv:2206.00927, algorithms 1 and 2; Lu et al., arXiv:2211.01095, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from ..errors import expected
from ..paths.gaussian import Coefficients, GaussianPath
from ..system import System
from .affine import Blend, exponential
from .base import Step
from .quadrature import level, moment
from .stages import OneStep, Stage

PLACES = {1: (), 2: (1 / 2,), 3: (1 / 3, 2 / 3)}
"""Stages within the step, as shares of it, by order."""

Slots = tuple[float, ...]


def _linear(data: bool, now: Coefficients, then: Coefficients) -> tuple[float, float]:
    """Weight of x_t and factor of the integral, up to `then`."""
    if data:
        return float(then.s) / float(now.s), float(then.a)
    return float(then.a) / float(now.a), -float(then.s)


def _blend(data: bool, now: Coefficients, then: Coefficients, slots: Slots) -> Blend:
    own, factor = _linear(data, now, then)
    return Blend(
        own, tuple((factor * w, 0.0, 0.0) if data else (0.0, factor * w, 0.0) for w in slots)
    )


def _slots(order: int, rate: float, h: float, r: tuple[float, ...]) -> list[Slots]:
    """Weights of the beliefs in each stage."""
    first, m0 = (moment(rate, r[0] * h, 0),), moment(rate, h, 0)
    if order == 2:
        w = m0 / (2 * r[0])
        return [first, (m0 - w, w)]
    middle = r[1] * h
    v = moment(rate, middle, 1) / (r[0] * h)
    w = moment(rate, h, 1) / middle
    return [first, (moment(rate, middle, 0) - v, v), (m0 - w, 0.0, w)]


def _infinite(step: Step) -> bool:
    return any(math.isinf(level(c)) for end in (step.now, step.then) for c in end.values())


def inner(system: System, steps: Sequence[Step], order: int) -> list[tuple[float, ...]]:
    """Return the times of the stages within each step."""
    name, component = next(iter(system.items()))
    path, places = component.path, PLACES[order]
    assert isinstance(path, GaussianPath)
    whole = [not _infinite(step) for step in steps]
    levels = []
    for step, finite in zip(steps, whole, strict=True):
        if finite:
            start, end = level(step.now[name]), level(step.then[name])
            levels += [start + r * (end - start) for r in places]
    times = iter(path.time(2 * torch.tensor(levels, dtype=torch.float64)).tolist())
    return [
        tuple(min(max(next(times), step.t), step.s) for _ in places) if finite else ()
        for step, finite in zip(steps, whole, strict=True)
    ]


def stages(
    system: System, step: Step, times: tuple[float, ...], order: int, data: bool
) -> tuple[Stage, ...]:
    """Return the stages of one step.

    Args:
        system: The system.
        step: The step.
        times: Its times within (see `inner`).
        order: 1, 2 or 3.
        data: Whether the integral is that of the believed data; else of the believed noise.
    """
    if order == 1 or _infinite(step):
        plain = {name: exponential(step.now[name], step.then[name]) for name in system}
        return (Stage(step.t, plain),)
    at = [*(system.at(t) for t in times), step.then]
    weights: list[dict[str, Blend]] = [{} for _ in at]
    for name in system:
        now, start = step.now[name], level(step.now[name])
        h = level(step.then[name]) - start
        r = tuple((level(c[name]) - start) / h for c in at[:-1])
        for i, slots in enumerate(_slots(order, 1.0 if data else -1.0, h, r)):
            weights[i][name] = _blend(data, now, at[i][name], slots)
    return tuple(Stage(t, w) for t, w in zip((step.t, *times), weights, strict=True))


@dataclass(frozen=True)
class DPMSolver(OneStep):
    """DPM-Solver of noise prediction: `order` network calls per step, order 1 (DDIM), 2 or 3.

    Steps should be even in l = log(a / s): take grid ``log-snr``.

    Args:
        order: 1, 2 or 3.
    """

    needs: ClassVar[str] = "exponential"

    order: int = 3  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.order not in PLACES:
            raise expected("order of solver DPMSolver", self.order, "1, 2 or 3")
        object.__setattr__(self, "calls", self.order)

    def inner(self, system: System, steps: Sequence[Step]) -> list[tuple[float, ...]]:
        """Return the times of the stages."""
        return inner(system, steps, self.order)

    def stages(self, system: System, step: Step, inner: tuple[float, ...]) -> tuple[Stage, ...]:
        """Take the stages of the order."""
        return stages(system, step, inner, self.order, data=False)


@dataclass(frozen=True)
class DPMSolverPPSingle(DPMSolver):
    """Singlestep DPM-Solver++, of data prediction: `order` network calls per step, order 1 (DDIM), 2 or 3."""

    def stages(self, system: System, step: Step, inner: tuple[float, ...]) -> tuple[Stage, ...]:
        """Take the stages of the order."""
        return stages(system, step, inner, self.order, data=True)
