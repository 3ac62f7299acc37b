"""Crystals in and out of the encoded batch, and the tables of elements."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sciflow.domains.crystals import Crystal, Crystals, elements, encode
from sciflow.errors import SciflowError

PEROVSKITE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
SRTIO3 = Crystal.from_parameters(["Sr", "Ti", "O", "O", "O"], PEROVSKITE, [3.905] * 3)
DIAMOND = Crystal.from_parameters(["C", "C"], [[0, 0, 0], [0.25] * 3], [2.527] * 3, [60] * 3)
TRICLINIC = Crystal.from_parameters(
    ["Na", "Cl", "Na"],
    [[0.1, -0.2, 1.3], [0.4, 0.5, 0.6], [0.9999999999, 0, 0]],
    [4, 5, 6],
    [80, 95, 110],
)


def test_encoding_and_decoding_gives_the_crystals_again() -> None:
    batch = encode([SRTIO3, DIAMOND, TRICLINIC]).crystals
    assert batch.species[1].tolist() == [6, 6, -1, -1, -1]
    assert ((batch.coordinates >= 0) & (batch.coordinates < 1)).all()
    for before, after in zip([SRTIO3, DIAMOND, TRICLINIC], batch.to_crystals(), strict=True):
        assert before.same(after, atol=1e-5)


def test_known_densities() -> None:
    assert SRTIO3.density == pytest.approx(5.12, abs=0.01)
    assert DIAMOND.density == pytest.approx(3.50, abs=0.02)
    assert encode([DIAMOND]).crystals.volume_per_site().item() == pytest.approx(
        DIAMOND.volume / 2, rel=1e-6
    )


def test_pymatgen_and_ase_agree_on_every_distance() -> None:
    ase = pytest.importorskip("ase")
    structure, atoms = TRICLINIC.to_structure(), TRICLINIC.to_ase()
    theirs = atoms.get_all_distances(mic=True)
    assert isinstance(atoms, ase.Atoms)
    np.testing.assert_allclose(structure.distance_matrix, theirs, atol=1e-10)
    assert Crystal.of(structure).same(TRICLINIC, atol=1e-9)
    assert Crystal.of(atoms).same(TRICLINIC, atol=1e-9)


def test_niggli_cell_is_the_same_crystal_in_another_cell() -> None:
    skewed = SRTIO3.to_structure()
    skewed.make_supercell([[1, 0, 0], [2, 1, 0], [1, -1, 1]], to_unit_cell=False)
    cell = Crystal.of(skewed).niggli()
    np.testing.assert_allclose(cell.lengths, 3.905, atol=1e-6)
    np.testing.assert_allclose(cell.angles, 90, atol=1e-6)
    np.testing.assert_allclose(
        np.sort(cell.to_structure().distance_matrix, None),
        np.sort(SRTIO3.to_structure().distance_matrix, None),
        atol=1e-6,
    )
    assert encode([skewed], niggli=True).crystals.to_crystals()[0].same(cell, atol=1e-4)


def test_files_come_back_and_training_needs_torch_alone(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    encode([SRTIO3, DIAMOND], properties={"gap": [3.2, float("nan")]}).crystals.save(path)
    again = Crystals.load(path)
    assert again.to_crystals()[0].same(SRTIO3)
    assert again.properties["gap"][0] == pytest.approx(3.2) and again.properties["gap"][1].isnan()
    program = (
        "import sys\nfrom sciflow.domains.crystals.structures import Crystals\n"
        f"print(Crystals.load({str(path)!r}).matrix().shape, 'pymatgen' in sys.modules, 'scipy' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "torch.Size([2, 3, 3]) False False"


def test_what_does_not_fit_is_counted_and_named() -> None:
    flat = Crystal(DIAMOND.species, DIAMOND.coordinates, np.diag([1.0, 1.0, 0.0]))
    result = encode([SRTIO3, DIAMOND, flat, "text"], max_sites=4)
    assert result.kept == (1,)
    assert result.skipped["more than 4 sites"] == 1
    assert result.skipped["the lattice is flat"] == 1
    assert len(result.skipped) == 3
    partial = SRTIO3.to_structure()
    partial.replace(0, {"Sr": 0.5, "Ba": 0.5})
    with pytest.raises(SciflowError, match="occupied by one element"):
        encode([partial])
    with pytest.raises(SciflowError, match="element O is not"):
        encode([SRTIO3], species=[38, 22])
    with pytest.raises(SciflowError, match="at least one"):
        encode([])


def test_selecting_cuts_to_the_largest() -> None:
    batch = encode([SRTIO3, DIAMOND, DIAMOND]).crystals
    part = batch.select(torch.tensor([2, 1]))
    assert part.max_sites == 2 and part.to_crystals()[1].same(DIAMOND)
    assert batch.size_counts() == {2: 2, 5: 1} and batch.elements() == (6, 8, 22, 38)


def test_formulas() -> None:
    assert elements.parse("Ca(OH)2") == {1: 2, 8: 2, 20: 1}
    assert elements.parse("SrTiO3") == SRTIO3.composition
    assert SRTIO3.formula == "SrTiO3"
    assert elements.formula(elements.reduced(elements.parse("O12Ti4Sr4"))) == "SrTiO3"
    assert elements.parse("DO") == {1: 1, 8: 1}
    for bad in ("", "Xx2", "Sr(Ti", "Ti)O", "sr", "Fe0.5O", "H0"):
        with pytest.raises(SciflowError):
            elements.parse(bad)
