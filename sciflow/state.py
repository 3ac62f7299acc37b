"""The state of a system: named tensors of one batch, with the masks and conditions that belong to them.

A graph is (nodes, edges), a picture is (pixels): whatever a domain brings becomes a `State`. Its fields are the
components that noise and solvers move; its masks say which elements are real (the rest is padding, held at zero);
its condition is what the network may look at and nobody moves.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from .errors import expected
from .streams import Streams


class State(Mapping[str, Tensor]):
    """Frozen mapping from component name to tensor ``[B, ...]``; a torch pytree.

    Args:
        fields: The components.
        masks: For a component with padding, a boolean tensor whose shape is a prefix of the component's shape; True
            where an element is real. A component without a mask has no padding.
        condition: Tensors ``[B, ...]`` that the network reads and no solver moves.
    """

    __slots__ = ("_fields", "condition", "masks")

    def __init__(
        self,
        fields: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        condition: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._fields = dict(fields)
        self.masks: dict[str, Tensor] = dict(masks or {})
        self.condition: dict[str, Tensor] = dict(condition or {})

    def __getitem__(self, name: str) -> Tensor:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def items(self) -> ItemsView[str, Tensor]:
        """Names and tensors; faster than what `Mapping` makes of `__getitem__`."""
        return self._fields.items()

    def __repr__(self) -> str:
        fields = ", ".join(f"{k}: {str(v.dtype)[6:]}{list(v.shape)}" for k, v in self.items())
        return f"State({fields})"

    @property
    def first(self) -> Tensor:
        """The first component."""
        return next(iter(self._fields.values()))

    @property
    def batch_size(self) -> int:
        """Number of samples B."""
        return self.first.shape[0]

    @property
    def device(self) -> torch.device:
        """Device of the components."""
        return self.first.device

    def mask(self, name: str) -> Tensor | None:
        """Mask of component `name`, or None where all its elements are real."""
        return self.masks.get(name)

    def replace(self, **fields: Tensor) -> State:
        """Return a state with some components replaced, same masks and condition."""
        other = object.__new__(State)
        other._fields = {**self._fields, **fields}
        # Nobody changes a state, so these can be shared.
        other.masks, other.condition = self.masks, self.condition
        return other

    def with_condition(self, **condition: Tensor) -> State:
        """Return a state with tensors added to (or replaced in) its condition."""
        return State(self._fields, self.masks, {**self.condition, **condition})

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """Apply `function` to every tensor, masks and condition included."""
        return State(*({k: function(v) for k, v in part.items()} for part in self._parts()))

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Move every tensor to `device` and cast the floating-point ones to `dtype`."""
        return self.map(lambda x: x.to(device, dtype if x.is_floating_point() else x.dtype))

    def select(self, index: Any) -> State:
        """Return the samples `index` (anything that indexes the batch dimension, but an int)."""
        return self.map(lambda x: x[index])

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        return self._fields, self.masks, self.condition


@dataclass(frozen=True)
class Frame:
    """What generation fills: shapes, masks and conditions of one batch.

    Args:
        shapes: Shape of one sample (without B) of each component.
        masks: Masks of the state.
        condition: Condition of the state.
        lot: What of the condition every sample draws by itself, from the condition and its stream; None for nothing.
            A hook that makes several particles of a sample lets each draw its own.
    """

    shapes: Mapping[str, Sequence[int]]
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    condition: Mapping[str, Tensor] = field(default_factory=dict)
    lot: Callable[[Mapping[str, Tensor], Streams], Mapping[str, Tensor]] | None = None

    def to(self, device: torch.device | str) -> Frame:
        """Move masks and conditions."""
        masks = {k: v.to(device) for k, v in self.masks.items()}
        condition = {k: v.to(device) for k, v in self.condition.items()}
        return Frame(self.shapes, masks, condition, self.lot)

    def drawn(self, streams: Streams) -> Mapping[str, Tensor]:
        """Return the condition after the draw by lot, which takes no numbers of `streams` itself.

        Args:
            streams: Streams of the samples.
        """
        if self.lot is None:
            return self.condition
        own = Streams(streams.seed, streams.index, f"{streams.purpose} lot")
        return {**self.condition, **self.lot(self.condition, own)}


def concatenate(states: Sequence[State]) -> State:
    """Join batches of equal element shapes along the batch dimension.

    Raises:
        SciflowError: No state was given.
    """
    if not states:
        raise expected("states", [], "at least one")
    parts = zip(*(state._parts() for state in states), strict=True)
    return State(*({k: torch.cat([p[k] for p in part]) for k in part[0]} for part in parts))


def _flatten(state: State) -> tuple[list[dict[str, Tensor]], None]:
    return list(state._parts()), None


def _unflatten(parts: Any, _: None) -> State:
    return State(*parts)


_pytree.register_pytree_node(State, _flatten, _unflatten, serialized_type_name="sciflow.State")
