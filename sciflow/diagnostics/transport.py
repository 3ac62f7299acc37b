r"""How a flow moves: straightness and kinetic energy.

    S = int E|v_t - (X_1 - X_0)|^2 dt / E|X_1 - X_0|^2

along the flow is 0 where one step of Euler is exact. Since int v dt = X_1 - X_0, it is (energy - cost) / cost, with
the kinetic energy int E|v_t|^2 dt.

Reference: Liu, Gong, Liu, Flow straight and fast, arXiv:2209.03003, equation 5 (there without the denominator); Shaul
et al., On kinetic optimal probability paths, arXiv:2306.06626, equation 8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..flow import Adaptive, Fixed, bounds, sizes, velocity
from ..integrate import integrate
from ..likelihood import weight
from ..state import State
from ..streams import Streams
from ..system import Network, System


@dataclass(frozen=True)
class Transport:
    """How a flow moves, as means over samples.

    Args:
        straightness: int E|v - (X_1 - X_0)|^2 dt / E|X_1 - X_0|^2.
        energy: Kinetic energy int E|v|^2 dt, summed over the free coordinates.
        cost: Transport cost E|X_1 - X_0|^2.
    """

    straightness: float
    energy: float
    cost: float


def straightness(
    system: System, network: Network, start: State, method: Adaptive | Fixed | None = None
) -> Transport:
    """Measure how straight the trajectories from `start` are.

    Args:
        system: The system.
        network: The network, in evaluation mode.
        start: State at t = 0.
        method: How to follow the flow; None is `Adaptive` with its default tolerance.

    Raises:
        SciflowError: A component has no velocity.
    """
    field = velocity(system, network)
    low, high = bounds(system, next(iter(start.values())).dtype)

    def slope(y: Mapping[str, Tensor], t: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        here = start if rows is None else start.select(rows)
        v = field(here.replace(**{n: y[n] for n in system}), t)
        return {**v, "energy": inner(system, v, v).unsqueeze(1)}

    first = next(iter(start.values()))
    y = {**start, "energy": first.new_zeros(start.batch_size, 1)}
    with torch.no_grad():
        end = integrate(slope, y, low, high, method, sizes=sizes(system, start)).y
    moved = {n: end[n] - start[n] for n in system}
    cost = float(inner(system, moved, moved).mean())
    energy = float(end["energy"].mean())
    return Transport(max(energy - cost, 0.0) / cost, energy, cost)


@dataclass(frozen=True)
class Energy:
    """Kinetic energy of a path under a network.

    Args:
        value: int E|v(x_t, t)|^2 dt, summed over the free coordinates.
        error: Its standard error, from the scatter over the data.
        times: Times at which it was taken.
        profile: E|v(x_t, t)|^2 at those times.
    """

    value: float
    error: float
    times: tuple[float, ...]
    profile: tuple[float, ...]


def kinetic_energy(
    system: System, network: Network, data: State, streams: Streams, points: int = 16
) -> Energy:
    """Measure the kinetic energy on the law of x_t that training sees, by Gauss-Legendre quadrature in t.

    Args:
        system: The system.
        network: The network, in evaluation mode.
        data: Clean data.
        streams: Random streams of the batch.
        points: Number of times.

    Raises:
        SciflowError: A component has no velocity.
    """
    field = velocity(system, network)
    nodes, weights = gauss_legendre(points)
    dtype = next(iter(data.values())).dtype
    each = torch.zeros(data.batch_size, dtype=torch.float64, device=data.device)
    profile = []
    with torch.no_grad():
        for node, share in zip(nodes.tolist(), weights.tolist(), strict=True):
            t = torch.full((data.batch_size,), node, dtype=dtype, device=data.device)
            v = field(system.corrupt(data, t, streams).state, t)
            square = inner(system, v, v).double()
            each = each + share * square
            profile.append(float(square.mean()))
    error = float(each.std()) / math.sqrt(len(each))
    return Energy(float(each.mean()), error, tuple(nodes.tolist()), tuple(profile))


def gauss_legendre(points: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1], float64 ``[points]`` (Golub and Welsch)."""
    k = torch.arange(1, points, dtype=torch.float64)
    off = k / (4 * k**2 - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return (nodes + 1) / 2, vectors[0] ** 2


def inner(system: System, u: Mapping[str, Tensor], v: Mapping[str, Tensor]) -> Tensor:
    """Inner product over the free coordinates of all components, ``[B]``."""
    parts = [weight(c.space) * (u[n] * v[n]).flatten(1).sum(1) for n, c in system.items()]
    return torch.stack(parts).sum(0)
