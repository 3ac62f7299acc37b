"""Vocabulary and encoded graphs: what goes in comes out, and what cannot is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from sciflow.domains.molecules import MolecularGraphs, Vocabulary, encode, to_mols
from sciflow.errors import SciflowError
from sciflow.spaces import pair_index

ROOT = Path(__file__).resolve().parents[2]
SMILES = [
    "C",
    "CO",
    "C#N",
    "c1ccccc1O",
    "C[N+](C)(C)CC(=O)[O-]",
    "c1cc[nH]c1",
    "FC(F)F",
    "C1CC1.O",
]


def mols(smiles: list[str]) -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(text) for text in smiles]


def test_round_trip_keeps_the_molecule() -> None:
    data = mols(SMILES)
    graphs = encode(data, Vocabulary.of(data)).graphs
    for before, after in zip(data, to_mols(graphs), strict=True):
        Chem.SanitizeMol(after)
        assert Chem.MolToSmiles(after) == Chem.MolToSmiles(before)


def test_pairs_are_in_the_order_of_the_core() -> None:
    graphs = encode(mols(["N#CC=O"]), Vocabulary(("C", "N", "O"))).graphs
    i, j = pair_index(4)
    orders = {(int(a), int(b)): int(o) for a, b, o in zip(i, j, graphs.bonds[0], strict=True) if o}
    assert orders == {(1, 0): 3, (2, 1): 1, (3, 2): 2}


def test_vocabulary_puts_neutral_types_first_and_reads_its_own_names() -> None:
    vocabulary = Vocabulary.of(mols(["C[N+](C)(C)C", "CC(=O)[O-]", "[Fe+2]", "CN"]))
    assert vocabulary.names[0] == "C" and set(vocabulary.names[:3]) == {"C", "N", "O"}
    assert set(vocabulary.names[3:]) == {"N+", "O-", "Fe+2"}
    assert dict(zip(vocabulary.names, vocabulary.kinds, strict=True))["Fe+2"] == ("Fe", 2)
    assert vocabulary.charged


def test_valences_count_the_charge() -> None:
    assert Vocabulary(("C", "N", "O", "F", "N+", "O-")).valences == (4, 3, 2, 1, 4, 1)


def test_valences_are_those_of_rdkit() -> None:
    table = Chem.GetPeriodicTable()
    names = tuple(table.GetElementSymbol(number) for number in range(1, 119))
    known = [max((v for v in table.GetValenceList(n) if v >= 0), default=0) for n in range(1, 119)]
    assert Vocabulary(names).valences == tuple(known)


def test_training_needs_no_rdkit(tmp_path) -> None:
    graphs = encode(mols(["CO", "CCN"]), Vocabulary(("C", "N", "O"))).graphs
    graphs.save(tmp_path / "data.safetensors")
    code = f"""
import sys
sys.modules["rdkit"] = None
from sciflow.domains.molecules import Molecules
adapter, data = Molecules.from_data({{"train": {str(tmp_path / "data.safetensors")!r}}}, {{}})
import torch
from sciflow.learning import Objective
batch = data.batch(torch.arange(2))
objective = Objective(adapter.system(), adapter.network())
objective(dict(batch), batch.masks, batch.condition, 0, torch.arange(2), 2)["loss"].backward()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("names", [("Xx",), ("C", "C"), (), ("c",), ("N++",)])
def test_wrong_vocabularies_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(SciflowError, match="expected"):
        Vocabulary(names)


def test_what_does_not_fit_is_counted_by_reason() -> None:
    given = ["CC", "CCl", "CCCCC", "CBr", "CN", "[CH2]C"]
    result = encode(mols(given), Vocabulary(("C", "N")), max_atoms=4)
    assert result.kept == (0, 4)
    assert result.skipped["atom C is a radical"] == 1
    assert result.skipped["atom Cl is not in the vocabulary"] == 1
    assert result.skipped["more than 4 heavy atoms"] == 1
    with pytest.raises(
        SciflowError, match="2 x not a SMILES; 1 x atom Cl is not in the vocabulary"
    ):
        encode(mols(["CCl"]), Vocabulary(("C",)), left_out={"not a SMILES": 2})


def test_frequencies_count_real_elements_alone() -> None:
    graphs = encode(mols(["C", "C=O"]), Vocabulary(("C", "O")), pad_to=5).graphs
    assert graphs.atom_frequencies() == pytest.approx((2 / 3, 1 / 3))
    assert graphs.bond_frequencies() == pytest.approx((0, 0, 1, 0))
    assert graphs.size_counts() == {1: 1, 2: 1}


def test_files_keep_graphs_and_refuse_others(tmp_path) -> None:
    data = mols(SMILES)
    graphs = encode(data, Vocabulary.of(data)).graphs
    graphs.save(tmp_path / "graphs.safetensors")
    again = MolecularGraphs.load(tmp_path / "graphs.safetensors")
    assert again.vocabulary == graphs.vocabulary
    assert np.array_equal(again.bonds, graphs.bonds) and np.array_equal(again.atoms, graphs.atoms)
    whole = (tmp_path / "graphs.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    for name in ("cut.safetensors", "missing.safetensors"):
        with pytest.raises(SciflowError, match=name):
            MolecularGraphs.load(tmp_path / name)
