"""Relaxation and stability, by ASE's own potentials; CHGNet where it is installed."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from sciflow.domains import crystals
from sciflow.domains.crystals import Crystal, prediction, relaxation, stability
from sciflow.errors import SciflowError

FCC = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]


def copper(length: float = 3.8, wobble: float = 0.0, symbols: str = "Cu Cu Cu Cu") -> Crystal:
    places = np.array(FCC) + wobble * np.random.default_rng(0).normal(size=(4, 3))
    return Crystal.from_parameters(symbols.split(), places, [length] * 3)


class Broken(Calculator):
    """A calculator that fails, or answers with what is no number."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, raises: bool) -> None:
        super().__init__()
        self.raises = raises

    def calculate(self, atoms=None, properties=None, system_changes=None) -> None:  # type: ignore[no-untyped-def]
        if self.raises:
            raise RuntimeError("no parameters for this element\nand more")
        nothing = np.full((len(atoms), 3), math.nan)
        self.results = {"energy": math.nan, "forces": nothing, "stress": np.zeros(6)}


def test_relaxation_finds_the_lattice_and_the_sites() -> None:
    result = relaxation.relax(copper(3.8, 0.01), EMT(), force=0.01)
    assert result.converged
    assert not result.problem
    assert result.energy < result.start
    assert result.crystal.lengths == pytest.approx([3.59] * 3, abs=0.01)
    assert result.crystal.same(Crystal.of(result.crystal.to_ase()))
    apart = result.crystal.coordinates - result.crystal.coordinates[0] - np.array(FCC)
    assert np.abs(apart - np.round(apart)).max() < 0.01
    again = relaxation.relax(result.crystal, EMT(), force=0.01)
    assert again.steps <= 1
    assert "converged" in repr(again)


def test_a_fixed_lattice_stays() -> None:
    result = relaxation.relax(copper(3.7, 0.02), EMT(), lattice=False, force=0.02)
    assert result.converged
    assert result.crystal.lengths == pytest.approx([3.7] * 3)


def test_what_does_not_converge_says_so() -> None:
    result = relaxation.relax(copper(3.9, 0.03), EMT(), steps=2, force=1e-4)
    assert not result.converged
    assert result.steps == 2
    assert result.problem == "not converged in 2 steps"


@pytest.mark.parametrize("raises", [True, False])
def test_a_calculator_that_breaks_down_is_named(raises: bool) -> None:
    bad = Crystal.from_parameters(["Cu", "Cu"], [[0, 0, 0], [0.01, 0, 0]], [3.0] * 3)
    made = relaxation.relax_all([copper(), bad], Broken(raises))
    assert [math.isnan(result.energy) for result in made] == [True, True]
    assert made[1].problem == "atoms too close"
    assert made[0].crystal.same(copper())
    assert "no parameters" in made[0].problem if raises else "finite" in made[0].problem
    assert "\n" not in made[0].problem


def test_what_cannot_be_relaxed_is_one_error() -> None:
    bad = Crystal.from_parameters(["Cu", "Cu"], [[0, 0, 0], [0.01, 0, 0]], [3.0] * 3)
    with pytest.raises(SciflowError, match="atoms too close"):
        relaxation.relax(bad, EMT())
    with pytest.raises(SciflowError, match="force > 0"):
        relaxation.relax(copper(), EMT(), force=0.0)


def test_references_take_up_a_constant_for_each_element() -> None:
    """A calculator off by a number per element gives the right energies of formation."""
    rng = np.random.default_rng(1)
    made = [copper(symbols=" ".join(rng.choice(["Cu", "Au", "Ni"], 4))) for _ in range(30)]
    formation = rng.normal(size=30)
    offset = {29: -3.0, 79: 1.0, 28: 0.5}
    energies = [
        f + sum(offset[int(z)] for z in c.species) / 4
        for f, c in zip(formation, made, strict=True)
    ]
    found = stability.References.fit([*made, made[0]], [*formation, math.nan], [*energies, 0.0])
    assert found.over == 30
    assert found.error < 0.05
    assert found.formation(made[0], energies[0]) == pytest.approx(formation[0], abs=0.05)
    assert math.isnan(found.formation(copper(symbols="Cu Cu Cu Ag"), 0.0))


def test_references_survive_a_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = stability.References({29: -3.5, 8: 1.25}, 0.03, 10)
    found.save(tmp_path / "references.json")
    assert stability.References.load(tmp_path / "references.json") == found
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(SciflowError, match="reference energies"):
        stability.References.load(tmp_path / "broken.json")


def test_hull_of_three_phases() -> None:
    """CuAu at -.4 and Cu3Au at -.1: the mixture of Cu and CuAu is lower at 3:1."""
    half, quarter = copper(symbols="Cu Cu Au Au"), copper(symbols="Cu Cu Cu Au")
    hull = stability.Hull.of([half, quarter, copper()], [-0.4, -0.1, 0.0], [0.0, 0.1, 0.0])
    assert hull.at({29: 1, 79: 1}) == pytest.approx(-0.4)
    assert hull.at({29: 3, 79: 1}) == pytest.approx(-0.2)
    assert hull.at({29: 7, 79: 1}) == pytest.approx(-0.1)
    assert hull.at({29: 2}) == 0.0
    assert hull.at({29: 1, 28: 1}) == 0.0  # nothing known but the elements
    assert hull.at({29: 2, 79: 2, 28: 4}) == pytest.approx(-0.2)
    assert hull.above({29: 3, 79: 1}, -0.25) == pytest.approx(-0.05)
    assert math.isnan(hull.above({29: 3, 79: 1}, math.nan))


def test_the_two_counts_of_sun_are_kept_apart() -> None:
    known, new = copper(3.6), copper(3.9, symbols="Cu Cu Cu Au")
    bad = Crystal.from_parameters(["Cu", "Cu"], [[0, 0, 0], [0.01, 0, 0]], [3.0] * 3)
    single = relaxation.relax(new, EMT()).energy
    # Cu3Au 0.05 eV above the hull: stable by MatterGen's count only.
    base = relaxation.relax(known, EMT()).energy
    references = stability.References({29: base, 79: 4 * (single - 0.05) - 3 * base}, 0.0, 2)
    hull = stability.Hull([])
    found = stability.evaluate(
        [known, new, new, bad], hull, references, [copper(3.6)], EMT(), workers=1
    )
    rows = found.table
    assert [row.unique for row in rows] == [True, True, False, False]
    assert [row.novel for row in rows] == [False, True, False, False]
    assert rows[1].above_hull == pytest.approx(0.05, abs=1e-3)
    assert rows[3].problem == "atoms too close"
    assert found.figures["sun_mattergen"] == 0.25
    assert found.figures["sun_zero"] == 0.0
    assert found.figures["stable_0.1"] == 0.75
    assert found.figures["relaxed"] == 0.75
    assert "sun_mattergen" in found.to_text()
    without = stability.evaluate([known], hull, references, None, EMT(), workers=1)
    assert "sun_zero" not in without.figures
    assert stability.evaluate([], hull, references, None, EMT()).figures["relaxed"] is None


@pytest.mark.data
def test_hull_of_the_materials_project(data_dir) -> None:  # type: ignore[no-untyped-def]
    """The hull gives the energies above it back that the data state, at the points that made it."""
    from sciflow.domains.crystals import datasets

    table = datasets.table("mp20:val")
    stated = np.array(table.properties["e_above_hull"])
    energy = np.array(table.properties["formation_energy_per_atom"])
    hull = stability.Hull.of(table.crystals, energy.tolist(), stated.tolist())
    chosen = np.flatnonzero(np.isfinite(stated))[:20]
    found = [hull.above(table.crystals[k].composition, energy[k]) for k in chosen]
    assert np.allclose(found, stated[chosen], atol=2e-3)


def test_prediction_in_three_lines() -> None:
    candidates = crystals.predict("SrTiO3", n=6, steps=8)
    assert 1 <= len(candidates) <= 6
    assert {candidate.formula for candidate in candidates} == {"SrTiO3"}
    by_volume = crystals.predict(
        "SrTiO3", n=6, steps=8, energy=lambda made: [crystal.volume for crystal in made]
    )
    volumes = [crystal.volume for crystal in by_volume]
    assert volumes == sorted(volumes)
    assert sum(map(len, prediction.grouped([copper(), copper(), copper(5.0)]))) == 3


def test_a_formula_that_no_model_knows_is_one_error() -> None:
    with pytest.raises(SciflowError, match="Xx"):
        crystals.predict("XxO2")
    with pytest.raises(SciflowError, match="100 atoms"):
        crystals.predict("Sr20Ti20O60")


@pytest.mark.skipif(importlib.util.find_spec("chgnet") is None, reason="needs the extra mlip")
def test_chgnet_relaxes_rock_salt() -> None:
    salt = Crystal.from_parameters(
        ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], [4.2] * 3, [60.0] * 3
    )
    result = crystals.relax(salt, steps=60)
    assert result.converged
    assert result.energy < result.start
    assert 3.9 < result.crystal.lengths[0] < 4.1
