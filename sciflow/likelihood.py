r"""Likelihood: the density that a model gives to data, by the change of variables along its probability flow.

    log p(x_1) = log p_0(x_0) - int_0^1 div v(x_t, t) dt,     dx_t / dt = v(x_t, t)

The divergence is exact (one backward pass for each free coordinate) or Hutchinson's estimate e^T (dv / dx) e with
random signs e, which is unbiased and comes with its standard error. The density is the model's own: of its prior at
t = 0 under its velocity, as sampling by the flow would draw it.

Reference: Chen et al., Neural ordinary differential equations, arXiv:1806.07366, theorem 1; Grathwohl et al., FFJORD,
arXiv:1810.01367, equation 7 (Hutchinson, one draw for a whole trajectory); Song et al., arXiv:2011.13456, appendix D.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import SciflowError, expected, unknown
from .flow import Method, check, follow, tangent, velocity
from .paths.gaussian import VE, GaussianPath
from .shapes import expand
from .spaces import Euclidean, Space, Symmetric, Torus
from .state import State
from .streams import Streams
from .system import Component, Network, System

VOLUME = "log-volume"
"""Name of the component that carries the integral of the divergence."""

_ROW = "number in the batch"

LogPrior = Callable[[State], Tensor]
"""Log-density ``[B]`` of the state at t = 0."""


@dataclass(frozen=True)
class Hutchinson:
    """Estimate the divergence by random signs, the same along a whole trajectory.

    Args:
        probes: Number of draws, >= 2 so that they say how far they scatter; each costs one backward pass.
        seed: Seed of the draws.
    """

    probes: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.probes < 2:
            raise expected(
                "probes", self.probes, "at least 2", "one probe cannot say how far it is off"
            )


@dataclass(frozen=True)
class LogDensity:
    """Log-density of a batch under a model, in nats.

    Args:
        value: Log-density ``[B]``.
        error: Standard error of the estimate, ``[B]``; zero for the exact divergence.
        dimension: Number of free coordinates ``[B]``.
        noise: The state at t = 0 that the data come from.
        calls: Network calls of each sample, int64 ``[B]``.
    """

    value: Tensor
    error: Tensor
    dimension: Tensor
    noise: State
    calls: Tensor

    @property
    def bits_per_dimension(self) -> Tensor:
        """Negative log2-density per free coordinate ``[B]``, without any offset for binned data."""
        return -self.value / (math.log(2) * self.dimension)


def log_density(
    system: System,
    network: Network,
    data: State,
    *,
    trace: str | Hutchinson = "exact",
    method: Method | None = None,
    log_prior: LogPrior | None = None,
) -> LogDensity:
    """Return the log-density of data under a model.

    Args:
        system: The system; every component must follow a velocity.
        network: The network, in evaluation mode, differentiable in the state.
        data: Data; padding does not count.
        trace: ``"exact"``, ``"hutchinson"``, or `Hutchinson` with its options.
        method: How to follow the flow: `Adaptive`, `Fixed`, or any solver of the flow (`sciflow.flow.Stepped`); None
            is `Adaptive` with its default tolerance.
        log_prior: Log-density at t = 0, needed where it is not the standard one (paths between two data sets).

    Raises:
        SciflowError: A component has no density in this sense, or the method cannot follow the flow.
    """
    check(system, "log-density")
    if isinstance(trace, str):
        if trace not in ("exact", "hutchinson"):
            raise unknown("trace", trace, ("exact", "hutchinson"))
        trace = Hutchinson() if trace == "hutchinson" else trace
    log_prior = log_prior or standard_prior(system)
    probes = None if isinstance(trace, str) else _signs(system, data, trace)
    columns = 1 if probes is None else len(probes)
    first = next(iter(data.values()))
    # A component like any other, so that every solver can carry it; its path, singular nowhere, says no more than that
    # a velocity is given.
    whole = System({**system, VOLUME: Component(Euclidean(), VE(1.0, 2.0), "velocity")})
    # Samples that have arrived leave the batch, so each takes its number along to find its probes.
    condition = {**data.condition, _ROW: torch.arange(data.batch_size, device=data.device)}
    fields = {**data, VOLUME: first.new_zeros(data.batch_size, columns)}
    state = State(fields, data.masks, condition)
    with torch.no_grad():
        followed = follow(
            whole, _with_volume(system, network, probes), state, method, forward=False
        )
    log_volume = followed.state[VOLUME]
    noise = State({n: followed.state[n] for n in system}, data.masks, data.condition)
    value = log_prior(noise) + log_volume.mean(1)
    dimension = torch.zeros_like(value)
    for name, component in system.items():
        size = component.space.dimension(data[name], data.mask(name))
        dimension = dimension + size
        value = value + size * math.log(followed.scale[name])
    error = torch.zeros_like(value)
    if columns > 1:
        error = log_volume.std(1) / math.sqrt(columns)
    return LogDensity(value, error, dimension, noise, followed.calls)


def standard_prior(system: System) -> LogPrior:
    """Return the log-density of the noise from which generation starts: Gaussian, or uniform on a torus.

    Args:
        system: The system.

    Raises:
        SciflowError: A component starts from another law.
    """
    for name, c in system.items():
        own = getattr(type(c.path), "noise", None) is not getattr(GaussianPath, "noise", None)
        gaussian = isinstance(c.path, GaussianPath) and type(c.path).prior is GaussianPath.prior
        if c.source or not (gaussian or isinstance(c.space, Torus)) or own:
            what = "a data set" if c.source else f"path {type(c.path).__name__}"
            raise SciflowError(
                f"log-density: got component {name!r} that starts from {what}, expected Gaussian noise at t = 0; give "
                "the log-density of its start as log_prior"
            )

    def log_prior(state: State) -> Tensor:
        total = torch.zeros(state.batch_size, device=state.device)
        for name, c in system.items():
            x, mask = state[name] - system.centre(name, state), state.mask(name)
            size = c.space.dimension(state[name], mask)
            if isinstance(c.space, Torus):
                total = total - size * math.log(c.space.period)
                continue
            scale = c.path.prior_scale  # type: ignore[attr-defined]
            x = tangent(c.space, x, mask)
            square = weight(c.space) * (x / scale).square().flatten(1).sum(1)
            total = total - square / 2 - size * math.log(scale * math.sqrt(2 * math.pi))
        return total

    return log_prior


def weight(space: Space) -> float:
    """Weight of an element in sums over free coordinates: a symmetric matrix holds each of them twice."""
    return 0.5 if isinstance(space, Symmetric) else 1.0


def _signs(system: System, state: State, trace: Hutchinson) -> list[dict[str, Tensor]]:
    streams = Streams.range(trace.seed, 0, state.batch_size, "hutchinson", state.device)
    return [
        {
            n: c.space.noise(
                state[n].shape[1:], streams, state.mask(n), state[n].dtype
            ).sign()  # zero on padding, symmetric where it must be
            for n, c in system.items()
        }
        for _ in range(trace.probes)
    ]


def _with_volume(
    system: System, network: Network, probes: list[dict[str, Tensor]] | None
) -> Network:
    """Return a network that also gives the divergence of the velocity, as the velocity of `VOLUME`."""
    output: dict[str, Tensor] = {}

    def once(state: State, t: Tensor) -> Mapping[str, Tensor]:
        output.update(network(state, t))
        return output

    field = velocity(system, once)

    def whole(state: State, t: Tensor) -> Mapping[str, Tensor]:
        condition = dict(state.condition)
        rows = condition.pop(_ROW)
        with torch.enable_grad():
            x = {n: state[n].detach().requires_grad_() for n in system}
            v = field(State(x, state.masks, condition), t)
            if probes is None:
                volume = divergence(system, v, x, state.masks).unsqueeze(1)
            else:
                here = [{n: e[rows] for n, e in probe.items()} for probe in probes]
                volume = torch.stack([quadratic(system, v, x, e) for e in here], 1)
        return {**{n: o.detach() for n, o in output.items()}, VOLUME: volume.detach()}

    return whole


def divergence(
    system: System,
    v: Mapping[str, Tensor],
    x: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    create_graph: bool = False,
) -> Tensor:
    """Return sum_i d v_i / d x_i over the free coordinates of all components, ``[B]``.

    Args:
        system: The system.
        v: Tangent field, a differentiable function of `x`, each sample's of its own alone.
        x: Fields that require gradients.
        masks: Masks of the state.
        create_graph: Whether the result is to be differentiated in turn.
    """
    some = next(iter(x.values()))
    total = torch.zeros(some.shape[0], dtype=some.dtype, device=some.device)
    for name, component in system.items():
        shape = x[name].shape[1:]
        real = torch.ones(shape, dtype=torch.bool, device=some.device)
        if name in masks:
            real = expand(masks[name], x[name]).expand_as(x[name]).any(0)
        if isinstance(component.space, Symmetric):
            real = real.tril(-1)
        if not v[name].requires_grad:
            continue
        for place in real.nonzero().tolist():
            where = (slice(None), *place)
            g = torch.autograd.grad(
                v[name][where].sum(),
                x[name],
                retain_graph=True,
                create_graph=create_graph,
                allow_unused=True,
            )[0]
            if g is None:
                continue
            total = total + g[where]
            if isinstance(component.space, Symmetric):
                total = total + g[(slice(None), *place[:-2], place[-1], place[-2])]
    return total


def quadratic(
    system: System, v: Mapping[str, Tensor], x: Mapping[str, Tensor], e: Mapping[str, Tensor]
) -> Tensor:
    """Return e^T (dv / dx) e over the free coordinates of all components, ``[B]``.

    Args:
        system: The system.
        v: Tangent field, a differentiable function of `x`.
        x: Fields that require gradients.
        e: A tangent vector.
    """
    moved = [n for n in system if v[n].requires_grad]
    some = next(iter(x.values()))
    if not moved:
        return some.new_zeros(some.shape[0])
    outer = [weight(system[n].space) * e[n] for n in moved]
    grads = torch.autograd.grad(
        [v[n] for n in moved], [x[n] for n in system], outer, retain_graph=True, allow_unused=True
    )
    parts = [
        (g * e[n]).flatten(1).sum(1) for n, g in zip(system, grads, strict=True) if g is not None
    ]
    return torch.stack(parts).sum(0)
