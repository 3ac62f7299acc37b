"""Hooks: what may look at, or change, a sampling run from outside the solver.

A hook sees every run at the same places: it may change the batch before the run and what is handed back after it, wrap
the solver, the network and the prediction, and look at the state at every knot. It keeps nothing between runs; what it
must remember during one it puts into the carry of the solver that it wraps. Random numbers come from the streams that
it is given, so samples stay independent of their batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ..errors import expected
from ..paths.base import Ends
from ..solvers.base import Predict, Solver
from ..state import Frame, State
from ..streams import Streams
from ..system import Network, System


class Hook:
    """A hook that does nothing; subclasses replace what they need."""

    gradient: ClassVar[bool] = False
    """Whether it takes gradients; the loop then merely does not record them, where it else runs in inference mode."""

    def open(
        self, frame: Frame, start: State | None, streams: Streams
    ) -> tuple[Frame, State | None, Streams]:
        """Change the batch before anything is drawn (particles); `close` undoes it.

        Args:
            frame: Shapes, masks and condition.
            start: State at t = 0, if it is given.
            streams: Random streams.
        """
        return frame, start, streams

    def solver(self, solver: Solver) -> Solver:
        """Wrap the solver: its plan, its steps and its carry."""
        return solver

    def network(self, network: Network, t: float) -> Network:
        """Wrap the network for one call at `t`."""
        return network

    def predict(self, system: System, predict: Predict) -> Predict:
        """Wrap the prediction; by default it goes through `ends`, where that is replaced."""
        if type(self).ends is Hook.ends:
            return predict

        def changed(state: State, t: float) -> Mapping[str, Ends]:
            return self.ends(system, state, t, predict(state, t))

        return changed

    def ends(
        self, system: System, state: State, t: float, ends: Mapping[str, Ends]
    ) -> Mapping[str, Ends]:
        """Change the believed ends after a network call at `t`."""
        return ends

    def state(self, system: System, state: State, t: float, streams: Streams) -> State:
        """Change the state at a knot: called at t = 0 and after every step, with the time reached."""
        return state

    def close(self, state: State) -> State:
        """Change the state at t = 1 before it is handed back."""
        return state


def repeated(value: Tensor, count: int, what: str) -> Tensor:
    """Return what was given for each sample for a batch of `count`, in which particles repeat every sample.

    Args:
        value: Tensor ``[n, ...]``.
        count: Batch size, a multiple of n.
        what: Name of `value` in the error.

    Raises:
        SciflowError: `count` is no multiple of n.
    """
    n = value.shape[0]
    if n == count:
        return value
    if n == 0 or count % n:
        raise expected(what, f"{n} samples", f"one for each of the {count} samples of the batch")
    return value.repeat_interleave(count // n, 0)
