"""The solver's contract: one step from t to s for the whole state, with one network call per stage.

All components move together: freezing one while another moves would be first order whatever the scheme. The scalars of
a step are computed once, on the host, in float64 (`plan`); what a multistep scheme remembers is an explicit
carry, so that every hook composes with every solver.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import SciflowError, expected
from ..paths.base import NEEDS, Ends
from ..paths.gaussian import GaussianPath
from ..state import State
from ..streams import Streams
from ..system import Component, System

Predict = Callable[[State, Any], Mapping[str, Ends]]
"""Believed ends of every component, given a state and its time (a float, or where a solver has `own_times` a tensor
``[B]``): one network call."""


@dataclass(frozen=True)
class Step:
    """Scalars of one step.

    Args:
        t: Time at the start.
        s: Time at the end, s > t.
        now: `Path.at(t)` of each component.
        then: `Path.at(s)` of each component.
        last: Whether s is the data end of the grid.
        extra: What the solver adds to its plan.
    """

    t: float
    s: float
    now: Mapping[str, Any]
    then: Mapping[str, Any]
    last: bool
    extra: Any = None


class Solver(ABC):
    """Abstract solver; a subclass is a frozen dataclass of its options."""

    order: ClassVar[float]
    """Order of convergence: of the end point for differential equations, of the law for stochastic schemes."""
    calls: ClassVar[int]
    """Network calls per step."""
    least: ClassVar[int] = 1
    """Fewest steps it can take."""
    own_times: ClassVar[bool] = False
    """Whether it asks for predictions at one time per sample, ``[B]`` in float64, instead of one for all."""
    needs: ClassVar[str] = "velocity"
    """What it asks of every path: one of `sciflow.paths.base.NEEDS`."""

    def lacks(self, component: Component) -> str:
        """Return why the solver cannot treat a component, or "" where it can."""
        reason = component.path.lacks(component.space, self.needs)
        if not reason and isinstance(component.path, GaussianPath):
            start = component.path.at(0.0)
            if component.kind in ("noise", "score") and start.a == 0:
                return (
                    f"kind {component.kind!r} says nothing of the data at t = 0, where no signal is left; use kind "
                    "'velocity', 'v' or 'data', or a path with a(0) > 0"
                )
        return reason

    def check(self, system: System) -> None:
        """Refuse a system that this solver cannot treat.

        Raises:
            SciflowError: Names the solver, the component and the remedy.
        """
        for name, component in system.items():
            reason = self.lacks(component)
            if reason:
                raise SciflowError(
                    f"solver {type(self).__name__}: got component {name!r} on path {type(component.path).__name__}, "
                    f"expected one with {NEEDS[self.needs]}: {reason}; use solver 'ancestral' or another that suits "
                    "(`sciflow models --matrix` lists them)"
                )

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Compute the scalars of all steps.

        Args:
            system: The system.
            knots: Times from 0 to 1, increasing.

        Raises:
            SciflowError: There are fewer steps than the order of the solver needs.
        """
        if len(knots) - 1 < self.least:
            raise expected(
                f"steps of solver {type(self).__name__}",
                len(knots) - 1,
                f"at least {self.least}, since each step of order {self.order:g} builds on those before it",
                "take more steps, or a lower order",
            )
        system.prime(knots)
        at = [system.at(t) for t in knots]
        return [
            Step(knots[i], knots[i + 1], at[i], at[i + 1], last=i == len(knots) - 2)
            for i in range(len(knots) - 1)
        ]

    def start(self) -> Any:
        """Return the carry before the first step; None where there is nothing to remember."""
        return None

    @abstractmethod
    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Move the whole state from ``step.t`` to ``step.s``.

        Args:
            system: The system.
            predict: Believed ends at a state and time; each use is one network call.
            state: State at ``step.t``.
            step: Scalars of the step.
            carry: What the last step left.
            streams: Random streams of the batch.

        Returns:
            The state at ``step.s`` and the new carry.
        """
