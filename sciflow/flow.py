r"""The probability flow of a system as a differential equation, and ways to follow it in either direction.

    dx / dt = v(x, t) = a'(t) E[x_1 | x_t] + s'(t) E[x_0 | x_t] + gamma'(t) E[z | x_t]

for all components together; its solutions have the marginals of the process, so data are encoded as noise (t = 1 to 0)
and decoded (t = 0 to 1) by following it. Where the velocity is 0 / 0 at an end of time (no noise left at t = 1, for
instance, while the network predicts data), the end is moved by the square root of the machine's precision.

Reference: Song et al., arXiv:2011.13456, equation 13 and appendix D.3; Albergo et al., arXiv:2303.08797, equation 2.9.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .errors import SciflowError
from .grids import Grid, Uniform
from .integrate import Adaptive, Fixed, integrate
from .paths.base import Ends
from .paths.gaussian import Coefficients, GaussianPath
from .shapes import expand
from .solvers.base import Solver
from .spaces import Space, Torus
from .state import State
from .streams import Streams
from .system import Component, Network, System

Field = Callable[[State, Tensor], dict[str, Tensor]]
"""Tangent of every component, given a state and times ``[B]``."""


@dataclass(frozen=True)
class Stepped:
    """Follow the flow by a solver of the house.

    Args:
        solver: A solver that draws no noise on its way.
        grid: Time grid.
        steps: Number of steps.
    """

    solver: Solver
    grid: Grid = field(default_factory=Uniform)
    steps: int = 50


Method = Adaptive | Fixed | Stepped


def check(system: System, why: str = "a probability flow") -> None:
    """Refuse a system of which some component does not follow a differential equation.

    Args:
        system: The system.
        why: What the flow is wanted for.

    Raises:
        SciflowError: Names the component and the remedy.
    """
    for name, component in system.items():
        reason = component.path.lacks(component.space, "velocity")
        if not component.path.continuous:
            reason = "it jumps between labels"
        elif not reason and not hasattr(component.path, "coefficients"):
            reason = "its velocity is not known in closed form"
        if reason:
            raise SciflowError(
                f"{why}: got component {name!r} on path {type(component.path).__name__}, expected continuous ones "
                f"that all follow a velocity: {reason}; keep such a component as a condition instead"
            )


def velocity(system: System, network: Network) -> Field:
    """Return the velocity of the probability flow under a network.

    Args:
        system: The system.
        network: The network; each use of the velocity is one call of it.

    Raises:
        SciflowError: A component has no velocity.
    """
    check(system)

    wrapped = [n for n, c in system.items() if isinstance(c.space, Torus)]

    def field(state: State, t: Tensor) -> dict[str, Tensor]:
        if wrapped:  # the network sees points; the flow itself runs in lifted coordinates
            points = {n: system[n].space.project(state[n], state.mask(n)) for n in wrapped}
            state = state.replace(**points)
        output = network(state, t)
        return {
            name: tangent(
                c.space,
                _velocity(c, output[name], state[name], t, system.centre(name, state)),
                state.mask(name),
            )
            for name, c in system.items()
        }

    return field


def _velocity(
    c: Component, output: Tensor, x: Tensor, t: Tensor, centre: Tensor | float
) -> Tensor:
    if c.kind == "velocity" and isinstance(c.path, GaussianPath):
        return output
    w = _coefficients(c, t)
    ends = c.ends(output, x, t, centre)
    v = _times(w.da, ends.x1 - centre)
    if ends.x0 is not None:
        v = v + _times(w.ds, ends.x0)
    if ends.z is not None:
        v = v + _times(w.dgamma, ends.z)
    return v


def _coefficients(c: Component, t: Tensor) -> Coefficients:
    return c.path.coefficients(t)  # type: ignore[attr-defined]


def _times(scalar: Tensor | float, x: Tensor) -> Tensor:
    return x * (expand(scalar, x) if isinstance(scalar, Tensor) else scalar)


def tangent(space: Space, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return the part of `v` along which a point of the space can move, zero on padding."""
    if isinstance(space, Torus):  # its projection wraps points, not tangents
        return v if mask is None else v * expand(mask, v).to(v.dtype)
    return space.project(v, mask)


def bounds(
    system: System, dtype: torch.dtype, method: Method | None = None
) -> tuple[float, float]:
    """First and last time at which the velocity can be computed from what the network predicts.

    Args:
        system: The system.
        dtype: Floating-point type of the state.
        method: How the flow is followed; exponential solvers look at the ends themselves, whatever is predicted.
    """
    resolved = isinstance(method, Stepped) and method.solver.needs == "exponential"
    near = math.sqrt(torch.finfo(dtype).eps)
    low, high = 0.0, 1.0
    for component in system.values():
        first, last = component.path.at(0.0), component.path.at(1.0)
        middle = component.path.at(0.5)
        direct = component.kind == "velocity" and isinstance(component.path, GaussianPath)
        direct = direct and not resolved
        silent = not direct and (last.s == 0 or (middle.gamma and last.gamma == 0))
        if silent or not math.isfinite(last.ds):
            high = 1 - near
        blind = component.kind in ("noise", "score") and first.a == 0
        if (
            blind
            or not math.isfinite(first.da)
            or (not direct and middle.gamma and first.gamma == 0)
        ):
            low = near
    return low, high


@dataclass(frozen=True)
class Followed:
    """Where a flow has gone.

    Args:
        state: The state at the other end.
        calls: Network calls of each sample, ``[B]``.
        scale: Factor a by which data were multiplied to enter the flow beside t = 1, of each component.
    """

    state: State
    calls: Tensor
    scale: Mapping[str, float]


def encode(
    system: System,
    network: Network,
    data: State,
    method: Method | None = None,
    *,
    streams: Streams | None = None,
) -> State:
    """Carry data to the noise that they come from, t = 1 to 0.

    Args:
        system: The system.
        network: The network, in evaluation mode.
        data: Data.
        method: How to follow the flow; None is `Adaptive` with its default tolerance.
        streams: Random streams of the batch; hardly any method needs them.

    Raises:
        SciflowError: A component has no velocity, the method draws noise, or its tolerance cannot be met.
    """
    with torch.no_grad():
        return follow(system, network, data, method, forward=False, streams=streams).state


def decode(
    system: System,
    network: Network,
    noise: State,
    method: Method | None = None,
    *,
    streams: Streams | None = None,
) -> State:
    """Carry noise to the data that it stands for, t = 0 to 1: the inverse of `encode`.

    Args:
        system: The system.
        network: The network, in evaluation mode.
        noise: State at t = 0.
        method: How to follow the flow; None is `Adaptive` with its default tolerance.
        streams: Random streams of the batch; hardly any method needs them.

    Raises:
        SciflowError: A component has no velocity, the method draws noise, or its tolerance cannot be met.
    """
    with torch.no_grad():
        return follow(system, network, noise, method, forward=True, streams=streams).state


def follow(
    system: System,
    network: Network,
    state: State,
    method: Method | None = None,
    *,
    forward: bool,
    streams: Streams | None = None,
    wrap: bool = True,
) -> Followed:
    """Follow the flow through all of time; gradients are recorded if the caller records them.

    Args:
        system: The system.
        network: The network.
        state: State at t = 0 (forward) or t = 1.
        method: How to follow the flow.
        forward: From noise to data, or back.
        streams: Random streams of the batch.
        wrap: Whether to project the result; without, a torus keeps its lifted coordinates.

    Raises:
        SciflowError: See `encode`.
    """
    check(system)
    dtype = next(iter(state.values())).dtype
    low, high = bounds(system, dtype, method)
    scale = {n: 1.0 if high == 1 else float(c.path.at(high).a) for n, c in system.items()}
    if not forward:
        state = _scaled(system, state, scale, 1)
    if isinstance(method, Stepped):
        state, calls = _step(system, network, state, method, (low, high), forward, streams)
    else:
        start, stop = (low, high) if forward else (high, low)
        slope = velocity(system, network)

        def local(y: Mapping[str, Tensor], t: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
            frame = state if rows is None else state.select(rows)
            return slope(frame.replace(**y), t)

        with naming(system):
            result = integrate(local, dict(state), start, stop, method, sizes=sizes(system, state))
        state, calls = state.replace(**result.y), result.calls
    if forward:
        state = _scaled(system, state, scale, -1)
    if wrap:
        state = state.replace(
            **{n: c.space.project(state[n], state.mask(n)) for n, c in system.items()}
        )
    return Followed(state, calls, scale)


def sizes(system: System, state: State) -> dict[str, Tensor]:
    """Number of real elements of each component and sample, ``[B]``."""
    found = {}
    for name in system:
        real = torch.ones_like(state[name])
        mask = state.mask(name)
        found[name] = (real if mask is None else real * expand(mask, real)).flatten(1).sum(1)
    return found


@contextmanager
def naming(system: System) -> Iterator[None]:
    """Say which system an integration has failed on."""
    try:
        yield
    except SciflowError as error:
        raise SciflowError(f"flow of {', '.join(map(repr, system))}: {error}") from None


def _scaled(system: System, state: State, scale: Mapping[str, float], power: int) -> State:
    if all(a == 1 for a in scale.values()):
        return state
    fields = {}
    for name in system:
        centre = system.centre(name, state)
        fields[name] = (state[name] - centre) * scale[name] ** power + centre
        fields[name] = tangent(system[name].space, fields[name], state.mask(name))
    return state.replace(**fields)


def refuse_noise(solver: Solver) -> SciflowError:
    """Return the error for a solver that draws noise where a function of the start is wanted."""
    return SciflowError(
        f"solver {type(solver).__name__}: got one that draws noise, expected one of the probability flow; use 'heun', "
        "'midpoint' or 'dpm++2m' without churn, or the adaptive method"
    )


def _step(
    system: System,
    network: Network,
    state: State,
    method: Stepped,
    span: tuple[float, float],
    forward: bool,
    streams: Streams | None,
) -> tuple[State, Tensor]:
    solver = method.solver
    if solver.needs in ("posterior", "renewal", "score"):
        raise refuse_noise(solver)
    solver.check(system)
    plan = solver.plan(system, knots(system, method, span, forward))
    called = 0
    dtype = next(iter(state.values())).dtype

    def predict(state: State, t: float) -> Mapping[str, Ends]:
        nonlocal called
        called += 1
        return system.predict(
            network, state, torch.full((state.batch_size,), t, dtype=dtype, device=state.device)
        )

    if streams is None:
        streams = Streams.range(0, 0, state.batch_size, "flow", state.device)
    carry, drawn = solver.start(), streams.draws
    for step in plan:
        state, carry = solver.step(system, predict, state, step, carry, streams)
        if streams.draws != drawn:
            raise refuse_noise(solver)
    return state, torch.full((state.batch_size,), called, device=state.device)


def knots(
    system: System, method: Stepped, span: tuple[float, float], forward: bool
) -> Sequence[float]:
    """Knots of a grid within the bounds of the flow, in the direction of travel."""
    inside = [min(max(t, span[0]), span[1]) for t in method.grid.knots(method.steps, system)]
    inside = sorted(set(inside))
    return inside if forward else inside[::-1]
