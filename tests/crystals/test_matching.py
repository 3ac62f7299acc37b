"""Match rate and RMSE: the verdicts are pymatgen's, the totals are their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sciflow.domains.crystals import Crystal, alignment, matching
from sciflow.domains.crystals.alignment import LOOSE, STRICT, Tolerances
from sciflow.errors import SciflowError

PEROVSKITE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
SRTIO3 = Crystal.from_parameters(["Sr", "Ti", "O", "O", "O"], PEROVSKITE, [3.905] * 3)
SWAPPED = Crystal.from_parameters(["Ti", "Sr", "O", "O", "O"], PEROVSKITE, [3.905] * 3)
NACL = Crystal.from_parameters(["Na", "Cl"], [[0, 0, 0], [0.5] * 3], [3.99] * 3, [60] * 3)
QUARTZ = Crystal.from_parameters(
    ["Si"] * 3 + ["O"] * 6,
    [
        [0.47, 0, 0],
        [0, 0.47, 2 / 3],
        [0.53, 0.53, 1 / 3],
        [0.414, 0.267, 0.119],
        [0.733, 0.147, 0.786],
    ]
    + [[0.853, 0.586, 0.452], [0.267, 0.414, 0.881], [0.147, 0.733, 0.214], [0.586, 0.853, 0.548]],
    [4.916, 4.916, 5.405],
    [90, 90, 120],
)
SOME = (SRTIO3, SWAPPED, NACL, QUARTZ)


def disturbed(crystal: Crystal, rng: np.random.Generator, noise: float) -> Crystal:
    """The crystal rotated, strained, shifted, its sites moved and put in another order, in a skewed cell."""
    order = rng.permutation(len(crystal))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    cell = np.eye(3, dtype=int)
    cell[0, 1], cell[2, 0] = rng.integers(-1, 2, size=2)
    lattice = crystal.lattice @ turn * (1 + noise * rng.normal(size=(3, 3)))
    places = crystal.coordinates + noise * rng.normal(size=(len(crystal), 3)) + rng.random(3)
    return Crystal(crystal.species[order], (places @ np.linalg.inv(cell))[order], cell @ lattice)


def scattered(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    return Crystal(crystal.species, rng.random((len(crystal), 3)), crystal.lattice)


def verdict(a: Crystal, b: Crystal, tolerances: Tolerances) -> float | None:
    return alignment.displacement(alignment.reduce(a), alignment.reduce(b), tolerances)


@pytest.mark.parametrize("tolerances", [LOOSE, STRICT])
def test_every_verdict_is_that_of_pymatgen(tolerances: Tolerances) -> None:
    """``get_rms_dist`` at the tolerances of structure prediction, ``fit`` at those of novelty."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(tolerances.ltol, tolerances.stol, tolerances.angle_tol)
    rng = np.random.default_rng(0)
    pairs = [(disturbed(c, rng, noise), c) for c in SOME for noise in (0.0, 0.05, 0.12)]
    pairs += [(scattered(c, rng), c) for c in SOME]
    pairs += [(a, b) for a in SOME[:2] for b in SOME[:2]]
    kinds = set()
    for a, b in pairs:
        structures = a.to_structure(), b.to_structure()
        first, second = alignment.reduce(a), alignment.reduce(b)
        if tolerances == STRICT:
            theirs = matcher.fit(*structures)
            assert theirs == (alignment.displacement(first, second, tolerances, True) is not None)
            kinds.add(theirs)
            continue
        theirs, ours = matcher.get_rms_dist(*structures), alignment.displacement(first, second)
        assert (theirs is None) == (ours is None)
        if theirs is not None and ours is not None:
            assert ours == pytest.approx(float(theirs[0]), abs=1e-5)
        kinds.add(theirs is not None)
    assert kinds == {True, False}


@pytest.mark.data
@pytest.mark.parametrize("name", ["perov_5", "mp_20", "carbon_24"])
def test_verdicts_on_real_crystals_are_those_of_pymatgen(name: str, data_dir: Path) -> None:
    import pandas
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

    texts = pandas.read_csv(data_dir / "crystals" / f"{name}_test.csv.gz", nrows=6).cif
    rng = np.random.default_rng(1)
    matcher = StructureMatcher(LOOSE.ltol, LOOSE.stol, LOOSE.angle_tol)
    for k, text in enumerate(texts):
        structure = Structure.from_str(text, fmt="cif")
        crystal = Crystal.of(structure)
        other = scattered(crystal, rng) if k % 3 == 0 else disturbed(crystal, rng, 0.04)
        theirs, ours = (
            matcher.get_rms_dist(other.to_structure(), structure),
            verdict(other, crystal, LOOSE),
        )
        assert (theirs is None) == (ours is None)
        assert ours is None or ours == pytest.approx(float(theirs[0]), abs=1e-5)


def test_what_a_match_does_not_see() -> None:
    rng = np.random.default_rng(2)
    for crystal in SOME:
        assert verdict(disturbed(crystal, rng, 0.0), crystal, STRICT) == pytest.approx(
            0.0, abs=1e-5
        )
        assert verdict(crystal.scaled(3 * crystal.volume), crystal, STRICT) == pytest.approx(
            0.0, abs=1e-5
        )
    double = NACL.to_structure()
    double.make_supercell([1, 1, 2])
    assert verdict(Crystal.of(double), NACL, STRICT) == pytest.approx(0.0, abs=1e-5)


def test_displacement_of_one_moved_site_by_hand() -> None:
    """One of n sites moved by d: the mean is taken off, so rms^2 = d^2 (1/n - 1/n^2)."""
    moved = np.array(SRTIO3.coordinates)
    moved[1] += [0.03, 0, 0]
    d = 0.03 * 3.905 / (3.905**3 / 5) ** (1 / 3)
    found = verdict(Crystal(SRTIO3.species, moved, SRTIO3.lattice), SRTIO3, LOOSE)
    assert found == pytest.approx(d * (1 / 5 - 1 / 25) ** 0.5, rel=1e-9)


def test_the_totals_are_their_definitions() -> None:
    rng = np.random.default_rng(3)
    near, far = disturbed(SRTIO3, rng, 0.02), disturbed(SRTIO3, rng, 0.05)
    references = [SRTIO3, SRTIO3, SWAPPED, NACL]
    result = matching.match(
        [[far, near], [NACL], [SRTIO3, None], [NACL]], references, rule="none", metre=True
    )
    first, second, third, fourth = result.table
    assert first.best == 1 and first.rms == pytest.approx(verdict(near, SRTIO3, LOOSE))
    assert not second.matched and second.rms is None and second.valid == 1
    assert third.valid == 1 and third.predictions == 2
    assert third.matched == (verdict(SRTIO3, SWAPPED, LOOSE) is not None) and not third.strict
    assert fourth.rms == pytest.approx(0, abs=1e-5) and fourth.strict
    rms = [row.rms for row in result.table if row.rms is not None]
    assert result.rate == len(rms) / 4 and result.rmse == pytest.approx(np.mean(rms))
    assert result.crmse == pytest.approx((sum(rms) + 0.5 * (4 - len(rms))) / 4)
    # The second reference is matched by what was predicted for the others.
    assert result.metre == result.rate + 0.25
    assert result.metre_crmse is not None and result.metre_crmse < result.crmse


def test_rules_say_which_pairs_are_compared() -> None:
    clash = Crystal(NACL.species, [[0, 0, 0], [0.01, 0, 0]], NACL.lattice)
    broken = Crystal(NACL.species, [[0, 0, np.nan], [0.5] * 3], NACL.lattice)
    flat = Crystal(NACL.species, NACL.coordinates, np.diag([4.0, 4.0, 0.0]))
    cfo = Crystal.from_parameters(["He", "O"], NACL.coordinates, [4] * 3)
    needle = Crystal(NACL.species, NACL.coordinates, np.diag([1e-7, 1e5, 1e5]))
    result = matching.match([clash, broken, flat, None, needle], [NACL] * 5)
    assert [row.reason for row in result.table] == [
        "atoms too close",
        "not finite",
        "volume too small",
        "no prediction",
        result.table[4].reason,
    ]
    assert result.rate == 0 and result.rmse is None and result.crmse == 0.5
    assert matching.match([broken, flat], [NACL] * 2, rule="none").rate == 0
    assert matching.match([cfo], [cfo], rule="structure").rate == 1
    full = matching.match([cfo], [cfo], rule="full")
    assert full.rate == 0 and full.table[0].reason == "reference: charges do not balance"
    for bad in ({"rule": "some"}, {"predictions": []}):
        with pytest.raises(SciflowError):
            matching.match(**{"predictions": [NACL], "references": [NACL], **bad})  # type: ignore[arg-type]


def test_processes_change_nothing() -> None:
    rng = np.random.default_rng(4)
    references = [SOME[k % 4] for k in range(12)]
    predictions = [disturbed(c, rng, 0.05) for c in references]
    alone = matching.match(predictions, references, workers=1)
    assert matching.match(predictions, references, workers=2).table == alone.table
