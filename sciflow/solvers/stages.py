r"""One-step methods: each stage is a network call and the affine step that it allows.

    y_0 = x_t,    E_i = ends believed at (y_i, t_i),    y_{i+1} = w_i x_t + sum_{j <= i} W_ij E_j,    x_s = y_K

Runge-Kutta methods are this with the weights of the velocity a' E[x_1] + s' E[x_0], singlestep exponential integrators
with weights of E[x_1] or E[x_0] alone. All components take every stage together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..state import State
from ..streams import Streams
from ..system import System
from .affine import Affine, Blend, blend
from .base import Predict, Solver, Step


@dataclass(frozen=True)
class Stage:
    """One stage of a step.

    Args:
        t: Time at which the network is called.
        weights: Weights, of every component, of what comes next: the next stage or the end of the step.
    """

    t: float
    weights: Mapping[str, Affine] | Mapping[str, Blend]


class OneStep(Solver):
    """Abstract one-step method: a subclass gives the stages of each step."""

    def inner(self, system: System, steps: Sequence[Step]) -> list[tuple[float, ...]]:
        """Return the times within each step at which the network is called; none by default."""
        return [()] * len(steps)

    @abstractmethod
    def stages(self, system: System, step: Step, inner: tuple[float, ...]) -> tuple[Stage, ...]:
        """Return the stages of one step, at least one.

        Args:
            system: The system.
            step: The step, without `Step.extra`.
            inner: Its times within.
        """

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the stages."""
        steps = super().plan(system, knots)
        inner = self.inner(system, steps)
        system.prime([t for times in inner for t in times])
        return [
            replace(step, extra=self.stages(system, step, times))
            for step, times in zip(steps, inner, strict=True)
        ]

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Take the stages of the step."""
        beliefs, y = [], state
        for stage in step.extra:
            beliefs.append(predict(y, stage.t))
            y = blend(system, state, beliefs, stage.weights, streams)
        return y, carry


def closed(step: Step) -> bool:
    """Whether some component has no noise left at the end of the step, where a velocity can't be told."""
    return any(c.s == 0 for c in step.then.values())
