r"""Runge-Kutta methods of order 1 and 2 for the probability-flow equation, in the house's time.

    dx / dt = v(x, t) = a'(t) E[x_1 | x_t] + s'(t) E[x_0 | x_t]

has the same marginals as the reversed diffusion. All components take every stage together. The velocity stays finite
up to t = 1 as a whole, but its two terms need not (s' is unbounded where s is a square root), so no stage is put at
t = 1 unless noise is left there.

Reference: Song et al., arXiv:2011.13456, equation 13; Lipman et al., arXiv:2210.02747; Karras et
al., Elucidating the design space of diffusion-based generative models, arXiv:2206.00364, algorithms
1 (Heun, last step Euler) and 2 (churn).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from ..errors import expected
from ..paths.gaussian import Coefficients, GaussianPath
from ..state import State
from ..streams import Streams
from ..system import Component, System
from .affine import Affine, Blend, blend, velocity
from .base import Predict, Step
from .stages import OneStep, Stage, closed


def slope(c: Coefficients) -> tuple[float, float, float]:
    """Weights of x_1, x_0 and z in the velocity at `c`."""
    return float(c.da), float(c.ds), float(c.dgamma)


def along(
    system: System, times: Sequence[float], lengths: Sequence[float]
) -> Mapping[str, Affine] | Mapping[str, Blend]:
    """Weights of x + sum_i length_i v_i, the velocities taken at `times`."""
    if len(times) == 1:
        return {name: velocity(c, lengths[0]) for name, c in system.at(times[0]).items()}
    at = [system.at(t) for t in times]
    return {
        name: Blend(
            1.0,
            tuple(
                (h * a, h * s, h * g)
                for h, (a, s, g) in zip(lengths, (slope(c[name]) for c in at), strict=True)
            ),
        )
        for name in system
    }


@dataclass(frozen=True)
class Euler(OneStep):
    """Euler's method: one network call per step, order 1."""

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 1

    def stages(self, system: System, step: Step, inner: tuple[float, ...]) -> tuple[Stage, ...]:
        """Follow the velocity at the start."""
        return (Stage(step.t, along(system, [step.t], [step.s - step.t])),)


@dataclass(frozen=True)
class Midpoint(OneStep):
    """Explicit midpoint method: two network calls per step, order 2, never evaluated at t = 1."""

    order: ClassVar[float] = 2.0
    calls: ClassVar[int] = 2

    def inner(self, system: System, steps: Sequence[Step]) -> list[tuple[float, ...]]:
        """Return the middle of each step."""
        return [(step.t + (step.s - step.t) / 2,) for step in steps]

    def stages(self, system: System, step: Step, inner: tuple[float, ...]) -> tuple[Stage, ...]:
        """Follow the velocity in the middle of the step."""
        h = step.s - step.t
        return (
            Stage(step.t, along(system, [step.t], [h / 2])),
            Stage(inner[0], _second(along(system, inner, [h]))),
        )


def _second(weights: Mapping[str, Affine] | Mapping[str, Blend]) -> dict[str, Blend]:
    """Weights of a stage that looks at the second belief alone."""
    nothing = (0.0, 0.0, 0.0)
    return {name: Blend(w.x, (nothing, *w.ends)) for name, w in weights.items()}


@dataclass(frozen=True)
class _Churn:
    t: float
    weights: Mapping[str, tuple[float, float]]
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Heun(OneStep):
    """Heun's method: two network calls per step, order 2.

    Where some component has no noise left at t = 1 the last step is Euler's, one call: its error,
    O(h^2) and made once, does not change the order.

    With churn, noise is added before each step, which carries the state back to an earlier time: the noise level
    sigma = s / a of the first component grows by the factor 1 + min(churn / steps, sqrt(2) - 1). The mean of the
    samples' law is that of the flow, and errors of a learned network are forgotten.

    Args:
        churn: Strength of the churn, >= 0; 0 leaves the flow deterministic.
        sigma_min: Noise level below which no noise is added.
        sigma_max: Noise level above which no noise is added.
        scale: Scale of the added noise.
    """

    order: ClassVar[float] = 2.0
    calls: ClassVar[int] = 2

    churn: float = 0.0
    sigma_min: float = 0.0
    sigma_max: float = math.inf
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("churn", "sigma_min", "scale"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise expected(f"{name} of solver Heun", value, "a number >= 0")
        if not self.sigma_max >= self.sigma_min:
            raise expected("sigma_max of solver Heun", self.sigma_max, "at least sigma_min")

    def lacks(self, component: Component) -> str:
        """Churn asks for noise that is Gaussian at every time, and for the time of a noise level."""
        reason = super().lacks(component)
        if reason or not self.churn:
            return reason
        if not isinstance(component.path, GaussianPath):
            return "churn needs a Gaussian path; set churn = 0"
        return component.path.lacks(component.space, "score")

    def stages(self, system: System, step: Step, inner: tuple[float, ...]) -> tuple[Stage, ...]:
        """Follow the mean of the velocities at the start and at Euler's end point."""
        h = step.s - step.t
        first = Stage(step.t, along(system, [step.t], [h]))
        if closed(step):
            return (first,)
        return (first, Stage(step.s, along(system, [step.t, step.s], [h / 2, h / 2])))

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the stages, and with churn the way back."""
        steps = super().plan(system, knots)
        if not self.churn:
            return steps
        growth = min(self.churn / len(steps), math.sqrt(2) - 1)
        return [self._churned(system, step, growth) for step in steps]

    def _churned(self, system: System, step: Step, growth: float) -> Step:
        name, component = next(iter(system.items()))
        now, path = step.now[name], component.path
        assert isinstance(path, GaussianPath)
        sigma = now.s / now.a if now.a else math.inf
        t = step.t
        if math.isfinite(sigma) and self.sigma_min <= sigma <= self.sigma_max:
            level = torch.tensor(-2 * math.log(sigma * (1 + growth)), dtype=torch.float64)
            t = min(t, max(0.0, float(path.time(level))))
        at = system.at(t)
        if any(c.a == 0 and step.now[k].a != 0 for k, c in at.items()):
            t, at = step.t, step.now  # no signal is left so early
        weights = {}
        for key, c in step.now.items():
            r = at[key].a / c.a if c.a else 1.0
            weights[key] = (r, self.scale * math.sqrt(max(at[key].s ** 2 - (r * c.s) ** 2, 0.0)))
        back = replace(step, t=t, now=at, extra=None)
        return replace(step, extra=_Churn(t, weights, self.stages(system, back, ())))

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Go back by fresh noise if asked for, then take the stages."""
        if isinstance(step.extra, _Churn):
            churn: _Churn = step.extra
            weights = {k: Blend(x, (), noise) for k, (x, noise) in churn.weights.items()}
            state = blend(system, state, (), weights, streams)
            step = replace(step, extra=churn.stages)
        return super().step(system, predict, state, step, carry, streams)
