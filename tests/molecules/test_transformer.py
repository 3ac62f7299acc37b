"""The graph transformer: what it is shown of aromatic rings, and that it begins well on large graphs."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from rdkit import Chem
from torch import Tensor

from sciflow.domains.molecules.networks.transformer import GraphTransformer, alternation, paths
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


def test_walks_that_never_turn_back() -> None:
    grid = torch.from_numpy(nx.to_numpy_array(nx.grid_2d_graph(3, 3))).float()
    nodes, pairs = (x[:, 0].expm1().round() for x in paths(grid[None]))
    assert nodes[:, 0].tolist() == [0.0] * 9  # no triangles
    squares = [1, 2, 1, 2, 4, 2, 1, 2, 1]
    assert nodes[:, 1].tolist() == [2.0 * k for k in squares]  # each both ways
    assert pairs[pair(9, 0, 4), 0] == 2  # across a square by two ways
    assert pairs[pair(9, 0, 1), 1] == 1 and pairs[pair(9, 1, 4), 1] == 2  # squares beside an edge
    assert pairs[pair(9, 0, 8), 2] == 6  # corner to corner: 4 choose 2
    tree = torch.from_numpy(nx.to_numpy_array(nx.balanced_tree(2, 3))).float()
    nodes, pairs = (x[:, 0].expm1() for x in paths(tree[None]))
    distance = dict(nx.all_pairs_shortest_path_length(nx.balanced_tree(2, 3)))
    i, j = pair_index(len(tree))
    for k in range(4):  # a tree has one way between two nodes, and none around
        apart = torch.tensor(
            [distance[a][b] == k + 2 for a, b in zip(i.tolist(), j.tolist(), strict=True)]
        )
        assert torch.allclose(pairs[:, k], apart.float(), atol=1e-5)
    assert nodes.abs().max() < 1e-5


def test_a_network_that_is_shown_paths_takes_soft_graphs() -> None:
    torch.manual_seed(0)
    network = GraphTransformer(2, 3, 2, 3, [0.0, 0.0], 20, width=16, edge_width=8, paths=True)
    bonds = torch.rand(3, 190, 3).softmax(-1).requires_grad_()
    fields = {"atoms": torch.rand(3, 20, 2).softmax(-1), "bonds": bonds}
    masks = {k: torch.ones(v.shape[:2], dtype=torch.bool) for k, v in fields.items()}
    out = network(State(fields, masks), torch.full((3,), 0.5))
    (gradient,) = torch.autograd.grad(sum(x.square().sum() for x in out.values()), bonds)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0
