"""Graphs of PyTorch Geometric: there and back, and what others write."""

from __future__ import annotations

import pytest
import torch
from rdkit import Chem

from sciflow.domains.molecules import validity
from sciflow.domains.molecules.vocabulary import Vocabulary
from sciflow.errors import SciflowError

pytest.importorskip("torch_geometric")
from torch_geometric.data import Data  # noqa: E402
from torch_geometric.utils import from_smiles  # noqa: E402

from sciflow.domains.molecules.pyg import from_pyg, to_pyg  # noqa: E402

VOCABULARY = Vocabulary(("C", "N", "O", "F", "N+", "O-"))


@pytest.mark.parametrize(
    "text", ["C", "CCO", "Cc1ccccc1O", "C[N+](=O)[O-]", "CC(C)(C)(C)C", "CC.O", "N#CC1CC1"]
)
def test_a_graph_comes_back(text: str) -> None:
    mol = validity.read_raw(text)
    data = to_pyg(mol, VOCABULARY)
    wanted = validity.raw_smiles(mol)
    assert validity.raw_smiles(from_pyg(data)) == wanted
    del data.z, data.charge
    assert validity.raw_smiles(from_pyg(data, VOCABULARY)) == wanted


def test_the_tensors_are_those_of_the_docstring() -> None:
    data = to_pyg(validity.read_raw("C=O"), VOCABULARY)
    assert torch.equal(data.x, torch.eye(6)[[0, 2]])
    assert data.edge_index.tolist() == [[0, 1], [1, 0]]
    assert torch.equal(data.edge_attr, torch.tensor([[0.0, 1.0, 0.0]] * 2))
    assert (data.z.tolist(), data.charge.tolist()) == ([6, 8], [0, 0])
    lone = to_pyg(validity.read_raw("C"), VOCABULARY)
    assert lone.edge_index.shape == (2, 0)
    assert lone.edge_attr.shape == (0, 3)
    lone.validate()


def test_explicit_hydrogens_and_aromatic_bonds_as_in_pygs_qm9() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("c1cc[nH]c1"))
    kinds = [Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE]
    kinds.append(Chem.BondType.AROMATIC)
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondType()) for b in mol.GetBonds()]
    both = [*bonds, *[(j, i, kind) for i, j, kind in bonds]]
    data = Data(
        z=torch.tensor([a.GetAtomicNum() for a in mol.GetAtoms()]),
        edge_index=torch.tensor([(i, j) for i, j, _ in both]).T,
        edge_attr=torch.eye(4)[[kinds.index(kind) for *_, kind in both]],
    )
    assert validity.smiles(from_pyg(data)) == "c1cc[nH]c1"


def test_bond_orders_as_numbers() -> None:
    index = torch.tensor([[0, 1], [1, 2]])
    data = Data(z=torch.tensor([6, 6, 8]), edge_index=index, edge_attr=torch.tensor([1.0, 2.0]))
    assert validity.smiles(from_pyg(data)) == "CC=O"
    data.edge_attr = torch.tensor([[1], [2]])
    assert validity.smiles(from_pyg(data)) == "CC=O"


def test_graphs_of_pygs_own_from_smiles() -> None:
    assert (
        validity.smiles(from_pyg(from_smiles("Cc1ccccc1[N+](=O)[O-]"))) == "Cc1ccccc1[N+](=O)[O-]"
    )


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SciflowError, match="S with charge 0.*C, N, O"):
        to_pyg(validity.read_raw("CS"), VOCABULARY)
    with pytest.raises(SciflowError, match="no z"):
        from_pyg(Data(x=torch.eye(3)))
    index = torch.tensor([[0], [1]])
    with pytest.raises(SciflowError, match="edge_attr"):
        from_pyg(Data(z=torch.tensor([6, 6]), edge_index=index))
    with pytest.raises(SciflowError, match="edge_attr"):
        from_pyg(Data(z=torch.tensor([6, 6]), edge_index=index, edge_attr=torch.tensor([0.3])))
