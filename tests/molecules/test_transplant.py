"""Weights for another vocabulary: what was known answers as before, what is new begins as its like."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sciflow
from sciflow.domains.molecules import Molecules, Vocabulary
from sciflow.domains.molecules.transplant import group, likeness
from sciflow.errors import SciflowError
from sciflow.state import State
from sciflow.streams import Streams

OLD = Vocabulary(("C", "N", "O", "F"))
NEW = Vocabulary(("O", "C", "Cl", "N", "F", "N+", "O-", "S", "Br", "P+", "Si"))


def adapter(vocabulary: Vocabulary, most: int, **options: Any) -> Molecules:
    size = len(vocabulary)
    return Molecules(
        vocabulary,
        {5: 1, most: 3},
        [1 / size] * size,
        [0.7, 0.2, 0.09, 0.01],
        network={"name": "graph-transformer", "width": 16, "edge_width": 8, "heads": 2, **options},
    )


@pytest.mark.parametrize(
    ("symbol", "charge", "wanted"),
    [("C", 0, 4), ("N", 1, 4), ("O", -1, 7), ("Br", 0, 7), ("I", 0, 7), ("S", 1, 5), ("H", 0, 1)]
    + [("Na", 0, 1), ("Se", 0, 6), ("Sn", 0, 4), ("Fe", 0, 8), ("At", 0, 7), ("O", -2, 8)],
)
def test_groups(symbol: str, charge: int, wanted: int) -> None:
    assert group(symbol, charge) == wanted


def test_the_like_of_each_type() -> None:
    like = [OLD.names[label] for label in likeness(NEW, OLD)]
    assert like == ["O", "C", "F", "N", "F", "C", "F", "O", "F", "C", "C"]


@pytest.mark.parametrize(
    ("known", "more"),
    [
        ({}, {}),
        ({}, {"alternation": True}),
        ({"alternation": True}, {"alternation": True, "paths": True}),
    ],
)
def test_known_atoms_answer_as_before(known: dict[str, bool], more: dict[str, bool]) -> None:
    torch.manual_seed(0)
    old, new = adapter(OLD, 9, **known), adapter(NEW, 14, **more)
    before, after = old.network().eval(), new.network().eval()
    with torch.no_grad():
        for parameter in before.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    after.load_state_dict(new.carried(old, before.state_dict()) | {})
    frame = old.frame(Streams.range(0, 0, 6, "sizes"))
    state = old.system().prior(frame.shapes, Streams.range(0, 0, 6, ""), frame.masks, {})
    label = torch.tensor([NEW.names.index(name) for name in OLD.names])
    shown = State({**state, "atoms": label[state["atoms"]]}, state.masks)
    t = torch.linspace(0.1, 0.9, 6)
    # The same structural features: the normal valences are those of the types.
    one, two = before(state, t), after(shown, t)
    assert torch.allclose(one["bonds"], two["bonds"], atol=1e-5)
    assert torch.allclose(one["atoms"], two["atoms"][..., label], atol=1e-5)
    rest = [k for k in range(len(NEW)) if k not in label]
    assert two["atoms"][..., rest].abs().max() == 0


def test_inputs_of_the_old_network_come_first() -> None:
    old, new = adapter(OLD, 9, paths=True), adapter(NEW, 14, alternation=True, paths=True)
    with pytest.raises(SciflowError, match=r"inputs.*'alternation', 'paths'.*at first.*'paths'"):
        new.carried(old, old.network().state_dict())


def test_a_vocabulary_must_hold_the_known_types() -> None:
    with pytest.raises(SciflowError, match="or one with more atom types"):
        Molecules.from_start(sciflow.load("qm9").adapter, {"vocabulary": ["C", "N"]}, {})
