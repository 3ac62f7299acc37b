"""Candidates made of known crystals: the nearest first, of the asked composition, and the model's own behind them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crystals.test_adapter import adapter

from sciflow.domains.crystals import Crystal, predict
from sciflow.domains.crystals.duplicates import reduced, same
from sciflow.domains.crystals.templates import Templates
from sciflow.errors import SciflowError
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import generate

SITES = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


def perovskite(a: str, b: str, x: str, side: float) -> Crystal:
    return Crystal.from_parameters([a, b, x, x, x], SITES, [side] * 3)


def wurtzite(a: str, b: str) -> Crystal:
    places = [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.38], [2 / 3, 1 / 3, 0.88]]
    return Crystal.from_parameters([a, a, b, b], places, [3.2, 3.2, 5.2], [90, 90, 120])


KNOWN = [
    wurtzite("Zn", "O"),
    perovskite("Nb", "K", "F", 4.0),
    perovskite("Ca", "Ti", "O", 3.84),
    perovskite("Ba", "Zr", "O", 4.2),
]
"""For SrTiO3, CaTiO3 is nearest, BaZrO3 is the same structure; in the fluoride the cations change roles."""


def equal(one: Crystal, other: Crystal) -> bool:
    a, b = reduced(one), reduced(other)
    assert a is not None and b is not None
    return one.composition == other.composition and same(a, b)


def model() -> Model:
    own = adapter("bayes")
    return Model(own, own.network().eval(), Sampling(steps=3), {}, "")


def test_templates_are_different_crystals_of_the_asked_composition_the_nearest_first() -> None:
    made = Templates.of(KNOWN).candidates("SrTiO3")
    assert len(made) == 2
    assert equal(made[0], perovskite("Sr", "Ti", "O", 3.9))
    assert equal(made[1], perovskite("Ti", "Sr", "O", 3.9))
    assert not equal(made[0], made[1])


def test_a_crystal_of_the_very_composition_comes_back_as_it_is() -> None:
    made = Templates.of(KNOWN).candidates({8: 3, 20: 1, 22: 1})
    assert equal(made[0], KNOWN[2])
    np.testing.assert_allclose(made[0].volume, KNOWN[2].volume)


def test_a_cell_of_another_size_is_no_template() -> None:
    assert len(Templates.of(KNOWN).candidates("Sr2O2")[0]) == 4
    with pytest.raises(SciflowError, match=re.escape("in the ratio 1:1 in a cell of 2 sites")):
        Templates.of(KNOWN).candidates("SrO")


def test_samples_begin_with_the_templates_whatever_the_batch() -> None:
    own, known = model(), Templates.of(KNOWN)
    options = {"formula": "SrTiO3", "like": known}
    made = generate(own, 3, seed=1, options=options).objects
    templates = known.candidates("SrTiO3")
    assert [len(c) for c in made] == [5] * 3
    for sample, template in zip(made, templates, strict=False):
        assert equal(sample, template)
        np.testing.assert_allclose(sample.volume, template.volume, rtol=1e-4)
    free = generate(own, 3, seed=1, options={"formula": "SrTiO3"}).objects
    for sample, other in zip(made[2:], free[2:], strict=True):
        np.testing.assert_allclose(sample.lattice, other.lattice, atol=1e-5)
    alone = generate(own, 3, seed=1, options=options, batch_size=1).objects
    for sample, other in zip(made, alone, strict=True):
        np.testing.assert_allclose(sample.lattice, other.lattice, atol=1e-4)


def test_predictions_begin_with_the_templates() -> None:
    found = predict("SrTiO3", 4, model(), like=KNOWN)
    for prediction, template in zip(found, Templates.of(KNOWN).candidates("SrTiO3"), strict=False):
        assert equal(prediction, template)
    structures = [crystal.to_structure() for crystal in KNOWN]
    assert equal(predict("SrTiO3", 1, model(), like=structures)[0], found[0])


def test_a_file_is_read_and_what_is_wrong_in_it_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "known.csv"
    cif = KNOWN[2].to_structure().to(fmt="cif").replace('"', '""')
    path.write_text(f'cif\n"{cif}"\nno crystal\n')
    with pytest.warns(UserWarning, match=r"known.csv: 1 of 2 crystals are left out; number 2"):
        made = generate(model(), 1, options={"formula": "SrTiO3", "like": str(path)}).objects
    assert equal(made[0], perovskite("Sr", "Ti", "O", 3.9))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"like": "nowhere.cif"}, "nowhere.cif: No such file"),
    ({"like": []}, "like: got 'no crystals'"),
    ({"like": 3}, "like: got 'int'"),
    ({"like": [KNOWN[0], "SrTiO3"]}, "like: crystal 2: got"),
    ({"like": [perovskite("Ca", "Ti", "O", 0.5)]}, "like: crystal 1: got"),
    ({"like": KNOWN[:1]}, "no crystal of 3 elements in the ratio 1:1:3 in a cell of 5 sites"),
    ({"like": KNOWN, "formula": None}, "like: got 'no formula'"),
    ({"like": KNOWN, "spacegroup": 221}, "like: got 'space group 221'"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_what_is_no_template_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SciflowError, match=re.escape(message)):
        generate(model(), 2, options={"formula": "SrTiO3", **options})
