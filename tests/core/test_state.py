"""The state: a frozen mapping, a pytree, and the rule by which a value per sample meets a tensor per element."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree

from sciflow import SciflowError, State
from sciflow.shapes import expand, per_sample
from sciflow.state import Frame, concatenate


def example(batch: int = 3) -> State:
    x = torch.arange(batch * 4.0).reshape(batch, 4)
    labels = torch.arange(batch).unsqueeze(1)
    mask = x > 1
    return State({"x": x, "labels": labels}, {"x": mask}, {"c": x[:, :1] + 0.5})


def same(a: State, b: State) -> bool:
    parts = zip(a._parts(), b._parts(), strict=True)
    return all(p.keys() == q.keys() and all(torch.equal(p[k], q[k]) for k in p) for p, q in parts)


def test_expand_aligns_from_the_left() -> None:
    like = torch.zeros(2, 3, 4)
    assert (expand(torch.tensor([1.0, 2.0]), like) + like)[1].eq(2).all()
    per_row = torch.arange(6.0).reshape(2, 3)
    assert torch.equal((expand(per_row, like) + like)[..., 2], per_row)
    assert torch.equal(per_sample(like + 1), torch.full((2,), 12.0))


def test_a_state_is_a_mapping_that_replaces_and_never_changes() -> None:
    state = example()
    other = state.replace(x=state["x"] + 1).with_condition(d=torch.ones(3))
    assert list(state) == ["x", "labels"] and len(state) == 2 and state.batch_size == 3
    assert same(state, example())
    assert torch.equal(other["x"], state["x"] + 1) and torch.equal(
        other["labels"], state["labels"]
    )
    assert set(other.condition) == {"c", "d"} and set(state.condition) == {"c"}
    assert other.mask("x") is state.mask("x") and state.mask("labels") is None
    with pytest.raises(TypeError):
        state["x"] = torch.zeros(1)  # type: ignore[index]


def test_the_pytree_holds_fields_masks_and_condition() -> None:
    state = example()
    leaves, spec = _pytree.tree_flatten(state)
    assert len(leaves) == 4
    assert same(_pytree.tree_unflatten(leaves, spec), state)
    doubled = _pytree.tree_map_only(torch.Tensor, lambda v: v * 2, state.replace())
    assert torch.equal(doubled["x"], 2 * state["x"])


def test_concatenation_undoes_selection() -> None:
    state = example(5)
    parts = [state.select(slice(0, 2)), state.select(torch.tensor([2, 3, 4]))]
    assert same(concatenate(parts), state)
    with pytest.raises(SciflowError, match="at least one"):
        concatenate([])


def test_casting_leaves_labels_and_masks_alone() -> None:
    state = example().to(dtype=torch.float64)
    assert state["x"].dtype == state.condition["c"].dtype == torch.float64
    assert state["labels"].dtype == torch.int64 and state.mask("x").dtype == torch.bool
    frame = Frame({"x": (4,)}, state.masks, state.condition).to("cpu")
    assert torch.equal(frame.masks["x"], state.masks["x"])
