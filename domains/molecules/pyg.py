"""Molecules as graphs of PyTorch Geometric, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdkit import Chem

from sciflow.errors import expected, need

from . import validity
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch_geometric.data import Data


def to_pyg(mol: Chem.Mol, vocabulary: Vocabulary) -> Data:
    """Return a raw molecule as a graph of PyTorch Geometric.

    Args:
        mol: A raw molecule with n atoms and E bonds.
        vocabulary: The atom types, in the order of the columns of `x`.

    Returns:
        `Data` with `x` one-hot atom types float [n, K], `edge_index` int [2, 2E] (both
        directions), `edge_attr` one-hot single, double, triple float [2E, 3], `z` element numbers
        int [n], `charge` formal charges int [n].

    Raises:
        SciflowError: An atom is not in the vocabulary, or torch_geometric is not installed.
    """
    import torch

    data = need("torch_geometric.data", "molecules")
    atoms = list(mol.GetAtoms())
    labels = [vocabulary.label(a.GetSymbol(), a.GetFormalCharge()) for a in atoms]
    if None in labels:
        atom = atoms[labels.index(None)]
        got = f"{atom.GetSymbol()} with charge {atom.GetFormalCharge()}"
        raise expected("atom", got, "one of " + ", ".join(vocabulary.names))
    edges = [
        (i, j, int(bond.GetBondTypeAsDouble()) - 1)
        for bond in validity.raw(mol).GetBonds()
        for i, j in [
            (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()),
            (bond.GetEndAtomIdx(), bond.GetBeginAtomIdx()),
        ]
    ]
    x = torch.zeros(len(atoms), len(vocabulary))
    x[torch.arange(len(atoms)), torch.tensor(labels, dtype=torch.long)] = 1.0
    kind = torch.tensor([k for _, _, k in edges], dtype=torch.long)
    return data.Data(
        x=x,
        edge_index=torch.tensor([(i, j) for i, j, _ in edges], dtype=torch.long).view(-1, 2).T,
        edge_attr=torch.eye(3)[kind],
        z=torch.tensor([a.GetAtomicNum() for a in atoms], dtype=torch.long),
        charge=torch.tensor([a.GetFormalCharge() for a in atoms], dtype=torch.long),
    )


def from_pyg(data: Data, vocabulary: Vocabulary | None = None) -> Chem.Mol:
    """Return a graph of PyTorch Geometric as a raw molecule.

    Args:
        data: Elements in `z` (with optional formal charges in `charge`) or one-hot in `x` over
            the `vocabulary`; bonds in `edge_index` and `edge_attr`, either one-hot single, double,
            triple (, aromatic) as in PyG's QM9, or bond orders [E] or [E, 1] with 1.5 for
            aromatic. Each bond stands once or in both directions. Explicit hydrogens become
            implicit. A graph made by `torch_geometric.utils.from_smiles` is understood too.
        vocabulary: The atom types behind the columns of `x`, where there is no `z`.

    Raises:
        SciflowError: A part is missing or of another shape.
    """
    x, z = data.x, getattr(data, "z", None)
    if z is None and x is not None and x.shape[-1] == 9 and not x.is_floating_point():
        return validity.read_raw(need("torch_geometric.utils", "molecules").to_smiles(data))
    if z is not None:
        charge = getattr(data, "charge", None)
        numbers = [int(v) for v in z]
        charges = [0] * len(numbers) if charge is None else [int(v) for v in charge]
        kinds: list[tuple[Any, int]] = list(zip(numbers, charges, strict=True))
    elif x is not None and vocabulary is not None and x.shape[-1] == len(vocabulary):
        kinds = [vocabulary.kinds[int(label)] for label in x.argmax(-1)]
    else:
        shape = None if x is None else tuple(x.shape)
        raise expected(
            "graph", f"x of shape {shape} and no z", "element numbers in z, or x one-hot over the "
            "vocabulary given", "set data.z",
        )  # fmt: skip
    mol = Chem.RWMol()
    for element, charge in kinds:
        atom = Chem.Atom(element)
        atom.SetFormalCharge(charge)
        mol.AddAtom(atom)
    if data.edge_index is None or not data.edge_index.numel():
        return validity.raw(mol)
    orders = _orders(data.edge_attr, data.edge_index.shape[1])
    for (i, j), order in zip(data.edge_index.T.tolist(), orders, strict=True):
        if i == j or mol.GetBondBetweenAtoms(i, j) is not None:
            continue
        mol.AddBond(i, j, _BOND[order])
        if order == 1.5:
            mol.GetBondBetweenAtoms(i, j).SetIsAromatic(True)
            for k in (i, j):
                mol.GetAtomWithIdx(k).SetIsAromatic(True)
    return validity.raw(mol)


_BOND = {
    1.0: Chem.BondType.SINGLE,
    2.0: Chem.BondType.DOUBLE,
    3.0: Chem.BondType.TRIPLE,
    1.5: Chem.BondType.AROMATIC,
}


def _orders(attr: Any, edges: int) -> list[float]:
    """Return the bond order of each edge of a PyG graph."""
    wanted = "bond orders [E], or one-hot single, double, triple (, aromatic) [E, 3 or 4]"
    if attr is None or attr.shape[0] != edges:
        raise expected("edge_attr", None if attr is None else tuple(attr.shape), wanted)
    if attr.dim() == 2 and attr.shape[1] in (3, 4):
        return [(1.0, 2.0, 3.0, 1.5)[k] for k in attr.argmax(-1).tolist()]
    orders = [float(v) for v in attr.flatten().tolist()]
    if len(orders) != edges or not set(orders) <= set(_BOND):
        raise expected("edge_attr", tuple(attr.shape), wanted)
    return orders
