"""Systems: named components that go from noise to data together, under one network.

A `Component` is a space, a path and the kind of prediction made for it; a `System` is an ordered mapping of components.
Whatever two domains bring, their systems differ in this mapping alone.

A network is any callable ``network(state, t) -> mapping from component name to tensor``, with `t` of shape ``[B]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import expected, unknown
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
    """

    space: Space
    path: Path
    kind: str = "data"
    weight: float = 1.0
    measure: str | None = None
    marginal: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("prediction kind", self.kind, KINDS)
        if not self.path.continuous and self.kind != "logits":
            raise expected(
                "prediction kind", self.kind, "'logits' for a jump path", "set kind = 'logits'"
            )

    def ends(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Ends:
        """Return the believed ends.

        Args:
            prediction: Network output ``[B, ...]``.
            x_t: State ``[B, ...]``.
            t: Times ``[B]``.
        """
        if self.kind != "logits":
            assert isinstance(self.path, GaussianPath)
            return resolve(self.kind, self.path.coefficients(t), prediction, x_t)
        x1 = self.logits(prediction, x_t, t).softmax(-1)
        if not isinstance(self.path, GaussianPath):
            return Ends(x1)
        c = self.path.coefficients(t)
        a, s = torch.as_tensor(c.a), torch.as_tensor(c.s)
        return Ends(x1, (x_t - expand(a, x1) * x1) / expand(s, x1))

    def logits(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the logits of the data: the network's, plus the single-element posterior if asked for."""
        if self.marginal is None:
            return prediction
        log_marginal = prediction.new_tensor(self.marginal).clamp_min(1e-6).log()
        evidence = self.path.evidence(x_t, t.to(prediction.dtype), prediction.shape[-1])
        return prediction + log_marginal + evidence

    def error(
        self, prediction: Tensor, x_t: Tensor, x1: Tensor, x0: Tensor | None, t: Tensor
    ) -> Tensor:
        """Return the loss of each element: squared error, summed over nothing, or cross-entropy."""
        if self.kind == "logits":
            logits = self.logits(prediction, x_t, t)
            if x1.is_floating_point():
                return -(x1 * logits.log_softmax(-1)).sum(-1)
            return F.cross_entropy(logits.flatten(0, -2), x1.flatten(), reduction="none").view(
                x1.shape
            )
        assert isinstance(self.path, GaussianPath)
        c = self.path.coefficients(t)
        error = prediction - combine(self.kind, c, Ends(x1, x0))
        if self.measure is not None and self.measure != self.kind:
            scale = torch.as_tensor(error_scale(self.kind, self.measure, c))
            error = error * expand(scale.to(error.dtype), error)
        return error**2


@dataclass(frozen=True)
class Noised:
    """A batch on its way: what training shows the network, and what it hides.

    Args:
        state: x_t of every component.
        t: Times ``[B]``.
        clean: x_1 of every component.
        noise: x_0 of the components that have one.
    """

    state: State
    t: Tensor
    clean: State
    noise: Mapping[str, Tensor | None]


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
        masks = masks or {}
        fields = {
            name: component.path.prior(
                component.space, shapes[name], streams, masks.get(name), dtype
            )
            for name, component in self.items()
        }
        return State(fields, masks, condition)

    def corrupt(self, clean: State, t: Tensor, streams: Streams) -> Noised:
        """Draw x_t of every component given the data.

        Args:
            clean: Data.
            t: Times in [0, 1], ``[B]``.
            streams: Random streams of the batch.
        """
        fields, noise = {}, {}
        for name, component in self.items():
            fields[name], noise[name] = component.path.corrupt(
                component.space, clean[name], t, streams, clean.mask(name)
            )
        return Noised(clean.replace(**fields), t, clean, noise)

    def predict(self, network: Network, state: State, t: Tensor) -> dict[str, Ends]:
        """Call the network once and return the believed ends of every component.

        Args:
            network: The network.
            state: State at `t`.
            t: Times ``[B]``.
        """
        output = network(state, t)
        return {name: c.ends(output[name], state[name], t) for name, c in self.items()}

    def loss(self, network: Network, clean: State, t: Tensor, streams: Streams) -> Loss:
        """Corrupt the data, call the network once, and return the loss of every component.

        Args:
            network: The network.
            clean: Data.
            t: Times in [0, 1], ``[B]``.
            streams: Random streams of the batch.
        """
        return self.loss_of(network, self.corrupt(clean, t, streams))

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
                noised.clean[name],
                noised.noise[name],
                noised.t,
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
