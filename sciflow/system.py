"""Systems: named components that go from noise to data together, under one network.

A `Component` is a space, a path and the kind of prediction made for it; a `System` is an ordered mapping of components.
Whatever two domains bring, their systems differ in this mapping alone.

A network is any callable ``network(state, t) -> mapping from component name to tensor``, with `t` of shape ``[B]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import SciflowError, expected, unknown
from .paths.base import Ends, Path
from .paths.gaussian import GaussianPath
from .prediction import KINDS, combine, error_scale, resolve
from .shapes import expand
from .spaces import Space
from .state import State
from .streams import Streams

Network = Callable[[State, Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Component:
    """One component of a system.

    Args:
        space: Where it lives.
        path: How it goes from noise to data.
        kind: What the network predicts for it (see `prediction`); jumps need ``logits``.
        weight: Its weight in the loss.
        measure: For linear kinds, the kind in whose units the squared error is taken; None is the kind itself. GDSS's
            score-matching loss, |score s + noise|^2, is kind ``score`` measured as ``noise``.
        marginal: For ``logits``, class frequencies of the data ``[K]``. If given, the network's output is added to the
            log-posterior of one element taken by itself, log marginal + log q(x_t | x_1), so that it
            only has to learn what the rest of the state says.
        centre: Value that the path falls back to as noise grows (mean-reverting): the path is that of x - centre. A
            number, or the name of a condition with one value per element.
        source: Name of the condition that holds the sample at t = 0, for paths between two data sets.
    """

    space: Space
    path: Path
    kind: str = "data"
    weight: float = 1.0
    measure: str | None = None
    marginal: tuple[float, ...] | None = None
    centre: float | str = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("prediction kind", self.kind, KINDS)
        misfit = self.path.misfit(self.space)
        if misfit:
            raise SciflowError(
                f"component: got path {type(self.path).__name__} on space {type(self.space).__name__}, expected a path "
                f"that is defined there: {misfit}; choose another path or space"
            )
        refusal = self.path.refuses(self.space, self.kind)
        if refusal:
            raise SciflowError(
                f"component: got prediction kind {self.kind!r} for path {type(self.path).__name__} on space "
                f"{type(self.space).__name__}: {refusal}; set kind = 'velocity'"
            )
        if not self.path.continuous and self.kind != "logits":
            raise expected(
                "prediction kind", self.kind, "'logits' for a jump path", "set kind = 'logits'"
            )

    def ends(
        self, prediction: Tensor, x_t: Tensor, t: Tensor, centre: Tensor | float = 0.0
    ) -> Ends:
        """Return the believed ends.

        Args:
            prediction: Network output ``[B, ...]``.
            x_t: State ``[B, ...]``.
            t: Times ``[B]``.
            centre: Value of `centre` (see `System.centre`).
        """
        kind = self.kind
        if kind == "logits":
            kind, prediction = "data", self.logits(prediction, x_t, t).softmax(-1)
        elif kind == "data":
            prediction = self.space.lift(prediction, x_t)
        if not isinstance(self.path, GaussianPath):
            return self.path.believe(kind, prediction, x_t, t)
        if _nowhere(centre):
            return resolve(kind, self.path.coefficients(t), prediction, x_t)
        off = prediction - centre if kind == "data" else prediction
        ends = resolve(kind, self.path.coefficients(t), off, x_t - centre)
        return Ends(ends.x1 + centre, ends.x0)

    def prior(
        self,
        shape: Sequence[int],
        streams: Streams,
        mask: Tensor | None,
        dtype: torch.dtype,
        centre: Tensor | float = 0.0,
    ) -> Tensor:
        """Draw the state at t = 0, ``[B, *shape]``."""
        x = self.path.prior(self.space, shape, streams, mask, dtype)
        return x if _nowhere(centre) else self.space.project(x + centre, mask)

    def corrupt(
        self,
        x1: Tensor,
        t: Tensor,
        streams: Streams,
        mask: Tensor | None,
        x0: Tensor | None = None,
        centre: Tensor | float = 0.0,
    ) -> tuple[Tensor, Ends]:
        """Draw x_t given the data (see `Path.corrupt`); the ends are those of x - centre."""
        if _nowhere(centre):
            return self.path.corrupt(self.space, x1, t, streams, mask, x0)
        x_t, ends = self.path.corrupt(self.space, x1 - centre, t, streams, mask, x0)
        return self.space.project(x_t + centre, mask), ends

    def posterior(
        self,
        x_t: Tensor,
        ends: Ends,
        now: Any,
        then: Any,
        streams: Streams,
        mask: Tensor | None,
        centre: Tensor | float = 0.0,
    ) -> Tensor:
        """Draw x_s given x_t and the believed ends (see `Path.posterior`)."""
        if _nowhere(centre):
            return self.path.posterior(self.space, x_t, ends, now, then, streams, mask)
        off = Ends(ends.x1 - centre, ends.x0, ends.z)
        x = self.path.posterior(self.space, x_t - centre, off, now, then, streams, mask)
        return self.space.project(x + centre, mask)

    def renew(
        self,
        ends: Ends,
        then: Any,
        streams: Streams,
        mask: Tensor | None,
        centre: Tensor | float = 0.0,
    ) -> Tensor:
        """Draw x_s given the believed data alone (see `Path.renew`)."""
        if _nowhere(centre):
            return self.path.renew(self.space, ends, then, streams, mask)
        off = Ends(ends.x1 - centre, ends.x0, ends.z)
        x = self.path.renew(self.space, off, then, streams, mask)
        return self.space.project(x + centre, mask)

    def clean(self, ends: Ends, mask: Tensor | None) -> Tensor:
        """Return the believed data as a point of the space."""
        return self.path.clean(self.space, ends, mask)

    def logits(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the logits of the data: the network's, plus the single-element posterior if asked for."""
        if self.marginal is None:
            return prediction
        log_marginal = prediction.new_tensor(self.marginal).clamp_min(1e-6).log()
        evidence = self.path.evidence(x_t, t.to(prediction.dtype), prediction.shape[-1])
        return prediction + log_marginal + evidence

    def error(
        self,
        prediction: Tensor,
        x_t: Tensor,
        ends: Ends,
        t: Tensor,
        centre: Tensor | float = 0.0,
    ) -> Tensor:
        """Return the loss of each element: squared error, summed over nothing, or cross-entropy.

        Args:
            prediction: Network output ``[B, ...]``.
            x_t: State ``[B, ...]``.
            ends: The true ends, of x - centre.
            t: Times ``[B]``.
            centre: Value of `centre` (see `System.centre`).
        """
        if self.kind == "logits":
            logits, x1 = self.logits(prediction, x_t, t), ends.x1
            if x1.is_floating_point():
                return -(x1 * logits.log_softmax(-1)).sum(-1)
            return F.cross_entropy(logits.flatten(0, -2), x1.flatten(), reduction="none").view(
                x1.shape
            )
        if not isinstance(self.path, GaussianPath):
            return self.path.error(self.kind, prediction, ends, t)
        c = self.path.coefficients(t)
        target = combine(self.kind, c, ends)
        if self.kind == "data":
            # The coordinates in which `ends` reads the prediction; on a torus the mean is taken there.
            error = self.space.lift(prediction, x_t) - (
                target if _nowhere(centre) else target + centre
            )
        else:
            error = prediction - target
        if self.measure is not None and self.measure != self.kind:
            scale = torch.as_tensor(error_scale(self.kind, self.measure, c))
            error = error * expand(scale.to(error.dtype), error)
        return error**2


def _nowhere(centre: Tensor | float) -> bool:
    """Whether the path is centred at zero, as most are."""
    return isinstance(centre, float) and centre == 0.0


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

    def __getitem__(self, name: str) -> Component:
        return self._components[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._components)

    def __len__(self) -> int:
        return len(self._components)

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
        centre = self[name].centre
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

    def predict(self, network: Network, state: State, t: Tensor) -> dict[str, Ends]:
        """Call the network once and return the believed ends of every component.

        Args:
            network: The network.
            state: State at `t`.
            t: Times ``[B]``.
        """
        output = network(state, t)
        return {
            name: c.ends(output[name], state[name], t, self.centre(name, state))
            for name, c in self.items()
        }

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
