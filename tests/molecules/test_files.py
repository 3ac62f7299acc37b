"""Files of molecules: round trips, rows that cannot be read, interruptions, refusals."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest
from rdkit import Chem

from sciflow.domains.molecules import files, validity
from sciflow.errors import SciflowError

GENERATED = [  # valid, charged, aromatic, five-bonded, in pieces, in pieces and bad, without atoms
    "CCO", "C[N+](=O)[O-]", "C1=CC=CC=C1O", "CC(C)(C)(C)C", "CC.O", "FC(F)(F)(F)F.N", "",
]  # fmt: skip
SUFFIXES = [".smi", ".txt", ".csv", ".sdf"]


def generated() -> list[Chem.Mol]:
    return [validity.read_raw(text) for text in GENERATED]


def isomorphic(one: Chem.Mol, two: Chem.Mol) -> bool:
    def labelled(mol: Chem.Mol) -> nx.Graph:
        out = nx.Graph()
        for a in mol.GetAtoms():
            out.add_node(a.GetIdx(), label=(a.GetSymbol(), a.GetFormalCharge()))
        for b in mol.GetBonds():
            out.add_edge(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), label=b.GetBondType())
        return out

    def same(a: dict, b: dict) -> bool:
        return a["label"] == b["label"]

    return nx.is_isomorphic(labelled(one), labelled(two), node_match=same, edge_match=same)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_generated_graphs_come_back_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    files.write(generated(), path)
    back = files.read(path, raw=True)
    assert not back.skipped
    assert len(back) == len(GENERATED)
    for old, new in zip(generated(), back.mols, strict=True):
        assert isomorphic(old, new)
        assert validity.smiles(old) == validity.smiles(new)
    assert os.listdir(tmp_path) == [path.name]  # nothing else is left behind


def test_an_sd_file_keeps_the_order_of_the_atoms(tmp_path: Path) -> None:
    mol = validity.read_raw("OC(=O)C1CC1N")
    files.write([mol], tmp_path / "out.sdf")
    back = files.read(tmp_path / "out.sdf", raw=True).mols[0]
    assert [a.GetSymbol() for a in back.GetAtoms()] == [a.GetSymbol() for a in mol.GetAtoms()]


def test_a_table_says_what_each_row_is(tmp_path: Path) -> None:
    files.write(generated(), tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "smiles,valid,connected,atoms"
    assert lines[1] == "CCO,1,1,3"
    assert lines[4].endswith(",0,1,6")
    assert lines[5] == "CC.O,1,0,3"
    assert lines[7] == ",0,0,0"


def test_strict_reading_skips_what_is_no_molecule_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "in.smi"
    path.write_text("smiles name\nCCO ethanol\n\nC1CC bad\nCC(C)(C)(C)C x\nc1cccc1\nN\n[CH3]\n")
    got = files.read(path)
    assert [validity.smiles(mol) for mol in got.mols] == ["CCO", "N"]
    assert got.rows == [2, 7]
    assert [(skip.row, skip.text) for skip in got.skipped] == [
        (4, "C1CC"), (5, "CC(C)(C)(C)C"), (6, "c1cccc1"), (8, "[CH3]"),
    ]  # fmt: skip
    assert got.skipped[0].reason == "not a SMILES"
    assert "valence" in got.skipped[1].reason
    assert "hydrogens" in got.skipped[3].reason
    assert "4 of 6 rows skipped" in got.report()
    assert "row 4: 'C1CC': not a SMILES" in got.report()
    # as generated, the five-bonded carbon is a graph like any other
    assert files.read(path, raw=True).rows == [2, 5, 7, 8]


def test_hydrogens_and_stereo_are_implicit_after_reading() -> None:
    got = files.parse(
        ["[H]OC([H])([H])[C@@H](N)C", "C[NH3+]", Chem.AddHs(Chem.MolFromSmiles("CO"))]
    )
    assert not got.skipped
    assert [validity.smiles(mol) for mol in got.mols] == ["CC(N)CO", "C[NH3+]", "CO"]
    assert all(atom.GetAtomicNum() > 1 for mol in got.mols for atom in mol.GetAtoms())


def test_tables_are_read_by_the_name_of_the_column(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('idx,"SMILES",mu\n7,CCO,1.0\n8,"C(=O)O",2\n\n9,,3\n10\n11,Q,0\n')
    got = files.read(path)
    assert [validity.smiles(mol) for mol in got.mols] == ["CCO", "O=CO"]
    assert got.rows == [1, 2]
    assert [skip.row for skip in got.skipped] == [3, 4, 5]
    path.write_text("idx,structure\n1,C\n")
    with pytest.raises(SciflowError, match="idx, structure.*column named smiles"):
        files.read(path)


def test_packed_files_and_a_byte_order_mark(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "in.csv.gz", "wt", encoding="utf-8-sig") as file:
        file.write("smiles\nCCO\n")
    assert len(files.read(tmp_path / "in.csv.gz")) == 1
    packed = (tmp_path / "in.csv.gz").read_bytes()
    (tmp_path / "in.csv.gz").write_bytes(packed[:-12])
    with pytest.raises(SciflowError, match="in.csv.gz"):
        files.read(tmp_path / "in.csv.gz")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".smi.gz"])
def test_files_without_molecules_are_one_clear_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    with pytest.raises(SciflowError, match="No such file"):
        files.read(path)
    path.write_bytes(gzip.compress(b"") if suffix.endswith("gz") else b"")
    with pytest.raises(SciflowError, match="no molecules"):
        files.read(path)
    path.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(SciflowError, match="in."):
        files.read(path)


def test_nothing_readable_names_the_first_row(tmp_path: Path) -> None:
    (tmp_path / "in.smi").write_text("hello world\nthis is\n")
    with pytest.raises(SciflowError, match=r"none of 2 rows.*row 1 is 'hello': not a SMILES"):
        files.read(tmp_path / "in.smi")


def test_an_unknown_type_is_named_with_the_known_ones(tmp_path: Path) -> None:
    for act in (files.read, files.Writer):
        with pytest.raises(SciflowError, match=r"'\.smy'.*did you mean '\.smi'"):
            act(tmp_path / "in.smy")
    with pytest.raises(SciflowError):
        files.Writer(tmp_path / "out.smi.gz")
    assert not os.listdir(tmp_path)


def test_progress_counts_every_row(tmp_path: Path) -> None:
    (tmp_path / "in.smi").write_text("C\n" * 1500 + "bad\n")
    told: list[int] = []
    files.read(tmp_path / "in.smi", progress=told.append)
    assert sum(told) == 1501
    assert len(told) > 1


# -- writing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_writer_has_lost_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "made" / f"out{suffix}"
    mols = generated()

    def interrupted() -> None:
        with files.Writer(path) as out:
            out.append(mols[:2])
            assert len(files.read(path, raw=True)) == 2  # on disk while the run goes on
            out.append(mols[2:3])
            assert out.count == 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    back = files.read(path, raw=True)
    assert [validity.smiles(m) for m in back.mols] == [validity.smiles(m) for m in mols[:3]]


def test_an_old_file_stays_until_the_first_batch(tmp_path: Path) -> None:
    path = tmp_path / "out.smi"
    path.write_text("CCC\n")
    with files.Writer(path):
        assert path.read_text() == "CCC\n"
    assert path.read_text() == "CCC\n"
    with files.Writer(path) as out:
        out.append([validity.read_raw("O")])
    assert path.read_text() == "O\n"


def test_a_writer_that_was_not_used_leaves_no_file(tmp_path: Path) -> None:
    with files.Writer(tmp_path / "out.smi"):
        pass
    assert not os.listdir(tmp_path)


def test_what_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.smi").mkdir()
    for path in (tmp_path / "file" / "out.smi", tmp_path / "folder.smi"):
        with pytest.raises(SciflowError, match="cannot be written"):
            files.Writer(path)
        with pytest.raises(SciflowError, match="cannot be written"):
            files.write([validity.read_raw("C")], path)


def test_writing_whole_files_is_one_move(tmp_path: Path) -> None:
    path = tmp_path / "out.smi"
    files.write([validity.read_raw("CCC")], path)

    class Broken(list[Chem.Mol]):
        def __iter__(self) -> Iterator[Chem.Mol]:
            yield validity.read_raw("C")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write(Broken([Chem.Mol()]), path)
    assert path.read_text() == "CCC\n"
    assert os.listdir(tmp_path) == ["out.smi"]
    files.write([], path)
    assert path.read_text() == ""
