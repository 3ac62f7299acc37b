r"""Runge-Kutta methods of order 3 and 4 for the probability-flow equation (see `ode`), from their tableaux.

    y_i = x_t + h sum_{j < i} A_ij v_j,    v_i = v(y_i, t + c_i h),    x_s = x_t + h sum_i b_i v_i

Reference: Hairer, Norsett, Wanner, Solving ordinary differential equations I, section II.1 (Heun's method of order 3 is
(1.11), the classical method table 1.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..system import System
from .base import Step
from .ode import along
from .stages import OneStep, Stage, closed


@dataclass(frozen=True)
class Tableau:
    """Butcher tableau of an explicit method.

    Args:
        c: Times of the stages, as shares of the step.
        a: Weights of the earlier slopes in each stage but the first.
        b: Weights of all slopes in the end.
    """

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]

    def inner(self, step: Step) -> tuple[float, ...]:
        """Return the times of the stages within the step."""
        h = step.s - step.t
        return tuple(step.t + c * h for c in self.c if 0 < c < 1)

    def stages(self, system: System, step: Step) -> tuple[Stage, ...]:
        """Return the stages of one step."""
        h = step.s - step.t
        times = [step.t + c * h if c < 1 else step.s for c in self.c]
        rows = (*self.a, self.b)
        return tuple(
            Stage(t, along(system, times[: i + 1], [h * w for w in rows[i]]))
            for i, t in enumerate(times)
        )


HEUN3 = Tableau((0.0, 1 / 3, 2 / 3), ((1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4))
CLASSICAL = Tableau(
    (0.0, 0.5, 0.5, 1.0),
    ((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
)


@dataclass(frozen=True)
class Heun3(OneStep):
    """Heun's method of order 3: three network calls per step, never evaluated at t = 1."""

    order: ClassVar[float] = 3.0
    calls: ClassVar[int] = 3

    def inner(self, system: System, steps: Sequence[Step]) -> list[tuple[float, ...]]:
        """Return the times of the stages."""
        return [HEUN3.inner(step) for step in steps]

    def stages(self, system: System, step: Step, inner: tuple[float, ...]) -> tuple[Stage, ...]:
        """Take the stages of the tableau."""
        return HEUN3.stages(system, step)


@dataclass(frozen=True)
class RK4(OneStep):
    """The classical method: four network calls per step, order 4.

    Where some component has no noise left at t = 1 the last step is Heun's of order 3, three calls: its error, O(h^4)
    and made once, does not change the order.
    """

    order: ClassVar[float] = 4.0
    calls: ClassVar[int] = 4

    def inner(self, system: System, steps: Sequence[Step]) -> list[tuple[float, ...]]:
        """Return the times of the stages."""
        return [(HEUN3 if closed(step) else CLASSICAL).inner(step) for step in steps]

    def stages(self, system: System, step: Step, inner: tuple[float, ...]) -> tuple[Stage, ...]:
        """Take the stages of the tableau."""
        return (HEUN3 if closed(step) else CLASSICAL).stages(system, step)
