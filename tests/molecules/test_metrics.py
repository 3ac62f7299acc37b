"""Metrics: figures of small sets that can be counted by hand, and what cannot be taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rdkit import Chem

from sciflow.domains.molecules import nspdk, validity
from sciflow.domains.molecules.metrics import Metrics, evaluate
from sciflow.domains.molecules.profile import Profile, Shape, histograms
from sciflow.domains.molecules.reference import Reference
from sciflow.errors import SciflowError

REAL = [
    "CCO", "CC", "c1ccccc1", "CC(=O)N", "C1CC1C", "OC1CC1", "CC#N", "c1cc[nH]c1", "CCCO", "CNC",
    "C[NH3+]", "C[N+](=O)[O-]",
]  # fmt: skip
TRAIN = ["CCO", "CCN", "C1CCCC1", "OCC=O", "CCCCC", "c1ccncc1", "CC(C)O", "C=CC", "NC=O", "CCF"]


def mols(texts: list[str]) -> list[Chem.Mol]:
    return [validity.read_raw(text) for text in texts]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIFLOW_CACHE", str(tmp_path))


# Eight graphs: two valid twins (in the training set), a valid ring, an aromatic, one in pieces,
# one that the protocol of GDSS charges, a five-bonded carbon, and no atoms at all.
SAMPLE = ["CCO", "OCC", "C1CCCCCCC1", "c1ccccc1", "CC.O", "CO(C)C", "CC(C)(C)(C)C", ""]


@pytest.fixture(scope="module")
def measured() -> Metrics:
    return evaluate(
        mols(SAMPLE), mols(REAL), mols(TRAIN), unreadable=2, ceiling=True, distances=False
    )


def test_shares_and_their_denominators(measured: Metrics) -> None:
    def of(name: str) -> tuple[float | None, int]:
        return measured.figures[name].value, measured.figures[name].over

    assert measured.generated == 10
    assert of("valid") == (5 / 10, 10)
    assert of("connected") == (6 / 10, 10)
    assert of("valid_and_connected") == (4 / 10, 10)
    assert of("unique") == (3 / 4, 4)
    assert of("novel") == (2 / 3, 3)
    assert of("valid_unique_novel") == (2 / 10, 10)
    assert of("aromatic") == (1 / 4, 4)
    assert of("large_rings") == (1 / 8, 8)
    assert of("charged") == (0.0, 8)
    assert of("atoms") == ((3 + 3 + 8 + 6 + 3 + 4 + 6) / 8, 8)
    assert of("rings") == (2 / 8, 8)


def test_protocol_figures_are_counted_as_their_authors_do(measured: Metrics) -> None:
    def of(name: str) -> tuple[float | None, int]:
        return measured.figures[name].value, measured.figures[name].over

    # All but the five-bonded carbon pass; pieces, the cation and the empty graph count as valid,
    # and what is no graph does not count at all.
    assert of("gdss_valid") == (7 / 8, 8)
    # left: CCO twice, the ring, benzene, CC, the cation, CC(C)(C)C
    assert of("gdss_unique") == (6 / 7, 7)
    assert of("gdss_novel") == (5 / 6, 6)


def test_the_reference_stands_beside(measured: Metrics) -> None:
    def own(name: str) -> float | None:
        return measured.figures[name].reference

    assert own("valid") == own("connected") == own("unique") == 1.0
    assert own("novel") == pytest.approx(11 / 12)
    assert own("aromatic") == pytest.approx(2 / 12)
    assert own("charged") == pytest.approx(2 / 12)
    assert own("large_rings") == 0.0
    # without its charges the nitro group alone is invalid
    assert measured["ceiling"] == pytest.approx(11 / 12)


def test_rows_say_the_same_as_the_totals(measured: Metrics) -> None:
    rows = measured.table
    assert [row.valid for row in rows] == [True, True, True, True, True, False, False, False]
    assert [row.unique for row in rows] == [True, False, True, True, False, False, False, False]
    assert [row.novel for row in rows] == [False, False, True, True, False, False, False, False]
    assert rows[1].smiles == "CCO"
    assert rows[5].smiles == "CO(C)C" and rows[5].gdss_smiles == "C[O+](C)C"
    assert rows[6].gdss_smiles == "CC(C)(C)C" and not rows[6].gdss_valid
    assert (rows[2].rings, rows[2].largest_ring, rows[2].aromatic_rings) == (1, 8, 0)
    assert rows[3].aromatic_rings == 1 and rows[6].aromatic_rings is None
    frame = measured.to_pandas()
    assert len(frame) == 8
    assert frame["valid"].sum() == 5


def test_histograms_beside_the_data() -> None:
    got = {
        h.name: h
        for h in histograms(
            Profile.of(map(Shape.of, mols(["CCO", "C1CC1", "C[NH3+]"]))),
            Profile.of(map(Shape.of, mols(["CCO"]))),
        )
    }
    assert got["atoms"].bins == ("C", "O", "N+")
    assert got["atoms"].generated == (6 / 8, 1 / 8, 1 / 8)
    assert got["atoms"].reference == (2 / 3, 1 / 3, 0.0)
    assert got["atoms"].distance == pytest.approx(1 / 3 - 1 / 8)
    assert got["bonds"].generated == (1.0, 0.0, 0.0)
    assert got["bonds"].distance == 0.0
    assert got["rings"].bins == ("3", "4", "5", "6", "7", "8+")
    assert got["rings"].generated == (1 / 3, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert got["rings"].distance is None  # the data have no rings
    assert got["sizes"].bins == ("2", "3")
    assert got["sizes"].generated == (1 / 3, 2 / 3)


def test_rings_are_those_of_a_smallest_set() -> None:
    cubane, spiro = mols(["C12C3C4C1C5C2C3C45", "C1CC12CCCC2"])
    assert Shape.of(cubane).rings == (4,) * 5
    assert Shape.of(spiro).rings == (3, 5)
    assert Shape.of(mols(["CC.C1CC1.O"])[0]).rings == (3,)
    broken = mols(["C1(C)(C)(C)CC1"])[0]
    assert Shape.of(broken).rings == (3,)


def test_distances_and_their_floors() -> None:
    reference, train = Reference(mols(REAL)), Reference(mols(TRAIN))
    drawn, _ = train.sample(6)
    told: list[tuple[str, int, int]] = []
    got = evaluate(drawn, reference, mols(TRAIN), progress=lambda *step: told.append(step))
    # Training molecules in the place of the generated ones: the figure is its own floor.
    for name in ("nspdk", "fcd", "gdss_nspdk", "gdss_fcd"):
        figure = got.figures[name]
        assert figure.over == 6
        assert figure.value == pytest.approx(figure.floor, rel=1e-6)
        assert figure.note == "floor: 6 training molecules"
    assert got["nspdk"] == pytest.approx(
        nspdk.mmd(nspdk.embed(drawn), nspdk.embed(reference.mols))
    )
    same = evaluate(reference.mols, reference)
    assert same["nspdk"] == pytest.approx(0.0, abs=1e-12)
    assert same["fcd"] == pytest.approx(0.0, abs=1e-5)
    assert same.figures["fcd"].floor is None
    assert same.figures["nspdk"].floor == pytest.approx(nspdk.floor(reference.embedding, 12, 12))
    stages = {stage for stage, done, total in told if done == total}
    assert {"reference", "training set", "molecules", "ChemNet, generated"} <= stages


def test_distances_are_taken_on_what_the_docstring_says() -> None:
    reference = Reference(mols(REAL))
    clean = ["CCN", "C1CC1", "CCCO"]
    got = evaluate(mols([*clean, "CC.O", "CO(C)C", ""]), reference)
    alone = evaluate(mols(clean), reference)
    corrected = evaluate(mols([*clean, "CC", "C[O+](C)C"]), reference)
    for name in ("nspdk", "fcd"):
        assert got.figures[name].over == 3
        assert got[name] == pytest.approx(alone[name], rel=1e-5)
        assert got.figures[f"gdss_{name}"].over == 5
        assert got[f"gdss_{name}"] == pytest.approx(corrected[f"gdss_{name}"], rel=1e-5)


def test_one_molecule() -> None:
    got = evaluate(mols(["CCO"]), mols(REAL), mols(TRAIN))
    assert got["valid_and_connected"] == got["unique"] == 1.0
    assert got["novel"] == 0.0
    assert got["nspdk"] is not None
    assert got["fcd"] is None
    assert got.figures["fcd"].note == "needs 2 molecules, there are 1"


@pytest.mark.parametrize("texts", [[], ["CC(C)(C)(C)C", "CO(C)(C)C"], [""]])
def test_nothing_valid_gives_reasons_and_no_nan(texts: list[str]) -> None:
    got = evaluate(mols(texts), mols(REAL), mols(TRAIN))
    for name in ("unique", "novel", "nspdk", "fcd"):
        assert got[name] is None
        assert got.figures[name].note
    assert got["valid"] == (0.0 if texts else None)
    text = json.dumps(got.summary(), allow_nan=False)
    assert json.loads(text)["figures"]["fcd"]["value"] is None
    assert "NSPDK" in got.to_text()


def test_without_reference_and_training_set() -> None:
    got = evaluate(mols(SAMPLE))
    assert got["valid"] == 5 / 8
    assert got["unique"] == 3 / 4
    assert got["novel"] is None
    assert got.figures["novel"].note == "no training set was given"
    assert got.figures["fcd"].note == "no reference was given"
    assert all(h.reference is None for h in got.histograms)


def test_an_empty_reference_is_an_error() -> None:
    with pytest.raises(SciflowError, match="reference"):
        evaluate(mols(["C"]), [])


def test_summary_is_plain_json_and_text_is_aligned(measured: Metrics) -> None:
    summary = json.loads(json.dumps(measured.summary(), allow_nan=False))
    assert summary["generated"] == 10 and summary["unreadable"] == 2
    assert summary["figures"]["valid"] == {
        "label": "valid as generated", "kind": "share", "better": "higher", "group": "",
        "value": 0.5, "over": 10, "reference": 1.0, "floor": None, "note": "",
    }  # fmt: skip
    assert summary["histograms"]["rings"]["bins"][-1] == "8+"
    lines = measured.to_text().splitlines()
    assert lines[0] == "10 generated, 2 of them unreadable, reference 12, training set 10"
    valid = next(line for line in lines if line.startswith("valid and connected"))
    header = next(line for line in lines if "generated" in line and "floor" in line)
    assert valid.split() == ["valid", "and", "connected", "40.0", "%", "100.0", "%", "-", "10"]
    assert len(valid) == len(header)


def test_a_sample_of_the_reference_is_always_the_same() -> None:
    train = Reference(mols(TRAIN))
    assert train.sample(3)[1] == train.sample(6)[1][:3]
    assert len(train.sample(99)[1]) == len(TRAIN)
    assert Reference.of(train) is train


@pytest.mark.data
def test_ceiling_of_qm9(data_dir: Path) -> None:
    import csv
    import gzip
    import random

    with gzip.open(data_dir / "molecules" / "qm9_smiles_props.csv.gz", "rt") as file:
        texts = [row["smiles"] for row in csv.DictReader(file)]
    some = Reference(mols(random.Random(1).sample(texts, 2000)))
    assert some.ceiling == pytest.approx(0.999, abs=0.002)
    assert some.profile.charged / 2000 == pytest.approx(0.014, abs=0.008)
