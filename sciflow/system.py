"""Systems: named components that go from noise to data together, under one network.

A `Component` is a space, a path and the kind of prediction made for it; a `System` is an ordered mapping of components.
Whatever two domains bring, their systems differ in this mapping alone.

A network is any callable ``network(state, t) -> mapping from component name to tensor``, with `t` of shape ``[B]``.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .component import Component
from .errors import expected, unknown
from .paths.base import Ends
from .prediction import Unresolved
from .shapes import expand
from .state import State
from .streams import Streams

Network = Callable[[State, Tensor], Mapping[str, Tensor]]


_REMEMBERED = 4096
"""Number of times of which a system remembers the coefficients."""


@dataclass(frozen=True)
class Moment:
    """A time as a compiled step knows it: nothing in it is a Python number, which a graph would be made for.

    Args:
        t: The time, without dimensions.
        weights: What `System.weights` gives there, in tensors without dimensions.
    """

    t: Tensor
    weights: Mapping[str, Any]


_PLANS = 16
"""Number of plans that a system remembers."""

_NO_WEIGHTS: dict[str, tuple[float, float, float, float] | None] = {}


@dataclass(frozen=True)
class Noised:
    """A batch on its way: what training shows the network, and what it hides.

    Args:
        state: x_t of every component.
        t: Times ``[B]``.
        clean: x_1 of every component.
        ends: The ends that made x_t.
    """

    state: State
    t: Tensor
    clean: State
    ends: Mapping[str, Ends]


@dataclass(frozen=True)
class Loss:
    """A loss to minimise and its parts.

    Args:
        total: Scalar.
        parts: Mean loss per real element of each component, scalars without gradient.
    """

    total: Tensor
    parts: Mapping[str, Tensor]


class System(Mapping[str, Component]):
    """Ordered, frozen mapping from name to `Component`.

    Args:
        components: The components, in the order in which they draw random numbers.
        reduction: ``"element"``: the loss is the weighted sum over all real elements of all components, divided by
            their number. ``"sample"``: the sum over the elements of a sample, halved, averaged over the batch (GDSS).
    """

    def __init__(self, components: Mapping[str, Component], reduction: str = "element") -> None:
        if not components:
            raise expected("components of a system", {}, "at least one")
        if reduction not in ("element", "sample"):
            raise unknown("reduction", reduction, ("element", "sample"))
        self._components = dict(components)
        self.reduction = reduction
        self._plans: dict[Any, list[Any]] = {}
        self._at: dict[float, dict[str, Any]] = {}
        self._weights: dict[float, dict[str, tuple[float, float, float, float] | None]] = {}

    def __getitem__(self, name: str) -> Component:
        return self._components[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._components)

    def __len__(self) -> int:
        return len(self._components)

    def items(self) -> ItemsView[str, Component]:
        """Names and components; faster than what `Mapping` makes of `__getitem__`."""
        return self._components.items()

    def __repr__(self) -> str:
        return f"System({self._components!r}, reduction={self.reduction!r})"

    @property
    def continuous(self) -> bool:
        """True where every component moves continuously."""
        return all(component.path.continuous for component in self.values())

    def prior(
        self,
        shapes: Mapping[str, Sequence[int]],
        streams: Streams,
        masks: Mapping[str, Tensor] | None = None,
        condition: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> State:
        """Draw the state at t = 0 from which generation starts.

        Args:
            shapes: Shape of one sample (without B) of each component.
            streams: Random streams of the batch.
            masks: Masks of the state.
            condition: Condition of the state.
            dtype: Floating-point type of continuous components.
        """
        frame = State({}, masks, condition)
        fields = {}
        for name, component in self.items():
            if component.source:
                fields[name] = self._source(name, frame)
                continue
            fields[name] = component.prior(
                shapes[name], streams, frame.mask(name), dtype, self.centre(name, frame)
            )
        return State(fields, masks, condition)

    def centre(self, name: str, state: State) -> Tensor | float:
        """Value that the path of component `name` falls back to, for this batch (see `Component`).

        Raises:
            SciflowError: The state lacks the condition that the component names.
        """
        centre = self._components[name].centre
        if isinstance(centre, str):
            return _condition(f"centre of component {name!r}", centre, state)
        return float(centre)

    def _source(self, name: str, state: State) -> Tensor:
        return _condition(f"source of component {name!r}", self[name].source, state)

    def corrupt(
        self,
        clean: State,
        t: Tensor,
        streams: Streams,
        noise: Mapping[str, Tensor] | None = None,
    ) -> Noised:
        """Draw x_t of every component given the data.

        Args:
            clean: Data.
            t: Times in [0, 1], ``[B]``.
            streams: Random streams of the batch.
            noise: Noise ends to use for some components (a coupling chose them).
        """
        fields, ends = {}, {}
        for name, component in self.items():
            x0 = (noise or {}).get(name)
            if x0 is None and component.source:
                x0 = self._source(name, clean)
            fields[name], ends[name] = component.corrupt(
                clean[name], t, streams, clean.mask(name), x0, self.centre(name, clean)
            )
        return Noised(clean.replace(**fields), t, clean, ends)

    def at(self, t: float) -> dict[str, Any]:
        """Return `Path.at(t)` of every component, computed once for each time."""
        if t not in self._at:
            self.prime((t,))
        return self._at[t]

    def prime(self, times: Sequence[float]) -> None:
        """Compute what `at` returns for all these times at once."""
        new = sorted({t for t in times if t not in self._at})
        if not new:
            return
        if len(self._at) + len(new) > _REMEMBERED:
            self._at.clear()
            new = sorted(set(times))
        table = {name: c.path.table(new) for name, c in self.items()}
        for i, t in enumerate(new):
            self._at[t] = {name: rows[i] for name, rows in table.items()}

    def weights(self, t: float) -> dict[str, tuple[float, float, float, float] | None]:
        """Return what gives both ends from state and prediction at `t` (see `prediction.inverse`).

        None stands where the ends are not linear in them, and at the end of a path where they can't be told.
        """
        if t not in self._weights:
            if len(self._weights) >= _REMEMBERED:
                self._weights.clear()
            self._weights[t] = {name: c.weights(self.at(t)[name]) for name, c in self.items()}
        return self._weights[t]

    def plan(self, planner: Any, knots: Sequence[float]) -> list[Any]:
        """Check a planner (a solver) and return ``planner.plan(system, knots)``; once for each of them and the knots.

        Raises:
            SciflowError: The planner cannot treat the system.
        """
        key = (planner, tuple(knots))
        try:
            if key in self._plans:
                return self._plans[key]
        except TypeError:  # a planner without a hash is not remembered
            planner.check(self)
            return planner.plan(self, knots)
        planner.check(self)
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        return self._plans.setdefault(key, planner.plan(self, knots))

    def predict(
        self, network: Network, state: State, t: Tensor, at: float | Moment | None = None
    ) -> dict[str, Ends]:
        """Call the network once and return the believed ends of every component.

        Args:
            network: The network.
            state: State at `t`.
            t: Times ``[B]``.
            at: The time of all samples, where it is one: a number, or in a compiled step a `Moment`.
                Saves the coefficients per sample.
        """
        output = network(state, t)
        weights = _NO_WEIGHTS
        if isinstance(at, Moment):
            weights = at.weights
        elif at is not None:
            weights = self._weights.get(at) or self.weights(at)
        ends: dict[str, Ends] = {}
        for name, c in self._components.items():
            own, x, p = weights.get(name), state[name], output[name]
            if own is None or not c.plain:
                ends[name] = c.ends(p, x, t, self.centre(name, state))
            elif isinstance(at, Moment):
                ends[name] = Ends(x * own[0] + p * own[1], x * own[2] + p * own[3])
            else:
                ends[name] = Unresolved(x, p, own)
        return ends

    def loss(
        self,
        network: Network,
        clean: State,
        t: Tensor,
        streams: Streams,
        noise: Mapping[str, Tensor] | None = None,
    ) -> Loss:
        """Corrupt the data, call the network once, and return the loss of every component.

        Args:
            network: The network.
            clean: Data.
            t: Times in [0, 1], ``[B]``.
            streams: Random streams of the batch.
            noise: Noise ends to use for some components (see `coupling`).
        """
        return self.loss_of(network, self.corrupt(clean, t, streams, noise))

    def loss_of(self, network: Network, noised: Noised) -> Loss:
        """As `loss`, for a batch that is on its way already."""
        output = network(noised.state, noised.t)
        total: Tensor | float = 0.0
        elements: Tensor | float = 0.0
        parts = {}
        for name, component in self.items():
            error = component.error(
                output[name],
                noised.state[name],
                noised.ends[name],
                noised.t,
                self.centre(name, noised.state),
            )
            mask = noised.clean.mask(name)
            if mask is None:
                mask = torch.ones_like(error, dtype=torch.bool)
            real = expand(mask, error).to(error.dtype).expand_as(error)
            summed, count = (error * real).sum(), real.sum()
            parts[name] = (summed / count.clamp_min(1)).detach()
            total = total + component.weight * summed
            elements = elements + count
        if self.reduction == "element":
            return Loss(torch.as_tensor(total) / torch.as_tensor(elements).clamp_min(1), parts)
        return Loss(0.5 * torch.as_tensor(total) / noised.state.batch_size, parts)


def _condition(what: str, name: str, state: State) -> Tensor:
    if name not in state.condition:
        raise expected(
            what, sorted(state.condition), f"a condition named {name!r}", "give it with the state"
        )
    return state.condition[name]
