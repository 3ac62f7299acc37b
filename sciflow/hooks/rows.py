"""Rows: taking and mixing samples of anything that a run carries along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..paths.base import Ends
from ..shapes import expand
from ..solvers.base import Predict
from ..state import State


def select(thing: Any, index: Tensor, count: int) -> Any:
    """Return the samples `index` of whatever holds tensors ``[count, ...]``; the rest of it stays as it is."""
    if isinstance(thing, Tensor):
        return thing[index] if thing.dim() and thing.shape[0] == count else thing
    if isinstance(thing, State):
        return thing.select(index)
    return _each(thing, lambda part: select(part, index, count))


def mix(where: Tensor, new: Any, old: Any) -> Any:
    """Return `new` where `where` (bool ``[B]``) holds and `old` elsewhere, in two things of one structure."""
    if isinstance(new, Tensor) and isinstance(old, Tensor):
        if new.dim() and new.shape[0] == where.shape[0] and new.shape == old.shape:
            return torch.where(expand(where, new), new, old)
        return new
    if isinstance(new, State):
        return new.replace(**{name: mix(where, x, old[name]) for name, x in new.items()})
    return _each(new, lambda one, two: mix(where, one, two), old)


def scatter(place: Tensor, part: Any, whole: Any) -> Any:
    """Return `whole` with the samples `place` (indices) replaced by those of `part`."""
    if isinstance(part, Tensor) and isinstance(whole, Tensor):
        if part.dim() and whole.dim() == part.dim() and part.shape[0] == place.shape[0]:
            return whole.index_copy(0, place, part)
        return part
    if isinstance(part, State):
        return whole.replace(**{name: scatter(place, x, whole[name]) for name, x in part.items()})
    return _each(part, lambda one, two: scatter(place, one, two), whole)


def _each(thing: Any, function: Any, *others: Any) -> Any:
    """Apply `function` to the parts of a thing, beside those of others of the same structure."""
    if isinstance(thing, Ends):  # also ends that form their parts when asked
        names = ("x1", "x0", "z")
        return Ends(
            *(function(getattr(thing, n), *(getattr(o, n) for o in others)) for n in names)
        )
    if isinstance(thing, Mapping):
        return {k: function(v, *(o[k] for o in others)) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return type(thing)(function(v, *(o[i] for o in others)) for i, v in enumerate(thing))
    if is_dataclass(thing) and not isinstance(thing, type):
        names = [f.name for f in fields(thing)]
        return replace(
            thing,
            **{n: function(getattr(thing, n), *(getattr(o, n) for o in others)) for n in names},
        )
    return thing


def remembering(
    predict: Predict, state: State, t: float, ends: Mapping[str, Ends] | None
) -> Predict:
    """Return `predict` with its answer at one state and time known already."""
    if ends is None:
        return predict

    def remembered(asked: State, time: float) -> Mapping[str, Ends]:
        return ends if asked is state and time == t else predict(asked, time)

    return remembered
