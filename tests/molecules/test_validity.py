"""Validity: what is asked of a graph, on graphs whose answer is known."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from rdkit import Chem

from sciflow.domains.molecules import validity
from sciflow.errors import SciflowError

ORDER = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


def graph(atoms: str, *bonds: tuple[int, int, int]) -> Chem.Mol:
    """Return the raw molecule of space-separated atoms (`N+`) and (i, j, order) bonds."""
    mol = Chem.RWMol()
    for name in atoms.split():
        atom = Chem.Atom(name.rstrip("+-"))
        atom.SetFormalCharge(name.count("+") - name.count("-"))
        mol.AddAtom(atom)
    for i, j, order in bonds:
        mol.AddBond(i, j, ORDER[order])
    return mol.GetMol()


def random_graph(rng: np.random.Generator) -> Chem.Mol:
    """Return a graph as an untrained model makes them: often invalid, often in pieces."""
    atoms = rng.choice(["C", "N", "O", "F", "S", "P", "Cl", "N+", "O-"], rng.integers(1, 10))
    dense = rng.uniform(0.1, 0.5)
    pairs = [(i, j) for i in range(len(atoms)) for j in range(i) if rng.random() < dense]
    orders = rng.choice([1, 2, 3], len(pairs), p=[0.7, 0.2, 0.1])
    return graph(" ".join(atoms), *[(*p, int(o)) for p, o in zip(pairs, orders, strict=True)])


def isomorphic(one: Chem.Mol, two: Chem.Mol) -> bool:
    """Return whether two graphs agree in atoms, charges and bond orders, by exact search."""

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


FIVE_BONDED = graph("C C C C C C", *[(0, k, 1) for k in range(1, 6)])


def test_strict_validity_repairs_nothing() -> None:
    assert validity.strict_valid(graph("C C O", (0, 1, 1), (1, 2, 2)))
    assert not validity.strict_valid(FIVE_BONDED)
    ammonium = (0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1)
    assert not validity.strict_valid(graph("N C C C C", *ammonium))
    assert validity.strict_valid(graph("N+ C C C C", *ammonium))
    # RDKit's clean-up would turn this five-valent nitrogen into a charged one
    nitro = graph("C N O O", (0, 1, 1), (1, 2, 2), (1, 3, 2))
    assert not validity.strict_valid(nitro)
    assert [a.GetFormalCharge() for a in nitro.GetAtoms()] == [0, 0, 0, 0]


def test_asking_leaves_the_graph_as_it_was() -> None:
    benzene = validity.raw(Chem.MolFromSmiles("c1ccccc1"))
    before = benzene.ToBinary()
    validity.strict_valid(benzene)
    validity.smiles(benzene)
    validity.raw_smiles(benzene)
    validity.gdss_protocol(benzene)
    assert benzene.ToBinary() == before
    assert not any(bond.GetIsAromatic() for bond in benzene.GetBonds())


def test_connected() -> None:
    assert validity.connected(graph("C C", (0, 1, 1)))
    assert not validity.connected(graph("C C"))
    assert validity.connected(graph("C"))


def test_a_graph_without_atoms_is_no_molecule() -> None:
    empty = graph("")
    assert not validity.strict_valid(empty)
    assert not validity.connected(empty)
    assert validity.smiles(empty) is None
    assert validity.raw_smiles(empty) == ""
    assert validity.read_raw("").GetNumAtoms() == 0


def test_smiles_is_the_same_for_every_order_of_atoms_and_kekule_form() -> None:
    rng = np.random.default_rng(0)
    for text in ("Cc1ccccc1O", "c1ccc2[nH]ccc2c1", "OC1CC2CC1C2", "C[N+](=O)[O-]"):
        usual = Chem.MolToSmiles(Chem.MolFromSmiles(text))
        raw = validity.raw(Chem.MolFromSmiles(text))
        for _ in range(10):
            order = rng.permutation(raw.GetNumAtoms()).tolist()
            assert validity.smiles(Chem.RenumberAtoms(raw, order)) == usual
    ortho = [graph("C C C C C C C O", *ring, (0, 6, 1), (1, 7, 1)) for ring in _kekule_rings()]
    assert validity.smiles(ortho[0]) == validity.smiles(ortho[1]) == "Cc1ccccc1O"


def _kekule_rings() -> list[list[tuple[int, int, int]]]:
    return [[(k, (k + 1) % 6, 1 + (k + s) % 2) for k in range(6)] for s in (0, 1)]


def test_raw_smiles_gives_the_same_graph_back() -> None:
    rng = np.random.default_rng(1)
    invalid = broken = 0
    for _ in range(300):
        mol = random_graph(rng)
        back = validity.read_raw(validity.raw_smiles(mol))
        assert isomorphic(mol, back)
        assert validity.strict_valid(mol) == validity.strict_valid(back)
        invalid += not validity.strict_valid(mol)
        broken += not validity.connected(mol)
    assert invalid > 50 and broken > 50  # the law was tried on what it is for


def test_raw_strips_hydrogens_stereo_isotopes_and_aromaticity() -> None:
    mol = validity.read_raw("[H]O[C@@H]([13CH3])c1cc[nH]c1")
    bare = validity.read_raw("OC(C)C1=CNC=C1")
    assert isomorphic(mol, bare)
    assert validity.smiles(mol) == "CC(O)c1cc[nH]c1"
    assert validity.read_raw("[H][H]").GetNumAtoms() == 2  # no heavy atom could carry them


@pytest.mark.parametrize(
    ("text", "why"),
    [("C1CC", "not a SMILES"), ("c1cccc1", "kekulised"), ("C->[Fe]", "dative")],
)
def test_what_is_no_raw_molecule_is_named(text: str, why: str) -> None:
    with pytest.raises(SciflowError, match=why):
        validity.read_raw(text)


def test_neutral_is_the_graph_without_its_charges() -> None:
    salt = validity.raw(Chem.MolFromSmiles("C[N+](=O)[O-]"))
    bare = validity.neutral(salt)
    assert [a.GetFormalCharge() for a in salt.GetAtoms()] == [0, 1, 0, -1]
    assert [a.GetFormalCharge() for a in bare.GetAtoms()] == [0, 0, 0, 0]
    assert not validity.strict_valid(bare)
    assert validity.strict_valid(validity.neutral(validity.raw(Chem.MolFromSmiles("C[NH3+]"))))


# -- the protocol of GDSS -----------------------------------------------------------------------


def test_protocol_passes_a_molecule_untouched() -> None:
    got = validity.gdss_protocol(validity.raw(Chem.MolFromSmiles("Cc1ccccc1O")))
    assert got == validity.Protocol(True, 0, 0, 1, "Cc1ccccc1O")


def test_protocol_charges_count_as_no_correction() -> None:
    oxonium = validity.gdss_protocol(graph("O C C C", (0, 1, 1), (0, 2, 1), (0, 3, 1)))
    assert (oxonium.passed, oxonium.charges, oxonium.smiles) == (True, 1, "C[O+](C)C")
    ammonium = validity.gdss_protocol(graph("N C C C", (0, 1, 1), (0, 2, 1), (0, 3, 2)))
    assert (ammonium.passed, ammonium.charges, ammonium.smiles) == (True, 1, "C=[N+](C)C")


def test_protocol_gives_no_charge_to_a_valence_that_leaps_over() -> None:
    # nitrogen goes from three bonds to five at once, and oxygen from one to four
    leap = validity.gdss_protocol(graph("N C C C C", (0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 2)))
    assert (leap.passed, leap.charges, leap.lowered) == (False, 0, 2)
    assert not validity.gdss_protocol(graph("O C C", (0, 1, 1), (0, 2, 3))).passed


def test_protocol_depends_on_the_order_in_which_bonds_arrive() -> None:
    # The same graph, O with bonds 2 + 1 + 1: a charge comes at three bonds, before the fourth.
    for last, charges in ((1, 1), (2, 0)):
        first = 2 if last == 1 else 1
        got = validity.gdss_protocol(graph("O C C C", (0, 1, first), (0, 2, 1), (0, 3, last)))
        assert not got.passed
        assert got.charges == charges


def test_protocol_lowers_the_highest_bond_of_the_first_bad_atom() -> None:
    carbon = graph("C C C C", (0, 1, 1), (0, 2, 3), (0, 3, 1))
    got = validity.gdss_protocol(carbon)
    assert (got.passed, got.lowered, got.smiles) == (False, 1, "C=C(C)C")
    five = validity.gdss_protocol(FIVE_BONDED)
    assert (five.passed, five.lowered, five.fragments) == (False, 1, 1)
    assert five.smiles == "CC(C)(C)C"  # the bond is gone, and so is the loose carbon


def test_protocol_keeps_the_fragment_with_the_longest_text() -> None:
    # OF3 has fewer atoms than pentane, and a longer text once it is charged
    both = graph(
        "C C C C C O F F F", *[(k, k + 1, 1) for k in range(4)], *[(5, k, 1) for k in (6, 7, 8)]
    )
    got = validity.gdss_protocol(both)
    assert (got.passed, got.fragments, got.smiles) == (True, 2, "F[O+](F)F")


def test_protocol_takes_charges_of_the_vocabulary_as_they_are() -> None:
    nitro = validity.raw(Chem.MolFromSmiles("C[N+](=O)[O-]"))
    assert validity.gdss_protocol(nitro) == validity.Protocol(True, 0, 0, 1, "C[N+](=O)[O-]")


def test_protocol_always_ends_with_a_readable_molecule_or_none() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        mol = random_graph(rng)
        got = validity.gdss_protocol(mol)
        assert got.passed == (got.lowered == 0)
        if got.smiles is not None:
            assert Chem.MolFromSmiles(got.smiles) is not None
            assert "." not in got.smiles
        if validity.strict_valid(mol):
            assert got.passed and got.charges == 0
            if validity.connected(mol):
                assert got.smiles == validity.smiles(mol)
