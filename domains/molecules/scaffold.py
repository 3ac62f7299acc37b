"""Scaffolds: molecules that hold given atoms and bonds, the rest generated around them (inpainting).

The first m atoms of every molecule are those of the scaffold, in its order, and all pairs among them are held: bonds
with their kekulised orders, and the absence of one. Atoms with hydrogens may bear new ones in their place; if the
scaffold has dummy atoms, as in ``*c1ccccc1``, only the atoms that they hang on.

Reference: Lugmayr et al., RePaint, arXiv:2201.09865 (known parts held on their way, resampling); see
`sciflow.hooks.inpaint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from rdkit import Chem, rdBase
from torch import Tensor

from sciflow.errors import expected
from sciflow.hooks import Inpaint
from sciflow.spaces import pair_index
from sciflow.state import Frame

from .graphs import encode
from .process import Process
from .vocabulary import Vocabulary


@dataclass(frozen=True)
class Scaffold:
    """Atoms and bonds that every molecule shall hold.

    Args:
        atoms: Atom labels ``[m]``.
        bonds: Bond orders of the pairs ``[m (m - 1) / 2]``.
        open: Which atoms may bear new ones ``[m]``.
    """

    atoms: tuple[int, ...]
    bonds: tuple[int, ...]
    open: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.atoms)

    @classmethod
    def of(cls, text: str, vocabulary: Vocabulary, max_atoms: int) -> Scaffold:
        """Read a SMILES; dummy atoms ``*`` mark where new atoms may be.

        Args:
            text: SMILES of one piece.
            vocabulary: Atom types of the model.
            max_atoms: Largest number of atoms of the model.

        Raises:
            SciflowError: It is no SMILES, or no molecule; in pieces; too large; or of atoms that the model lacks.
        """
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(str(text))
        if mol is None or not mol.GetNumAtoms():
            raise expected("scaffold", text, "the SMILES of a molecule that RDKit accepts")
        atoms = [mol.GetAtomWithIdx(k) for k in range(mol.GetNumAtoms())]
        dummies = [atom for atom in atoms if atom.GetAtomicNum() == 0]
        for atom in dummies:
            near = atom.GetNeighbors()
            if len(near) != 1 or near[0].GetAtomicNum() == 0:
                raise expected(
                    "scaffold", text, "every dummy atom * on one atom, where new ones may be"
                )
        marked = {atom.GetNeighbors()[0].GetIdx() for atom in dummies}
        real = [atom.GetIdx() for atom in atoms if atom.GetAtomicNum()]
        if not real:
            raise expected("scaffold", text, "at least one atom beside the dummies")
        opened = tuple(k in marked if dummies else atoms[k].GetTotalNumHs() > 0 for k in real)
        bare = Chem.RWMol(mol)
        Chem.Kekulize(bare, clearAromaticFlags=True)
        for k in sorted((atom.GetIdx() for atom in dummies), reverse=True):
            bare.RemoveAtom(k)
        if any(atom.GetNumRadicalElectrons() for atom in atoms):
            wanted = "no radical; * marks where new atoms may be"
            raise expected("scaffold", text, wanted, "for instance *CC")
        if len(Chem.GetMolFrags(bare)) > 1:
            raise expected("scaffold", text, "one connected piece", "generate for each by itself")
        if len(real) > max_atoms:
            raise expected(
                "scaffold", f"{text} with {len(real)} heavy atoms", f"at most {max_atoms}, as in "
                "the training data of the model",
            )  # fmt: skip
        kinds = {(atom.GetSymbol(), atom.GetFormalCharge()) for atom in bare.GetAtoms()}
        missing = sorted(kind for kind in kinds if vocabulary.label(*kind) is None)
        if missing:
            symbol, charge = missing[0]
            known = ", ".join(vocabulary.names)
            what = f"{text} with {symbol}" + (f" of charge {charge:+d}" if charge else "")
            raise expected("scaffold", what, f"atoms that the model knows: {known}")
        graphs = encode([bare], vocabulary).graphs
        return cls(tuple(graphs.atoms[0].tolist()), tuple(graphs.bonds[0].tolist()), opened)

    def inpaint(self, process: Process, frame: Frame, repeats: int = 1) -> Inpaint:
        """Return the hook that holds the scaffold in a batch.

        Args:
            process: Process of the model.
            frame: Frame of the batch; every molecule has at least as many atoms as the scaffold.
            repeats: How often each step is made (see `Inpaint`).
        """
        real = frame.masks["atoms"]
        nodes, m = real.shape[1], len(self)
        i, j = pair_index(nodes)
        atoms = torch.zeros(1, nodes, dtype=torch.int64)
        atoms[0, :m] = torch.tensor(self.atoms)
        bonds = torch.zeros(1, len(i), dtype=torch.int64)
        bonds[0, : len(self.bonds)] = torch.tensor(self.bonds, dtype=torch.int64)
        clean = process.show(atoms, bonds, torch.tensor([nodes]))
        clean = clean.map(lambda x: x.expand(len(real), *x.shape[1:]))
        inside = torch.arange(nodes) < m
        closed = torch.zeros(nodes, dtype=torch.bool)
        closed[:m] = ~torch.tensor(self.open)
        # i > j: a pair with one end in the scaffold has it in j.
        pairs = inside[i] | (closed[j] & ~inside[i])
        known = {"atoms": inside, "bonds": pairs}
        if process.form == "adjacency":
            matrix = torch.zeros(nodes, nodes, dtype=torch.bool)
            matrix[i, j] = matrix[j, i] = pairs
            known["bonds"] = matrix
        return Inpaint(clean, _real(known, frame.masks), repeats, noised=False)


def _real(known: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is known of the real elements of each sample; padding is not anyone's."""
    return {name: where.to(masks[name].device) & masks[name] for name, where in known.items()}


__all__ = ["Scaffold"]
