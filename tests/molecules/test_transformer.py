"""The graph transformer: what it is shown of aromatic rings, and that it begins well on large graphs."""

from __future__ import annotations

import pytest
import torch
from rdkit import Chem
from torch import Tensor

from sciflow.domains.molecules.networks.transformer import GraphTransformer, alternation
from sciflow.errors import SciflowError
from sciflow.spaces import pair_index
from sciflow.state import State


def features(smiles: str, cut: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    """Node features ``[N, 2]`` and pair features ``[P, 6]`` of a kekulised molecule, one bond taken out."""
    mol = Chem.MolFromSmiles(smiles)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    orders = torch.from_numpy(Chem.GetAdjacencyMatrix(mol, useBO=True)).float()
    if cut:
        orders[cut], orders[cut[::-1]] = 0, 0
    nodes, pairs = alternation(*((orders == k)[None].float() for k in (1, 2)))
    return nodes[:, 0], pairs[:, 0]


def pair(n: int, one: int, two: int) -> int:
    i, j = pair_index(n)
    return int(((i == max(one, two)) & (j == min(one, two))).nonzero()[0])


def test_closed_rings() -> None:
    benzene, furan = features("c1ccccc1")[0], features("o1cccc1")[0]
    assert benzene[:, 1].tolist() == [1.0] * 6  # around it, beginning with the single bond
    assert benzene[:, 0].tolist() == [0.0] * 6
    assert furan[:, 0].tolist() == [2.0, 0, 0, 0, 0]  # from the oxygen, both ways
    assert features("C1CCCCC1")[0].abs().sum() == 0
    assert features("C1=CCCCC1")[0].abs().sum() == 0


def test_rings_that_lack_a_bond() -> None:
    mol = Chem.MolFromSmiles("c1ccccc1")
    Chem.Kekulize(mol, clearAromaticFlags=True)
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        found = features("c1ccccc1", ends)[1][pair(6, *ends)]
        lacks = 5 if bond.GetBondTypeAsDouble() == 1 else 4  # DSDSD or SDSDS is left between them
        assert found.tolist() == [2.0 if k == lacks else 0.0 for k in range(6)]
    assert features("o1cccc1", (0, 1))[1][pair(5, 0, 1), 3] == 1  # SDSD from the oxygen
    assert features("o1cccc1", (1, 2))[1][pair(5, 1, 2), 2] == 1  # SDSS, across the oxygen


@pytest.mark.parametrize("nodes", [9, 150])
def test_logits_are_of_order_one_before_training(nodes: int) -> None:
    torch.manual_seed(0)
    network = GraphTransformer(1, 2, 1, 2, [0.0], nodes, width=16, edge_width=8, heads=2)
    bonds = (torch.rand(1, nodes * (nodes - 1) // 2) < 4 / nodes).long()
    fields = {"atoms": torch.zeros(1, nodes, dtype=torch.int64), "bonds": bonds}
    state = State(fields, {k: torch.ones_like(v, dtype=torch.bool) for k, v in fields.items()})
    with torch.no_grad():
        output = network(state, torch.tensor([0.5]))
    assert output["bonds"].abs().max() < 5


def test_alternation_needs_two_kinds_of_bonds() -> None:
    with pytest.raises(SciflowError, match="alternation: got '2 kinds of bonds'"):
        GraphTransformer(1, 2, 1, 2, [0.0], 9, alternation=True)
