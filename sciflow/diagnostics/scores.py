r"""Is it the score? The Fokker-Planck residual, the asymmetry of the Jacobian, integrals over closed loops.

The density of the flow obeys d_t log p = -div v - v . s, hence its score s must have

    r = d_t s + grad(div v + v . s) = 0,     v = (a'/a) x + g^2 s / 2,

and |r| bounds how far the laws of the flow and of the stochastic process part. Whatever it belongs to, a score is a
gradient: its Jacobian is symmetric and its integrals over closed loops vanish.

Reference: Deveney et al., Closing the ODE-SDE gap, arXiv:2311.15996, equation 3 (there with t = 1 noise); Vuong et
al., Are we really learning the score function?, arXiv:2410.03952.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SciflowError, expected
from ..flow import check, tangent, velocity
from ..likelihood import divergence, weight
from ..shapes import expand
from ..spaces import Symmetric
from ..state import State
from ..streams import Streams
from ..system import Network, System
from .transport import inner

Score = Callable[[State, Tensor], dict[str, Tensor]]
"""Score of every component, given a state and times ``[B]``."""


def score(system: System, network: Network) -> Score:
    """Return the score grad log p(x_t) that a network believes in: -E[x_0 | x_t] / s, or -E[z | x_t] / gamma.

    Args:
        system: The system.
        network: The network.

    Raises:
        SciflowError: A component has no score.
    """
    check(system, "score")
    for name, c in system.items():
        reason = c.path.lacks(c.space, "score")
        if reason:
            raise SciflowError(
                f"score: got component {name!r} on path {type(c.path).__name__}, expected one with a score: {reason}; "
                "use a Gaussian path on a vector space"
            )

    def field(state: State, t: Tensor) -> dict[str, Tensor]:
        output = network(state, t)
        found = {}
        for name, c in system.items():
            x = state[name]
            ends = c.ends(output[name], x, t, system.centre(name, state))
            w = c.path.coefficients(t)  # type: ignore[attr-defined]
            end, scale = (ends.x0, w.s) if ends.z is None else (ends.z, w.gamma)
            assert end is not None
            found[name] = tangent(
                c.space, -end / expand(torch.as_tensor(scale), x), state.mask(name)
            )
        return found

    return field


@dataclass(frozen=True)
class Residual:
    """Fokker-Planck residual of a believed score.

    Args:
        relative: |r| / |d_t s|, norms over the batch.
        each: |r| of each sample, ``[B]``.
        rate: |d_t s| of each sample, ``[B]``.
    """

    relative: float
    each: Tensor
    rate: Tensor


def fokker_planck_residual(
    system: System, network: Network, state: State, t: Tensor, create_graph: bool = False
) -> Residual:
    """Measure how far a believed score is from obeying the equation of its own density.

    It takes two derivatives of the network: with `create_graph` the squares of `each` can be minimised in training.

    Args:
        system: The system.
        network: The network, twice differentiable in the state and once in t.
        state: States at `t`.
        t: Times in (0, 1), ``[B]``.
        create_graph: Whether to differentiate the result.

    Raises:
        SciflowError: A component has no score.
    """
    names = list(system)
    with torch.enable_grad():
        x = {n: state[n].detach().requires_grad_() for n in names}
        t = t.detach().requires_grad_()
        output = network(state.replace(**x), t)

        def once(state: State, t: Tensor) -> Mapping[str, Tensor]:
            return output

        s = score(system, once)(state.replace(**x), t)
        v = velocity(system, once)(state.replace(**x), t)
        # d s / dt, forwards, by two backward passes: the first is linear in u.
        u = {n: torch.zeros_like(s[n]).requires_grad_() for n in names}
        by_t = torch.autograd.grad(
            [s[n] for n in names], t, [u[n] for n in names], create_graph=True
        )[0]
        rate = torch.autograd.grad(
            by_t.sum(), [u[n] for n in names], create_graph=create_graph, retain_graph=True
        )
        rhs = divergence(system, v, x, state.masks, create_graph=True) + inner(system, v, s)
        force = torch.autograd.grad(rhs.sum(), [x[n] for n in names], create_graph=create_graph)
    residual, change = {}, {}
    for n, d_t, g in zip(names, rate, force, strict=True):
        space = system[n].space
        residual[n] = d_t + tangent(space, g, state.mask(n)) / weight(space)
        change[n] = d_t
    each, size = (inner(system, w, w) for w in (residual, change))
    relative = float((each.detach().sum() / size.detach().sum()).sqrt())
    tiny = torch.finfo(each.dtype).tiny  # the root has no slope at zero
    return Residual(relative, each.clamp_min(tiny).sqrt(), size.detach().sqrt())


@dataclass(frozen=True)
class Asymmetry:
    """How far a believed score is from being a gradient.

    Args:
        relative: |J - J^T| / |J|, Frobenius norms over the batch.
        each: The same of each sample, ``[B]``.
    """

    relative: float
    each: Tensor


def jacobian_asymmetry(system: System, network: Network, state: State, t: Tensor) -> Asymmetry:
    """Measure the antisymmetric part of the Jacobian of the score, over all components together.

    It costs one backward pass for each free coordinate, and keeps the square of their number.

    Args:
        system: The system.
        network: The network, differentiable in the state.
        state: States at `t`.
        t: Times in (0, 1), ``[B]``.

    Raises:
        SciflowError: A component has no score.
    """
    field = score(system, network)
    with torch.enable_grad():
        x = {n: state[n].detach().requires_grad_() for n in system}
        s = field(state.replace(**x), t)
        flat = _free(system, s)
        rows = []
        for i in range(flat.shape[1]):
            grads = torch.autograd.grad(
                flat[:, i].sum(), list(x.values()), retain_graph=True, allow_unused=True
            )
            moved = {
                n: torch.zeros_like(x[n]) if g is None else g
                for n, g in zip(x, grads, strict=True)
            }
            by_pair = {
                n: g + g.transpose(-1, -2) if isinstance(system[n].space, Symmetric) else g
                for n, g in moved.items()
            }
            rows.append(_free(system, by_pair))
    jacobian = torch.stack(rows, 1)
    odd = (jacobian - jacobian.transpose(1, 2)).square().flatten(1).sum(1)
    whole = jacobian.square().flatten(1).sum(1)
    relative = float((odd.sum() / whole.sum()).sqrt())
    return Asymmetry(relative, (odd / whole).sqrt())


def _free(system: System, fields: Mapping[str, Tensor]) -> Tensor:
    """Free coordinates of all components in one row, ``[B, D]``."""
    parts = []
    for name, c in system.items():
        x = fields[name]
        if isinstance(c.space, Symmetric):
            i, j = torch.tril_indices(x.shape[-1], x.shape[-1], -1, device=x.device)
            x = x[..., i, j]
        parts.append(x.flatten(1))
    return torch.cat(parts, 1)


@dataclass(frozen=True)
class Loop:
    """Integral of a believed score over closed loops; a gradient's vanishes.

    Args:
        value: The integral over the loop of each sample, in nats, ``[B]``.
        relative: Its absolute value over the integral of |s . dx|, ``[B]``.
    """

    value: Tensor
    relative: Tensor


def loop_integral(
    system: System,
    network: Network,
    state: State,
    t: Tensor,
    *,
    radius: float = 0.5,
    points: int = 64,
    seed: int = 0,
) -> Loop:
    """Integrate the score over a circle around each state, in a random plane.

    The trapezoidal rule on a circle converges faster than any power of 1 / points.

    Args:
        system: The system.
        network: The network.
        state: Centres of the circles.
        t: Times in (0, 1), ``[B]``.
        radius: Radius of the circles.
        points: Points on a circle; each is one network call.
        seed: Seed of the planes.

    Raises:
        SciflowError: A component has no score, or a sample has a single free coordinate, which holds no loop.
    """
    field = score(system, network)
    dimension = torch.stack(
        [c.space.dimension(state[n], state.mask(n)) for n, c in system.items()]
    ).sum(0)
    if float(dimension.min()) < 2:
        raise expected(
            "free coordinates", float(dimension.min()), "at least 2 for a loop", "leave it out"
        )
    streams = Streams.range(seed, 0, state.batch_size, "loop", state.device)
    u, w = (
        {n: c.space.noise(state[n].shape[1:], streams, state.mask(n), state[n].dtype)
         for n, c in system.items()}
        for _ in range(2)
    )  # fmt: skip
    u = _scaled(u, inner(system, u, u).rsqrt())
    along = inner(system, u, w)
    w = {n: w[n] - expand(along, w[n]) * u[n] for n in w}
    w = _scaled(w, inner(system, w, w).rsqrt())
    value = torch.zeros_like(along)
    size = torch.zeros_like(along)
    with torch.no_grad():
        for i in range(points):
            angle = 2 * math.pi * i / points
            c, s = radius * math.cos(angle), radius * math.sin(angle)
            place = state.replace(**{n: state[n] + c * u[n] + s * w[n] for n in system})
            step = {n: (c * w[n] - s * u[n]) * (2 * math.pi / points) for n in system}
            part = inner(system, field(place, t), step)
            value, size = value + part, size + part.abs()
    return Loop(value, value.abs() / size)


def _scaled(fields: Mapping[str, Tensor], by: Tensor) -> dict[str, Tensor]:
    return {n: x * expand(by, x) for n, x in fields.items()}
