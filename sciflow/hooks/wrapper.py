"""Solvers that wrap another solver: what hooks do to whole steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..solvers.base import Predict, Solver, Step
from ..state import State
from ..streams import Streams
from ..system import Component, System


@dataclass(frozen=True)
class Wrapper(Solver):
    """Abstract: a solver that takes its steps by another one; a subclass changes the plan or the steps.

    Args:
        inner: The other solver.
    """

    inner: Solver

    def __post_init__(self) -> None:
        # On the instance, since they are those of the wrapped solver.
        for name in ("order", "calls", "needs", "own_times", "least"):
            if hasattr(self.inner, name):
                object.__setattr__(self, name, getattr(self.inner, name))

    def lacks(self, component: Component) -> str:
        """What the wrapped solver lacks."""
        return self.inner.lacks(component)

    def check(self, system: System) -> None:
        """Let the wrapped solver refuse in its own name."""
        self.inner.check(system)

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """The plan of the wrapped solver."""
        return self.inner.plan(system, knots)

    def start(self) -> Any:
        """The carry of the wrapped solver."""
        return self.inner.start()

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
        """Move the whole state (see `Solver.step`)."""
