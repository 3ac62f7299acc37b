r"""Gradients through sampling: of a function of samples with respect to noise, condition and weights.

Three ways, by what is kept in memory:

- ``store``: every step of any solver; the gradient of the discrete map, memory linear in the steps.
- ``checkpoint``: the state at about sqrt(steps) knots, the rest computed again; the same gradient, one forward more.
- ``adjoint``: the last state alone. With lambda = dL/dx the flow dx/dt = v and

    d lambda / dt = -(dv/dx)^T lambda,     dL/dtheta = int_0^1 (dv/dtheta)^T lambda dt

  are integrated together from t = 1 to 0. Memory does not grow with the steps.

All three are wrong where the solver is: a flow that separates modes has samples whose end moves thousands of times
faster than their start, and a trajectory that is off by little turns elsewhere. Gradients want tolerances about a
hundred times tighter than samples do. Following the flow back to the start shows it: the mismatch is measured in the
backward pass of the adjoint, and a `GradientWarning` is given where it is large.

Reference: Chen et al., arXiv:1806.07366, algorithm 1; Pan et al., AdjointDPM, arXiv:2307.10711, section 3 (diffusion
models; they integrate in x / a and s / a, here each component keeps its own t and the adaptive step sees to the rest);
Kidger et al., arXiv:2009.09457 (the integral of dL/dtheta needs no error control).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .errors import SciflowError, expected, unknown
from .flow import (
    Adaptive,
    Fixed,
    Method,
    Stepped,
    bounds,
    check,
    follow,
    knots,
    naming,
    sizes,
    velocity,
)
from .integrate import integrate
from .paths.base import Ends
from .state import State
from .streams import Streams
from .system import Network, System

MEMORIES = ("store", "checkpoint", "adjoint")


class GradientWarning(UserWarning):
    """The gradient cannot be trusted at this tolerance or number of steps."""


def differentiable_sample(
    system: System,
    network: Network,
    start: State,
    method: Method,
    *,
    memory: str = "store",
    parameters: Iterable[Tensor] = (),
    backward: Adaptive | Fixed | None = None,
    streams: Streams | None = None,
    tolerance: float = 0.01,
) -> State:
    """Generate samples through which gradients flow to the start, the condition and the parameters.

    Args:
        system: The system.
        network: The network, in evaluation mode.
        start: State at t = 0; its fields and conditions may require gradients.
        method: How to sample: `Adaptive`, `Fixed` or `Stepped` (any solver; with ``store`` and ``checkpoint`` also
            one that draws noise, given `streams`).
        memory: ``"store"``, ``"checkpoint"`` (for `Stepped`) or ``"adjoint"`` (for the probability flow).
        parameters: For ``adjoint``, the weights that want gradients; the others find theirs by themselves.
        backward: For ``adjoint``, how to integrate back; None is `method` where it is `Adaptive` or `Fixed`, else
            `Adaptive` with a tolerance of 1e-6.
        streams: Random streams of the batch.
        tolerance: For ``adjoint``, the largest distance between the start and where the way back ends, relative to the
            size of the start, that passes without a warning.

    Returns:
        The state at t = 1.

    Raises:
        SciflowError: The method and the memory do not go together, or the flow cannot be followed.
    """
    if memory not in MEMORIES:
        raise unknown("memory", memory, MEMORIES)
    if memory == "adjoint":
        return _adjoint(system, network, start, method, list(parameters), backward, tolerance)
    if isinstance(method, Stepped):
        return _stepped(system, network, start, method, streams, memory == "checkpoint")
    if memory == "checkpoint":
        raise expected(
            "method for checkpoints", method, "Stepped(solver)", "use memory = 'adjoint' instead"
        )
    return follow(system, network, start, method, forward=True, wrap=False).state


# ---- store and checkpoint
def _stepped(
    system: System,
    network: Network,
    state: State,
    method: Stepped,
    streams: Streams | None,
    save: bool,
) -> State:
    solver = method.solver
    solver.check(system)
    given = streams is not None
    if streams is None:
        streams = Streams.range(0, 0, state.batch_size, "flow", state.device)
    dtype = next(iter(state.values())).dtype
    low, _ = bounds(system, dtype, method)
    plan = solver.plan(system, knots(system, method, (low, 1.0), True))
    below_one = 1 - torch.finfo(dtype).eps / 2

    def predict(state: State, t: float) -> Mapping[str, Ends]:
        t = min(t, below_one) if t < 1 else t
        times = torch.full((state.batch_size,), t, dtype=dtype, device=state.device)
        return system.predict(network, state, times)

    def part(steps: Sequence[Any], draws: int, state: State, carry: Any) -> tuple[State, Any]:
        streams.draws = draws  # computed again, it must draw the same noise
        for step in steps:
            state, carry = solver.step(system, predict, state, step, carry, streams)
        if not given and streams.draws != draws:
            raise SciflowError(
                f"solver {type(solver).__name__}: got no random streams, expected some, since it draws noise; give "
                "streams = Streams.range(seed, 0, batch size)"
            )
        return state, carry

    carry = solver.start()
    if not save:
        return part(plan, streams.draws, state, carry)[0]
    length = math.ceil(math.sqrt(len(plan)))
    for first in range(0, len(plan), length):
        steps = plan[first : first + length]
        state, carry = checkpoint(part, steps, streams.draws, state, carry, use_reentrant=False)  # type: ignore[misc]
    return state


# ---- adjoint
def _adjoint(
    system: System,
    network: Network,
    start: State,
    method: Method,
    parameters: list[Tensor],
    backward: Adaptive | Fixed | None,
    tolerance: float,
) -> State:
    check(system, "adjoint")
    if backward is None:
        backward = Adaptive(1e-6, 1e-6) if isinstance(method, Stepped) else method
    dtype = next(iter(start.values())).dtype
    names = list(system)
    conditions = [k for k, v in start.condition.items() if v.requires_grad]
    parameters = [p for p in parameters if p.requires_grad]

    class Flow(torch.autograd.Function):
        """x(0), conditions and parameters -> x(1); nothing of the way is kept."""

        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
            fields = dict(zip(names, tensors, strict=False))
            with torch.no_grad():
                end = follow(
                    system, network, start.replace(**fields), method, forward=True, wrap=False
                )
            ctx.ends = [end.state[n].detach().clone() for n in names]
            return tuple(end.state[n].clone() for n in names)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
            at_end = dict(zip(names, ctx.ends, strict=True))
            slope = dict(zip(names, grads, strict=True))
            found = _back(
                system, network, start, at_end, slope, conditions, parameters, backward, dtype
            )
            _warn(system, start, found[0], tolerance, backward)
            return *(found[1][n] for n in names), *found[2]

    inputs = [start[n] for n in names]
    inputs += [start.condition[k] for k in conditions] + parameters
    outputs: Any = Flow.apply(*inputs)
    return start.replace(**dict(zip(names, outputs, strict=True)))


_Back = tuple[dict[str, Tensor], dict[str, Tensor], list[Tensor | None]]


def _back(
    system: System,
    network: Network,
    start: State,
    x: Mapping[str, Tensor],
    slope: Mapping[str, Tensor],
    conditions: Sequence[str],
    parameters: Sequence[Tensor],
    method: Adaptive | Fixed,
    dtype: torch.dtype,
) -> _Back:
    """Integrate state and adjoint from t = 1 to 0; return both there and the gradients of the others."""
    low, high = bounds(system, dtype)
    names = list(system)
    field = velocity(system, network)
    given = {k: v.detach() for k, v in start.condition.items()}
    for k in conditions:
        given[k].requires_grad_()
    frame = State(start, start.masks, given)
    others = [*(given[k] for k in conditions), *parameters]
    sums: list[Tensor | None] = [None] * len(others)
    tape: list[tuple[list[Tensor], list[Tensor]]] = []

    def f(y: Mapping[str, Tensor], t: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        with torch.enable_grad():
            here = frame if rows is None else frame.select(rows)
            x = {n: y[n].detach().requires_grad_() for n in names}
            v = field(here.replace(**x), t)
            outs = [v[n] for n in names]
            weights = [y[f"adjoint of {n}"].detach() for n in names]
            live = [i for i, out in enumerate(outs) if out.requires_grad]
            grads: Sequence[Tensor | None] = [None] * len(names)
            if live:  # else nothing moves, whatever the state
                grads = torch.autograd.grad(
                    [outs[i] for i in live],
                    [x[n] for n in names],
                    [weights[i] for i in live],
                    retain_graph=bool(others),
                    allow_unused=True,
                )
        if others:
            tape.append(([outs[i] for i in live], [weights[i] for i in live]))
        result = {n: v[n].detach() for n in names}
        for n, g in zip(names, grads, strict=True):
            result[f"adjoint of {n}"] = torch.zeros_like(y[n]) if g is None else -g
        return result

    def kept(b: Sequence[float], h: Tensor) -> None:
        outs, weights = [], []
        for weight, (out, adjoint) in zip(b, tape, strict=True):
            if weight:
                outs += out
                weights += [
                    a * (-weight * h.to(a.dtype)).reshape(-1, *[1] * (a.dim() - 1))
                    for a in adjoint
                ]
        tape.clear()
        if not outs:
            return
        grads = torch.autograd.grad(outs, others, weights, allow_unused=True)
        for i, g in enumerate(grads):
            if g is not None:
                old = sums[i]
                sums[i] = g if old is None else old + g

    y = {**x, **{f"adjoint of {n}": slope[n] for n in names}}
    counts = sizes(system, start)
    counts |= {f"adjoint of {n}": counts[n] for n in names}
    with naming(system), torch.no_grad():
        y = integrate(f, y, high, low, method, sizes=counts, kept=kept if others else None).y
    return {n: y[n] for n in names}, {n: y[f"adjoint of {n}"] for n in names}, sums


def mismatch(system: System, start: State, again: Mapping[str, Tensor]) -> Tensor:
    """Distance of where the way back ended from where the way out began, relative to the latter's size, ``[B]``.

    Args:
        system: The system.
        start: State at t = 0.
        again: The fields at t = 0, come back from t = 1.
    """
    off, size = torch.zeros_like(torch.stack([start[n].flatten(1).sum(1) for n in system])), 0.0
    for i, n in enumerate(system):
        off[i] = (again[n] - start[n].detach()).square().flatten(1).sum(1)
        size = size + start[n].detach().square().sum() / start.batch_size
    return (off.sum(0) / size).sqrt()


def _warn(
    system: System,
    start: State,
    again: Mapping[str, Tensor],
    tolerance: float,
    method: Adaptive | Fixed,
) -> None:
    worst = float(mismatch(system, start, again).max())
    if not worst <= tolerance:
        more = (
            f"a relative tolerance of {method.relative / 100:.0e}"
            if isinstance(method, Adaptive)
            else f"{4 * method.steps} steps"
        )
        warnings.warn(
            f"adjoint: the way back misses the start by {worst:.2g} of its size, expected at most {tolerance:g}, so "
            f"the gradient is wrong where the flow separates; try {more} in both directions",
            GradientWarning,
            stacklevel=2,
        )


def trusted(
    system: System,
    network: Network,
    start: State,
    method: Method,
    tolerance: float = 0.01,
) -> Tensor:
    """Say which samples have gradients to be trusted, bool ``[B]``: those that find their way back to the start.

    It costs a sampling run out and one back, and serves ``store`` and ``checkpoint``, which have no way back.

    Args:
        system: The system.
        network: The network, in evaluation mode.
        start: State at t = 0.
        method: How the samples are made.
        tolerance: Largest distance relative to the size of the start.
    """
    with torch.no_grad():
        end = follow(system, network, start, method, forward=True, wrap=False).state
        again = follow(system, network, end, method, forward=False, wrap=False).state
    return mismatch(system, start, again) <= tolerance
