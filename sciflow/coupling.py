r"""Couplings: which noise x_0 goes with which data x_1 in a training batch.

A flow may be trained on pairs of any joint law whose marginals are those of noise and data. Independent pairs cross;
pairs that minimise the transport cost of the batch,

    min over permutations p of  sum_i |x_1^i - x_0^p(i)|^2,

cross less, so the flow that is learned is straighter and takes fewer steps. Generation draws the noise knowing the
condition and the mask, hence noise must stay independent of both: it is only exchanged among samples that agree in
them (or, for a continuous condition, nearly agree: the penalty below). One permutation moves the noise of all
components, so they stay independent of each other.

Only the velocity survives a change of coupling: the score of x_t is no longer -E[x_0 | x_t] / s, so sample such a
model by solvers of the probability flow.

Reference: Pooladian et al., Multisample flow matching, arXiv:2304.14772, equation 13; Tong et al., Improving and
generalizing flow-based generative models with minibatch optimal transport, arXiv:2302.00482, section 3.2; Cheng and
Schwing, The curse of conditions, arXiv:2503.10636, equation 9 (the penalty).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .errors import SciflowError, expected, unknown
from .shapes import expand
from .spaces import Euclidean, Space, Symmetric, Torus
from .state import State
from .streams import Streams
from .system import Component, System

Paired = tuple[State, dict[str, Tensor]]
"""A clean batch, and the noise ends chosen for some of its components."""

STORED = "noise of "
"""Beginning of the condition that holds the noise of a component in stored pairs."""


class Coupling(ABC):
    """A joint law of noise and data."""

    @abstractmethod
    def pair(self, system: System, clean: State, streams: Streams) -> Paired:
        """Choose the noise ends of a batch.

        Args:
            system: The system to be trained.
            clean: Data.
            streams: Random streams of the batch.

        Returns:
            The data as the network may see them, and noise ends by component, for `System.loss` to use.
        """


@dataclass(frozen=True)
class Independent(Coupling):
    """Noise and data know nothing of each other."""

    def pair(self, system: System, clean: State, streams: Streams) -> Paired:
        """Leave the noise to be drawn by the paths."""
        return clean, {}


@dataclass(frozen=True)
class Stored(Coupling):
    """Pairs that a model has made: the noise lies in the conditions ``"noise of <component>"`` of the data.

    See `sciflow.learning.reflow`, which makes such data.
    """

    def pair(self, system: System, clean: State, streams: Streams) -> Paired:
        """Take the noise out of the condition.

        Raises:
            SciflowError: The data hold no noise.
        """
        noise = {n: clean.condition[STORED + n] for n in system if STORED + n in clean.condition}
        if not noise:
            raise expected(
                "conditions of stored pairs",
                sorted(clean.condition),
                "the noise of at least one component",
                "make the pairs by sciflow.learning.reflow",
            )
        rest = {k: v for k, v in clean.condition.items() if not k.startswith(STORED)}
        return State(clean, clean.masks, rest), noise


@dataclass(frozen=True)
class Transport(Coupling):
    """Minibatch optimal transport over all components that have a noise end.

    Args:
        method: ``"exact"``: the best permutation; ``"sinkhorn"``: noise drawn from the entropic plan, in torch alone.
        blur: For ``sinkhorn``, the entropic regularisation in units of the mean cost.
        rounds: For ``sinkhorn``, the largest number of iterations.
        weights: Weight of a component's squared distance, 1 where it is not named.
        penalty: For each named floating-point condition, the weight of its squared distance in the cost of giving a
            sample the noise of another; 0 leaves the condition out. Conditions that are not named are never mixed.
    """

    method: str = "exact"
    blur: float = 0.02
    rounds: int = 500
    weights: Mapping[str, float] = field(default_factory=dict)
    penalty: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in ("exact", "sinkhorn"):
            raise unknown("method of optimal transport", self.method, ("exact", "sinkhorn"))
        if not self.blur > 0:
            raise expected("blur of optimal transport", self.blur, "a positive number")
        if self.rounds < 1:
            raise expected("rounds of optimal transport", self.rounds, "at least 1")

    def pair(self, system: System, clean: State, streams: Streams) -> Paired:
        """Draw noise and give it to the data where it costs least.

        Raises:
            SciflowError: No component has a noise end, or a continuous condition keeps all samples apart.
        """
        noise = _draw(system, clean, streams)
        cost = self.cost(system, clean, noise)
        groups = self._groups(system, clean)
        apart = groups.unsqueeze(1) != groups
        cost = cost.masked_fill(apart, float("inf"))
        if self.method == "exact":
            chosen = _by_group(cost, groups)
        else:
            chosen = streams.categorical(sinkhorn(cost, self.blur, self.rounds))
        for name, x0 in noise.items():
            noise[name] = system[name].space.lift(x0[chosen], clean[name])
        return clean, noise

    def cost(self, system: System, clean: State, noise: Mapping[str, Tensor]) -> Tensor:
        """Squared distance from every noise to every data sample, float64 ``[B (data), B (noise)]``.

        Noise is taken as it stands at t = 0, with the standard deviation of the prior.

        Args:
            system: The system.
            clean: Data.
            noise: Noise ends of some components ``[B, ...]``.
        """
        total = torch.zeros(clean.batch_size, clean.batch_size, dtype=torch.float64)
        total = total.to(clean.device)
        for name, x0 in noise.items():
            component = system[name]
            scale = 1.0 if component.source else float(component.path.at(0.0).s)
            x1 = clean[name] - system.centre(name, clean)
            part = _squared(component.space, x1, scale * x0, clean.mask(name))
            total = total + self.weights.get(name, 1.0) * part
        for name, weight in self.penalty.items():
            if name not in clean.condition:
                raise unknown("condition in the penalty", name, clean.condition)
            value = clean.condition[name]
            total = total + weight * _squared(Euclidean(), value, value, None)
        return total

    def _groups(self, system: System, clean: State) -> Tensor:
        """Number of the group of samples that may exchange their noise, int64 ``[B]``."""
        sources = {c.source for c in system.values()}
        fixed = [n for n in clean.condition if n not in self.penalty and n not in sources]
        parts = [_classes(mask) for mask in clean.masks.values()]
        for name in fixed:
            value = clean.condition[name]
            classes = _classes(value)
            if value.is_floating_point() and 1 < clean.batch_size == int(classes.max()) + 1:
                raise SciflowError(
                    f"optimal transport: got condition {name!r} with another value in each of {clean.batch_size} "
                    "samples, expected some that agree, since only those may exchange their noise; give its weight "
                    f"in the cost, penalty = {{{name!r}: 1.0}} (0 leaves it out)"
                )
            parts.append(classes)
        if not parts:
            return torch.zeros(clean.batch_size, dtype=torch.int64, device=clean.device)
        return _classes(torch.stack(parts, 1))


def _classes(value: Tensor) -> Tensor:
    """Number the different rows of `value`, int64 ``[B]``."""
    return torch.unique(value.reshape(len(value), -1), dim=0, return_inverse=True)[1]


def _has_noise_end(component: Component) -> bool:
    """Whether x_0 is a place from which x_1 can be far or near: not so for tangent noise on a torus."""
    return not isinstance(component.space, Torus) or component.path.at(0.0).a != 1


def _draw(system: System, clean: State, streams: Streams) -> dict[str, Tensor]:
    noise = {}
    start = torch.zeros(clean.batch_size, dtype=torch.float64, device=clean.device)
    for name, component in system.items():
        if component.source:
            noise[name] = clean.condition[component.source]
        elif component.path.continuous and _has_noise_end(component):
            x1, mask = clean[name], clean.mask(name)
            centre = system.centre(name, clean)
            ends = component.corrupt(x1, start.to(x1.dtype), streams, mask, None, centre)[1]
            if ends.x0 is not None:
                noise[name] = ends.x0
    if not noise:
        raise expected(
            "components of the system",
            list(system),
            "one with a noise end, for optimal transport",
            "use the independent coupling",
        )
    return noise


def _squared(space: Space, x1: Tensor, x0: Tensor, mask: Tensor | None) -> Tensor:
    """Squared distance of each x1 to each x0 in the space, over what is real in x1; float64 ``[B, B]``."""
    half = 0.5 if isinstance(space, Symmetric) else 1.0
    if not isinstance(space, Torus):
        real = torch.ones_like(x1) if mask is None else expand(mask, x1).to(x1.dtype).expand_as(x1)
        a, b, m = (x.reshape(len(x), -1).double() for x in (x1 * real, x0, real))
        return half * (a.square().sum(1, keepdim=True) - 2 * a @ b.T + m @ b.square().T)
    rows = []
    for i in range(x1.shape[0]):
        off = space.difference(x1[i : i + 1], x0).double()
        if mask is not None:
            off = off * expand(mask[i : i + 1], off)
        rows.append(off.square().flatten(1).sum(1))
    return torch.stack(rows)


def _by_group(cost: Tensor, groups: Tensor) -> Tensor:
    chosen = torch.arange(len(groups), device=groups.device)
    for group in range(int(groups.max()) + 1):
        members = (groups == group).nonzero().squeeze(1)
        if len(members) > 1:
            chosen[members] = members[assign(cost[members][:, members])]
    return chosen


def assign(cost: Tensor) -> Tensor:
    """Return the permutation p that minimises sum_i cost[i, p(i)], int64 ``[N]``.

    Shortest augmenting paths, by scipy where it is installed.

    Args:
        cost: Finite costs ``[N, N]``.

    Reference: Jonker and Volgenant, Computing 38 (1987) 325.
    """
    matrix = cost.detach().double().cpu().numpy()
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        return augment(cost).to(cost.device)
    return torch.from_numpy(linear_sum_assignment(matrix)[1]).to(cost.device)


def augment(cost: Tensor) -> Tensor:
    """Do what `assign` does, without scipy: rows enter one by one, each by the cheapest augmenting path."""
    import numpy as np

    c: Any = cost.detach().double().cpu().numpy()
    n = len(c)
    row_price, column_price = np.zeros(n), np.zeros(n + 1)
    owner = np.full(n + 1, -1)  # the row that holds a column; column n is where a new row starts
    for row in range(n):
        owner[n], column = row, n
        distance, before = np.full(n, np.inf), np.full(n, n)
        done = np.zeros(n + 1, dtype=bool)
        while owner[column] >= 0:
            done[column] = True
            here = owner[column]
            reduced = c[here] - row_price[here] - column_price[:n]
            closer = ~done[:n] & (reduced < distance)
            distance[closer], before[closer] = reduced[closer], column
            column = int(np.where(done[:n], np.inf, distance).argmin())
            step = distance[column]
            row_price[owner[done]] += step
            column_price[done] -= step
            distance[~done[:n]] -= step
        while column != n:
            owner[column] = owner[before[column]]
            column = before[column]
    chosen = np.empty(n, dtype=np.int64)
    chosen[owner[:n]] = np.arange(n)
    return torch.from_numpy(chosen)


def sinkhorn(cost: Tensor, blur: float, rounds: int = 500, tolerance: float = 1e-4) -> Tensor:
    """Return the entropic transport plan between uniform laws, ``[N, N]``; each row sums to 1.

    The plan exp((f_i + g_j - cost_ij) / e) minimises cost minus e times entropy; f and g are found in the log domain,
    e falling from the largest cost to its end value.

    Args:
        cost: Costs ``[N, N]``; infinite where a pair is forbidden, in square blocks.
        blur: e in units of the mean finite cost.
        rounds: Largest number of iterations at the end value.
        tolerance: Largest error of a column sum at which to stop.

    Reference: Cuturi, Sinkhorn distances, arXiv:1306.0895; Schmitzer, arXiv:1610.06519 (log domain, scaling).
    """
    finite = cost[cost.isfinite()]
    target = float(finite.mean()) * blur
    f, g = torch.zeros_like(cost[:, 0]), torch.zeros_like(cost[0])

    def turn(e: float, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        f = -e * ((g - cost) / e).logsumexp(1)
        return f, -e * ((f.unsqueeze(1) - cost) / e).logsumexp(0)

    if target == 0:  # all costs are equal
        return cost.isfinite().to(cost.dtype) / cost.isfinite().sum(1, keepdim=True)
    e = max(float(finite.max()), target)
    while e > target:
        f, g = turn(e, f, g)
        e *= 0.7
    for _ in range(rounds):
        f, g = turn(target, f, g)
        plan = ((g - cost) / target).softmax(1)
        if float((plan.sum(0) - 1).abs().max()) < tolerance:
            break
    return ((g - cost) / target).softmax(1)


COUPLINGS: dict[str, Coupling] = {
    "independent": Independent(),
    "ot": Transport(),
    "sinkhorn": Transport("sinkhorn"),
    "stored": Stored(),
}


def make(choice: str) -> Coupling:
    """Make a coupling from its name.

    Raises:
        SciflowError: The name is unknown.
    """
    if choice not in COUPLINGS:
        raise unknown("coupling", choice, COUPLINGS)
    return COUPLINGS[choice]
