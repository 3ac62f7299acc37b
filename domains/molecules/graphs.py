"""Molecular graphs as arrays: the encoded data from which training runs without rdkit.

A molecule with n heavy atoms is n atom labels and one bond order for each of its n (n - 1) / 2 unordered pairs, in the
order (1,0), (2,0), (2,1), (3,0), ... of `sciflow.spaces.pair_index`. Bonds are kekulised, hydrogens implicit.
A *raw molecule* is the way back: an RDKit molecule with just these atoms and bonds, never sanitised, nothing repaired.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sciflow.errors import expected

from .vocabulary import Vocabulary, atom_name

if TYPE_CHECKING:
    from rdkit import Chem

_ORDER = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3}
_BOND = {order: bond for bond, order in _ORDER.items()}
FORMAT = "sciflow molecular graphs 1"
_PROPERTY = "property."


@dataclass(frozen=True)
class MolecularGraphs:
    """M molecular graphs, padded to N atoms and P = N (N - 1) / 2 pairs.

    Args:
        atoms: Atom labels int8 ``[M, N]``, 0 on padding.
        bonds: Bond orders 0..3 int8 ``[M, P]``, 0 on padding.
        sizes: Numbers of atoms int16 ``[M]``.
        vocabulary: Meaning of the labels.
        properties: Numbers known of each graph, float64 ``[M]`` by name; NaN where one is not known.
    """

    atoms: np.ndarray
    bonds: np.ndarray
    sizes: np.ndarray
    vocabulary: Vocabulary
    properties: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def max_atoms(self) -> int:
        """Number of atoms N to which the graphs are padded."""
        return self.atoms.shape[1]

    def select(self, index: np.ndarray | slice) -> MolecularGraphs:
        """Return some of the graphs."""
        return MolecularGraphs(
            self.atoms[index],
            self.bonds[index],
            self.sizes[index],
            self.vocabulary,
            {name: values[index] for name, values in self.properties.items()},
        )

    def size_counts(self) -> dict[int, int]:
        """Number of graphs of each size, by size."""
        sizes, counts = np.unique(self.sizes, return_counts=True)
        return {int(n): int(c) for n, c in zip(sizes, counts, strict=True)}

    def atom_frequencies(self) -> tuple[float, ...]:
        """Share of each atom type among all atoms, ``[K]``."""
        real = np.arange(self.max_atoms) < self.sizes[:, None]
        counts = np.bincount(self.atoms[real].astype(np.int64), minlength=len(self.vocabulary))
        return tuple((counts / counts.sum()).tolist())

    def bond_frequencies(self) -> tuple[float, ...]:
        """Share of each bond order 0..3 among all pairs, ``[4]``."""
        pairs = (self.sizes.astype(np.int64) * (self.sizes - 1) // 2)[:, None]
        real = np.arange(self.bonds.shape[1]) < pairs
        counts = np.bincount(self.bonds[real].astype(np.int64), minlength=4)
        return tuple((counts / max(counts.sum(), 1)).tolist())

    def save(self, path: str | Path) -> None:
        """Write the graphs to a ``.safetensors`` file that needs neither rdkit nor this package to be read."""
        arrays = {"atoms": self.atoms, "bonds": self.bonds, "sizes": self.sizes}
        arrays |= {_PROPERTY + name: values for name, values in self.properties.items()}
        metadata = {"format": FORMAT, "vocabulary": json.dumps(self.vocabulary.names)}
        partial = Path(f"{path}.partial")
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, partial, metadata)
        partial.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> MolecularGraphs:
        """Read graphs written by `save`.

        Raises:
            SciflowError: The file is missing, truncated or of another kind.
        """
        try:
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise expected(
                str(path), str(error), "a file of encoded molecules", "encode the data again"
            ) from None
        if metadata.get("format") != FORMAT:
            raise expected(str(path), metadata.get("format"), FORMAT, "encode the data again")
        vocabulary = Vocabulary(tuple(json.loads(metadata["vocabulary"])))
        atoms, bonds, sizes = (arrays.pop(name) for name in ("atoms", "bonds", "sizes"))
        properties = {name.removeprefix(_PROPERTY): values for name, values in arrays.items()}
        return cls(atoms, bonds, sizes, vocabulary, properties)


@dataclass(frozen=True)
class Encoded:
    """Result of `encode`.

    Args:
        graphs: The graphs.
        kept: Positions in the input of the molecules that were encoded.
        skipped: Number of molecules left out, by reason.
    """

    graphs: MolecularGraphs
    kept: tuple[int, ...]
    skipped: Counter[str] = field(default_factory=Counter)


def encode(
    mols: Iterable[Chem.Mol],
    vocabulary: Vocabulary,
    max_atoms: int | None = None,
    pad_to: int | None = None,
    whole: bool = False,
    left_out: Mapping[str, int] | None = None,
) -> Encoded:
    """Encode molecules; those that do not fit are left out, counted and named.

    Args:
        mols: Molecules; they are kekulised, explicit hydrogens are removed.
        vocabulary: Atom types to use.
        max_atoms: Largest number of heavy atoms; None takes all.
        pad_to: Number of atoms N to pad to; None is the largest molecule's.
        whole: Leave out molecules of more than one piece (salts, mixtures).
        left_out: Molecules that were left out before, by reason; counted with the others.

    Raises:
        SciflowError: No molecule could be encoded.
    """
    rows, kept, skipped = [], [], Counter(left_out)
    for position, mol in enumerate(mols):
        row = _encode_one(mol, vocabulary, max_atoms, whole)
        if isinstance(row, str):
            skipped[row] += 1
        else:
            rows.append(row)
            kept.append(position)
    if not rows:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in skipped.items())
        raise expected("molecules", reasons or "none", "at least one that can be encoded")
    largest = pad_to or max(len(atoms) for atoms, _ in rows)
    atoms = np.zeros((len(rows), largest), np.int8)
    bonds = np.zeros((len(rows), largest * (largest - 1) // 2), np.int8)
    for k, (labels, orders) in enumerate(rows):
        atoms[k, : len(labels)] = labels
        bonds[k, : len(orders)] = orders
    sizes = np.array([len(labels) for labels, _ in rows], np.int16)
    return Encoded(MolecularGraphs(atoms, bonds, sizes, vocabulary), tuple(kept), skipped)


def _encode_one(
    mol: Chem.Mol, vocabulary: Vocabulary, max_atoms: int | None, whole: bool = False
) -> tuple[np.ndarray, np.ndarray] | str:
    from rdkit import Chem

    n = mol.GetNumAtoms()
    if n == 0:
        return "no heavy atom"
    if max_atoms is not None and n > max_atoms:
        return f"more than {max_atoms} heavy atoms"
    if whole and len(Chem.GetMolFrags(mol)) > 1:
        return "in pieces (a salt or a mixture)"
    labels = np.zeros(n, np.int8)
    for atom in mol.GetAtoms():
        label = vocabulary.label(atom.GetSymbol(), atom.GetFormalCharge())
        if label is None:
            name = atom_name(atom.GetSymbol(), atom.GetFormalCharge())
            return f"atom {name} is not in the vocabulary"
        if atom.GetNumRadicalElectrons():
            return f"atom {atom.GetSymbol()} is a radical"
        labels[atom.GetIdx()] = label
    orders = np.zeros(n * (n - 1) // 2, np.int8)
    if any(bond.GetIsAromatic() for bond in mol.GetBonds()):
        mol = Chem.Mol(mol)
        try:
            Chem.Kekulize(mol, clearAromaticFlags=True)
        except Chem.KekulizeException:
            return "cannot be kekulised"
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        order = _ORDER.get(bond.GetBondType().name)
        if order is None:
            return f"bond {bond.GetBondType()} is not single, double or triple"
        high, low = max(i, j), min(i, j)
        orders[high * (high - 1) // 2 + low] = order
    return labels, orders


def to_mol(labels: Sequence[int], orders: Sequence[int], vocabulary: Vocabulary) -> Chem.RWMol:
    """Return the raw molecule of one graph.

    Args:
        labels: Atom labels ``[n]``.
        orders: Bond orders ``[n (n - 1) / 2]``.
        vocabulary: Meaning of the labels.
    """
    from rdkit import Chem

    mol = Chem.RWMol()
    for label in labels:
        symbol, charge = vocabulary.kinds[label]
        atom = Chem.Atom(symbol)
        atom.SetFormalCharge(charge)
        mol.AddAtom(atom)
    pair = 0
    for i in range(1, len(labels)):
        for j in range(i):
            if orders[pair]:
                mol.AddBond(j, i, Chem.BondType.names[_BOND[int(orders[pair])]])
            pair += 1
    return mol


def to_mols(graphs: MolecularGraphs) -> list[Chem.Mol]:
    """Return the raw molecules of all graphs, in order."""
    mols = []
    for atoms, bonds, size in zip(graphs.atoms, graphs.bonds, graphs.sizes, strict=True):
        n = int(size)
        orders = bonds[: n * (n - 1) // 2].tolist()
        mols.append(to_mol(atoms[:n].tolist(), orders, graphs.vocabulary))
    return mols


__all__ = ["Encoded", "MolecularGraphs", "encode", "to_mol", "to_mols"]
