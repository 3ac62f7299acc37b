r"""Runge-Kutta methods for the probability-flow equation, in the house's time.

    dx / dt = v(x, t) = a'(t) E[x_1 | x_t] + s'(t) E[x_0 | x_t]

has the same marginals as the reversed diffusion. All components take every stage together. The velocity stays finite
up to t = 1 as a whole, but its two terms need not (s' is unbounded where s is a square root), so no stage is put at
t = 1 unless noise is left there.

Reference: Song et al., arXiv:2011.13456, equation 13; Lipman et al., arXiv:2210.02747; Karras et
al., Elucidating the design space of diffusion-based generative models, arXiv:2206.00364, algorithm
1 (Heun, last step Euler).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..state import State
from ..streams import Streams
from ..system import System
from .affine import Affine, move, velocity
from .base import Predict, Solver, Step


def _weights(at: Mapping[str, Any], length: float) -> dict[str, Affine]:
    return {name: velocity(c, length) for name, c in at.items()}


@dataclass(frozen=True)
class Euler(Solver):
    """Euler's method: one network call per step, order 1."""

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 1

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the step."""
        steps = super().plan(system, knots)
        return [replace(step, extra=_weights(step.now, step.s - step.t)) for step in steps]

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Follow the velocity at the start."""
        return move(system, state, predict(state, step.t), step.extra, streams), carry


@dataclass(frozen=True)
class _Halves:
    middle: float
    first: Mapping[str, Affine]
    whole: Mapping[str, Affine]


@dataclass(frozen=True)
class Midpoint(Solver):
    """Explicit midpoint method: two network calls per step, order 2, never evaluated at t = 1."""

    order: ClassVar[float] = 2.0
    calls: ClassVar[int] = 2

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the middle of the step and the weights of both stages."""
        steps = []
        for step in super().plan(system, knots):
            length = step.s - step.t
            middle = step.t + length / 2
            at = {name: c.path.at(middle) for name, c in system.items()}
            halves = _Halves(middle, _weights(step.now, length / 2), _weights(at, length))
            steps.append(replace(step, extra=halves))
        return steps

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Follow the velocity in the middle of the step."""
        halves: _Halves = step.extra
        middle = move(system, state, predict(state, step.t), halves.first, streams)
        return move(system, state, predict(middle, halves.middle), halves.whole, streams), carry


@dataclass(frozen=True)
class _Trapezium:
    whole: Mapping[str, Affine]
    first: Mapping[str, Affine]
    second: Mapping[str, Affine] | None


@dataclass(frozen=True)
class Heun(Solver):
    """Heun's method: two network calls per step, order 2.

    Where some component has no noise left at t = 1 the last step is Euler's, one call: its error,
    O(h^2) and made once, does not change the order.
    """

    order: ClassVar[float] = 2.0
    calls: ClassVar[int] = 2

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the stages; the second is left out where it would be singular."""
        steps = []
        for step in super().plan(system, knots):
            length = step.s - step.t
            open_end = all(c.s > 0 for c in step.then.values())
            trapezium = _Trapezium(
                _weights(step.now, length),
                _weights(step.now, length / 2),
                _weights(step.then, length / 2) if open_end else None,
            )
            steps.append(replace(step, extra=trapezium))
        return steps

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Follow the mean of the velocities at the start and at Euler's end point."""
        trapezium: _Trapezium = step.extra
        ends = predict(state, step.t)
        guess = move(system, state, ends, trapezium.whole, streams)
        if trapezium.second is None:
            return guess, carry
        half = move(system, state, ends, trapezium.first, streams)
        return move(system, half, predict(guess, step.s), trapezium.second, streams), carry
