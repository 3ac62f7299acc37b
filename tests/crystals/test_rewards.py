"""Rewards by name, and wishes in words."""

from __future__ import annotations

import numpy as np
import pytest

from sciflow.domains.crystals import Crystal, rewards, wishes
from sciflow.errors import SciflowError
from sciflow.model import default, load
from sciflow.runtime.generate import generate

SALT = [[0, 0, 0], [0.5, 0.5, 0.5]]


def cell(*lengths: float) -> Crystal:
    return Crystal.from_parameters(["Cs", "Cl"], SALT, lengths)


def test_a_crystal_system_counts_by_tolerance() -> None:
    cubic, tetragonal = cell(4.0, 4.0, 4.0), cell(4.0, 4.0, 4.6)
    assert rewards.of_system("cubic", cubic) == 1.0
    assert rewards.of_system("tetragonal", tetragonal) == 1.0
    assert rewards.of_system("cubic", tetragonal) == 0.0
    between = rewards.of_system("cubic", cell(4.0, 4.0, 4.06))
    assert 0.0 < between < 1.0
    assert rewards.of_space_group(221, cubic) == 1.0
    assert rewards.of_space_group(225, cubic) == 0.0


def test_named_rewards_take_a_crystal() -> None:
    known = rewards.named()
    assert {"dense", "light", "cubic"} <= set(known)
    values = {
        name: reward(cell(4.0, 4.0, 4.0)) for name, reward in known.items() if "-" not in name
    }
    assert np.isfinite(list(values.values())).all()
    assert values["dense"] == -values["light"] > 0


def test_steering_by_name_gives_more_of_it() -> None:
    model = load(default("crystals"))
    options = {"formula": "SrTiO3"}

    def mean(reward: object) -> float:
        made = generate(model, 8, steps=6, options=options, reward=reward, device="cpu")  # type: ignore[arg-type]
        return float(np.mean([crystal.density for crystal in made.objects]))

    steered = {"name": "dense", "count": 4, "keep": "best", "scale": 50.0}
    assert mean(steered) > mean(None)


def test_wishes_in_words() -> None:
    names = ("O", "Sr", "Ti")
    assert wishes.allowed(None, names) is None
    assert wishes.allowed("Ti, O", names) == [0, 2]
    assert wishes.contents("SrTiO3", None, names, 10) == {8: 3, 22: 1, 38: 1}
    assert wishes.contents("SrTiO3", 10, names, 10) == {8: 6, 22: 2, 38: 2}
    for wish, wrong in (("Fe", "'Fe'"), ("", "at least one")):
        with pytest.raises(SciflowError, match=wrong):
            wishes.allowed(wish, names)
    for formula, size, wrong in (
        ("SrTiO3", 7, "multiple"),
        ("FeO", None, "'Fe'"),
        ("Xx", None, "'Xx'"),
        ("Sr2Ti2O6", None, "8 atoms|10 atoms"),
    ):
        with pytest.raises(SciflowError, match=wrong):
            wishes.contents(formula, size, names, 9)


def test_training_names_what_it_leaves_out(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A file with good and bad crystals trains on the good ones and counts the others by reason."""
    from sciflow.domains.crystals import Adapter, files

    path = tmp_path / "mixed.cif"
    close = Crystal.from_parameters(["Cs", "Cl"], [[0, 0, 0], [0.01, 0, 0]], [4.0] * 3)
    files.write([cell(4.0, 4.0, 4.0), cell(4.1, 4.1, 4.1), close, cell(4.2, 4.2, 4.2)], path)
    text = path.read_text()
    first = text.index("data_", 10)
    path.write_text(text[:first].replace("Cs ", "Xx ") + text[first:])
    adapter, data = Adapter.from_data({"train": str(path), "max_sites": 2}, {})
    assert len(data) == 2
    assert sum(data.left_out.values()) == 2
    assert "atoms too close" in data.left_out
    assert any("Xx" in reason for reason in data.left_out)
    assert adapter.elements == ("Cl", "Cs")
