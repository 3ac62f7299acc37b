"""Rings and pieces: what is believed holds no larger ring and stays of one piece, and is else left as it is."""

from __future__ import annotations

import pytest
import torch
from rdkit import Chem
from torch import Tensor

import sciflow
from sciflow.domains.molecules.pieces import OnePiece
from sciflow.domains.molecules.profile import Shape
from sciflow.domains.molecules.rings import LargestRing
from sciflow.errors import SciflowError
from sciflow.spaces import pair_index

NODES = 16


def believed(smiles: str, weak: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    """Belief ``[1, P, 2]`` in the bonds of a molecule, one of them weaker, and the real pairs ``[1, P]``."""
    mol = Chem.MolFromSmiles(smiles)
    i, j = pair_index(NODES)
    bond = torch.full((len(i),), 0.01)
    for b in mol.GetBonds():
        low, high = sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx()))
        bond[(i == high) & (j == low)] = 0.6 if (low, high) == weak else 0.9
    return torch.stack([1 - bond, bond], -1)[None], (i < mol.GetNumAtoms())[None]


def refused(smiles: str, size: int, weak: tuple[int, int] | None = None) -> set[tuple[int, int]]:
    belief, mask = believed(smiles, weak)
    taken = LargestRing(size).refused(belief, mask, NODES)[0]
    i, j = pair_index(NODES)
    return {(int(j[k]), int(i[k])) for k in taken.nonzero().flatten()}


@pytest.mark.parametrize("smiles", ["CCCCCC", "C1CCCCC1", "C1CCCCCC1", "c1ccc2ccccc2c1"])
def test_small_rings_stay(smiles: str) -> None:
    assert not refused(smiles, 7)


def test_the_weakest_bond_of_a_large_ring_goes() -> None:
    assert refused("C1CCCCCCC1", 7, weak=(3, 4)) == {(3, 4)}
    assert refused("C1CCCCC1", 5, weak=(0, 1)) == {(0, 1)}


def test_a_chain_is_not_closed_to_a_large_ring() -> None:
    # Nine atoms in a chain: only pairs that are seven or eight bonds apart would close more than seven.
    assert refused("CCCCCCCCC", 7) == {(0, 7), (0, 8), (1, 8)}


def test_two_rings_lose_a_bond_each() -> None:
    taken = refused("C1CCCCC1CC1CCCCC1", 5)
    in_rings = {(a, b) for a, b in taken if abs(a - b) == 1 or {a, b} in ({0, 5}, {7, 12})}
    assert len(in_rings) == 2
    assert (5, 6) not in taken and (6, 7) not in taken


def test_generated_molecules_hold_no_larger_ring() -> None:
    options = {"atoms": 9, "rings": 3}
    made = sciflow.generate("qm9", n=20, steps=10, options=options, device="cpu")
    assert all(max(Shape.of(mol).rings, default=0) <= 3 for mol in made.objects)
    plain = sciflow.generate("qm9", n=20, steps=10, options={"atoms": 9}, device="cpu")
    assert any(max(Shape.of(mol).rings, default=0) > 3 for mol in plain.objects)


@pytest.mark.parametrize("size", [2, True, 5.0])
def test_a_wrong_size_is_named(size: object) -> None:
    with pytest.raises(SciflowError, match="rings"):
        sciflow.generate("qm9", n=1, steps=2, options={"rings": size}, device="cpu")


def test_pieces_are_joined_where_that_is_likeliest() -> None:
    belief, mask = believed("CCC.CC.O")
    i, j = pair_index(NODES)
    for (low, high), chance in {(2, 3): 0.2, (0, 4): 0.1, (4, 5): 0.3, (0, 5): 0.2}.items():
        pair = (i == high) & (j == low)
        belief[0, pair] = torch.tensor([1 - chance, chance])
    atoms = torch.zeros(1, NODES, 2)
    atoms[..., 0] = 1
    atoms[0, 5] = torch.tensor([0.2, 0.8])

    def found(*valences: int) -> set[tuple[int, int]]:
        pairs = OnePiece(valences).joints(belief, atoms, mask)[0]
        return {(int(j[k]), int(i[k])) for k in pairs.nonzero().flatten()}

    assert found(4, 2) == {(4, 5), (2, 3)}
    assert found(2, 1) == {(4, 5), (2, 3)}  # each end has one left
    assert (2, 3) in found(2, 0)  # the last bears none, and is joined all the same
    assert len(found(2, 0)) == 2


def test_generated_molecules_are_of_one_piece() -> None:
    plain = sciflow.generate("qm9", n=40, steps=4, device="cpu")
    assert any(Shape.of(mol).fragments > 1 for mol in plain.objects)
    made = sciflow.generate("qm9", n=40, steps=4, options={"connected": True}, device="cpu")
    assert all(Shape.of(mol).fragments == 1 for mol in made.objects)
    with pytest.raises(SciflowError, match="connected"):
        sciflow.generate("qm9", n=1, steps=2, options={"connected": 1}, device="cpu")


def test_the_drug_like_model_is_held_to_both() -> None:
    options = {"rings": 7, "connected": True}
    made = sciflow.generate("zinc250k", n=4, steps=8, options=options, device="cpu")
    shapes = [Shape.of(mol) for mol in made.objects]
    assert all(shape.fragments == 1 and max(shape.rings, default=0) <= 7 for shape in shapes)
    assert max(len(shape.atoms) for shape in shapes) > 9
