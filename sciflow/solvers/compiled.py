r"""Compiled steps: any solver, with one graph for all steps of a trajectory.

`torch.compile` makes a new graph for every new Python number. So the scalars of a step become tensors without
dimensions, but for those that are 0 or 1, which say what the step is made of. Most steps are then made alike and share
one graph; the few that are not (the first of a multistep scheme, the last of most) run as they are. Random numbers are
the same too: the state of the streams goes into the graph as a number.
"""

from __future__ import annotations

import inspect
import math
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..paths.base import Ends
from ..state import State
from ..streams import _LOW, Streams, philox
from ..system import Component, Moment, System
from .base import Predict, Solver, Step


def _structure(value: Any) -> Any:
    """What a step is made of, without its numbers; steps of equal structure share a graph."""
    if isinstance(value, float):
        return value if value in (0.0, 1.0) or not math.isfinite(value) else float
    if isinstance(value, Mapping):
        return tuple((k, _structure(v)) for k, v in value.items())
    if isinstance(value, (tuple, list)):
        return tuple(_structure(v) for v in value)
    if is_dataclass(value) and not isinstance(value, (type, Solver)):
        return type(value), tuple(_structure(getattr(value, f.name)) for f in fields(value))
    return value if value.__hash__ else id(value)


def _lifted(value: Any, system: System, like: Tensor) -> Any:
    """A step with its numbers, but 0 and 1, as tensors; times with what they mean for the network."""
    if isinstance(value, float):
        if value in (0.0, 1.0) or not math.isfinite(value):
            return value
        return torch.tensor(value, dtype=like.dtype, device=like.device)
    if isinstance(value, Mapping):
        return {k: _lifted(v, system, like) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_lifted(v, system, like) for v in value)
    if is_dataclass(value) and not isinstance(value, (type, Solver)):
        other = object.__new__(type(value))
        for f in fields(value):
            part = getattr(value, f.name)
            if f.name == "t" and isinstance(part, float):
                below = min(part, 1 - torch.finfo(like.dtype).eps / 2)
                t = torch.tensor(below, dtype=like.dtype, device=like.device)
                weights = {
                    name: None if w is None else tuple(_lifted(w, system, like))
                    for name, w in system.weights(part).items()
                }
                part = Moment(t, weights)  # type: ignore[arg-type]
            else:
                part = _lifted(part, system, like)
            object.__setattr__(other, f.name, part)
        return other
    return value


class _Traced(Streams):
    """Streams whose place is a tensor, so that a graph holds for every seed and draw."""

    def __init__(self, index: Tensor, key: tuple[Tensor, Tensor], place: Tensor) -> None:
        self.index, self.place, self.key, self.draws = index, place, key, 0

    def words(self, index: Tensor, blocks: int, draws: Sequence[int]) -> Tensor:
        index = index.unsqueeze(1)
        block = torch.arange(blocks, device=index.device)
        place = torch.stack([self.place + draw for draw in draws])[:, None, None]
        counter = [block, place, index & _LOW, (index >> 32) & _LOW]
        return torch.stack(philox(counter, self.key))  # type: ignore[arg-type]


def _advance(
    solver: Solver,
    system: System,
    predict: Predict,
    parts: tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]],
    step: Step,
    carry: Any,
    index: Tensor,
    key: tuple[Tensor, Tensor],
    place: Tensor,
) -> tuple[dict[str, Tensor], Any, int]:
    streams = _Traced(index, key, place)
    state, carry = solver.step(system, predict, State(*parts), step, carry, streams)
    return {name: state[name] for name in system}, carry, streams.draws


def _own_graphs() -> Callable[..., Any]:
    """A compiled `_advance` with a cache of its own: graphs are kept, and counted, for each code object."""
    plain = inspect.unwrap(_advance)
    code = plain.__code__.replace(co_name="_advance")
    own = types.FunctionType(code, plain.__globals__, "_advance", None, plain.__closure__)
    return torch.compile(own, fullgraph=True, dynamic=False)


class _Alike:
    """A step, and what it is in the graph that it shares with most of the trajectory."""

    def __init__(self, plain: Step, shared: bool) -> None:
        self.plain, self.shared = plain, shared
        self.lifted: dict[Any, Step] = {}

    def lift(self, system: System, like: Tensor) -> Step:
        """Return the step for states of the type and on the device of `like`."""
        key = like.dtype, like.device
        if key not in self.lifted:
            self.lifted[key] = _lifted(self.plain, system, like)
        return self.lifted[key]


@dataclass(frozen=True)
class Compiled(Solver):
    """A solver whose steps, the network included, are compiled; worth it for many steps of a cheap network.

    Hooks that wrap the network or the prediction are compiled along. The network and the hooks must be such that
    `torch.compile` makes one graph of them. Keep the object: its graphs hold for later runs of the same system,
    network and shapes.

    Args:
        inner: The solver; an adaptive one (see `Dopri5`) decides as it goes and can't be compiled.
    """

    inner: Solver
    _graphs: Callable[..., Any] = field(
        default_factory=_own_graphs, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name in ("order", "calls", "least", "needs", "own_times"):
            object.__setattr__(self, name, getattr(self.inner, name))

    def lacks(self, component: Component) -> str:
        """What the solver lacks, and a decision at every step."""
        if self.inner.own_times or hasattr(self.inner, "rtol"):
            return (
                "an adaptive solver decides as it goes, which can't be compiled; use it as it is"
            )
        return self.inner.lacks(component)

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Lift the steps of which there are most alike."""
        steps = self.inner.plan(system, knots)
        structures = [_structure(step) for step in steps]
        most = Counter(structures).most_common(1)[0][0]
        return [
            replace(step, extra=_Alike(step, own == most))
            for step, own in zip(steps, structures, strict=True)
        ]

    def start(self) -> Any:
        """The carry of the solver."""
        return self.inner.start()

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Take a compiled step where it is one of many alike, else the solver's own."""
        alike: _Alike = step.extra
        like = next((x for x in state.values() if x.is_floating_point()), None)
        if not alike.shared or like is None:
            # Formed, as in the graph, which is made for one structure of what is remembered.
            return self.inner.step(
                system,
                lambda *where: {k: Ends(v.x1, v.x0, v.z) for k, v in predict(*where).items()},
                state,
                alike.plain,
                carry,
                streams,
            )
        parts = (dict(state), state.masks, state.condition)
        key = tuple(torch.tensor(k) for k in streams._key)
        moved, carry, drawn = self._graphs(
            self.inner,
            system,
            predict,
            parts,
            alike.lift(system, like),
            carry,
            streams.index,
            key,
            torch.tensor(streams.draws),
        )
        streams.draws += drawn
        return state.replace(**moved), carry
