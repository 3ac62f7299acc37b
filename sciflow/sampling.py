"""The sampling loop: one for every system, solver, grid and hook."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch

from .errors import SciflowError
from .grids import Grid
from .hooks.base import Hook
from .paths.base import Ends
from .solvers.base import Predict, Solver
from .state import Frame, State
from .streams import Streams
from .system import Moment, Network, System

_LOOK = 16
"""Knots between two looks for numbers that are none; on a device that computes aside, only the end is looked at."""


def sample(
    system: System,
    network: Network,
    frame: Frame,
    streams: Streams,
    *,
    solver: Solver,
    grid: Grid,
    steps: int,
    hooks: Sequence[Hook] = (),
    start: State | None = None,
    record: Callable[[float, State], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    dtype: torch.dtype = torch.float32,
    waits: bool = True,
) -> State:
    """Generate one batch of samples.

    Args:
        system: The system.
        network: The network, in evaluation mode.
        frame: Shapes, masks and condition of the batch.
        streams: Random streams of the batch, on the device of the network.
        solver: How to move.
        grid: Where to stop.
        steps: Number of steps.
        hooks: What changes the run from outside, in order.
        start: State at t = 0; None draws it.
        record: Called with the time and the state at every knot.
        progress: Called with the number of steps done and of all steps.
        dtype: Floating-point type of continuous components.
        waits: Whether the run may wait for the device, to copy the times there and to see whether the end is finite;
            False where it is captured (see `capture`).

    Returns:
        The state at t = 1.

    Raises:
        SciflowError: The solver or the grid cannot treat the system, or the state has stopped being numbers.
    """
    for hook in hooks:
        frame, start, streams = hook.open(frame, start, streams)
        solver = hook.solver(solver)
    plan = system.plan(solver, grid.knots(steps, system))
    if solver.own_times:
        _refuse_own_times(solver, hooks)
    wraps = [hook.network for hook in hooks if type(hook).network is not Hook.network]

    below_one = 1 - torch.finfo(dtype).eps / 2
    knots: dict[float, torch.Tensor] = {}

    def believe(state: State, t: float | torch.Tensor | Moment) -> Mapping[str, Ends]:
        # A knot just below 1 must not be rounded to 1, where no noise is left to resolve.
        wrapped = network
        for wrap in wraps:
            wrapped = wrap(wrapped, t)  # type: ignore[arg-type]
        if isinstance(t, float):
            times, x = knots.get(t), state.first
            if times is None or times.shape[0] != x.shape[0]:
                shown = below_one if below_one < t < 1 else t
                times = torch.full(x.shape[:1], shown, dtype=dtype, device=x.device)
            return system.predict(wrapped, state, times, t)
        if isinstance(t, Moment):
            return system.predict(wrapped, state, t.t.expand(state.batch_size), t)
        # One time per sample.
        times = t.to(state.first.device).clamp(max=below_one).to(dtype)
        return system.predict(wrapped, state, times)

    predict: Predict = believe
    for hook in hooks:
        predict = hook.predict(system, predict)

    gradient = any(hook.gradient for hook in hooks)
    with torch.no_grad() if gradient else torch.inference_mode():
        state = start
        if state is None:
            condition = frame.drawn(streams)
            state = system.prior(frame.shapes, streams, frame.masks, condition, dtype)
        if waits:
            # The times of all steps at once, so that no step has to make its own on the device.
            at = [step.t for step in plan]
            shown = torch.tensor(at, dtype=torch.float64).clamp_(max=below_one)
            rows = shown.to(state.device, dtype).unsqueeze(1).expand(-1, state.batch_size)
            knots.update(zip(at, rows.unbind(), strict=True))
        carry = solver.start()
        changing = [hook for hook in hooks if type(hook).state is not Hook.state]
        for number in range(len(plan) + 1):
            t = 0.0 if number == 0 else plan[number - 1].s
            for hook in changing:
                state = hook.state(system, state, t, streams)
            if record is not None:
                record(t, state)
            if progress is not None and number:
                progress(number, len(plan))
            if waits and (number % _LOOK == 0 or number == len(plan)):
                _look(system, solver, state, t, number == len(plan))
            if number < len(plan):
                state, carry = solver.step(system, predict, state, plan[number], carry, streams)
        for hook in reversed(hooks):
            state = hook.close(state)
    return state


def _look(system: System, solver: Solver, state: State, t: float, last: bool) -> None:
    """Refuse a state that is not finite, by component and time."""
    if not last and state.device.type != "cpu":
        return  # a look would wait for the device
    for name in system:
        x = state[name]
        if not x.is_floating_point():
            continue
        # One number tells whether any is bad: cheaper than a mask of all, but it may overflow by itself.
        if math.isfinite(float(x.sum())):
            continue
        bad = ~x.flatten(1).isfinite().all(1)
        if bool(bad.any()):
            raise SciflowError(
                f"solver {type(solver).__name__}: got component {name!r} that is not finite in {int(bad.sum())} of "
                f"{len(bad)} samples by t = {t:.6g} (first in sample {int(bad.nonzero()[0])}), expected numbers; look "
                "at the network and the hooks there, take more steps, or a grid that is finer before that time"
            )


def _refuse_own_times(solver: Solver, hooks: Sequence[Hook]) -> None:
    for hook in hooks:
        kind = type(hook)
        if (
            kind.network is not Hook.network
            or kind.ends is not Hook.ends
            or kind.predict is not Hook.predict
        ):
            raise SciflowError(
                f"solver {type(solver).__name__}: got hook {kind.__name__}, which changes predictions at one time for "
                "the whole batch, expected none, since every sample has its own time; set shared = true"
            )
