"""Order of convergence: minus the slope of log(error) against log(steps), measured against a fine solution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import SciflowError, expected
from ..flow import Adaptive, decode, sizes
from ..grids import Grid, Uniform
from ..sampling import sample
from ..solvers.base import Solver
from ..state import Frame, State
from ..streams import Streams
from ..system import Network, System


@dataclass(frozen=True)
class Order:
    """Measured order of convergence.

    Args:
        steps: Step counts.
        errors: Root mean square distance of the end points from the reference, per real element.
        value: The order: minus the slope of log(error) against log(steps), by least squares.
    """

    steps: tuple[int, ...]
    errors: tuple[float, ...]
    value: float


def order_of_convergence(
    system: System,
    network: Network,
    start: State,
    solver: Solver,
    *,
    grid: Grid | None = None,
    steps: Sequence[int] = (16, 32, 64),
    reference: State | None = None,
) -> Order:
    """Measure how fast the end points of a solver converge.

    Args:
        system: The system.
        network: The network; smooth, and in float64, if high orders are to be seen.
        start: State at t = 0.
        solver: A solver that draws no noise.
        grid: Time grid; None is uniform.
        steps: Step counts, increasing.
        reference: The exact end points; None finds them by adaptive steps with a tolerance of 1e-9 (1e-6 in float32).

    Raises:
        SciflowError: The solver draws noise, or fewer than two step counts are given.
    """
    if len(steps) < 2:
        raise expected("steps", list(steps), "at least two step counts")
    dtype = next(iter(start.values())).dtype
    frame = Frame({}, start.masks, start.condition)

    def end(count: int, seed: int) -> State:
        streams = Streams.range(seed, 0, start.batch_size, "order", start.device)
        return sample(
            system, network, frame, streams,
            solver=solver, grid=grid or Uniform(), steps=count, start=start, dtype=dtype,
        )  # fmt: skip

    if _distance(system, end(steps[0], 0), end(steps[0], 1)) > 0:
        raise SciflowError(
            f"order of convergence: got solver {type(solver).__name__}, which draws noise, expected one whose end "
            "points are a function of the start; compare laws instead"
        )
    if reference is None:
        fine = 1e-9 if dtype == torch.float64 else 1e-6
        reference = decode(system, network, start, Adaptive(fine, fine))
    errors = tuple(_distance(system, end(count, 0), reference) for count in steps)
    x, y = ([math.log(max(v, 1e-300)) for v in values] for values in (steps, errors))
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    top = sum((p - x_mean) * (q - y_mean) for p, q in zip(x, y, strict=True))
    return Order(tuple(steps), errors, -top / sum((p - x_mean) ** 2 for p in x))


def _distance(system: System, one: State, other: State) -> float:
    square, count = 0.0, 0.0
    for name, size in sizes(system, one).items():
        off = system[name].space.difference(one[name], other[name])
        square, count = square + float(off.square().sum()), count + float(size.sum())
    return math.sqrt(square / count)
