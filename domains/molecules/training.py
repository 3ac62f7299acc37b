"""Training data: molecules from a file or a data set, encoded, with the properties that are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sciflow.conditions import Conditions
from sciflow.errors import unknown
from sciflow.state import State

from .graphs import MolecularGraphs, encode
from .process import Process
from .vocabulary import Vocabulary


class GraphDataset:
    """Encoded molecules as training data of a process.

    Args:
        graphs: The molecules.
        process: The process, which decides the form of the state.
        conditions: Properties to show; those that the graphs lack are not given.
        left_out: Number of molecules that are not among them, by reason.
    """

    def __init__(
        self,
        graphs: MolecularGraphs,
        process: Process,
        conditions: Conditions | None = None,
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        self.process = process
        self.conditions = conditions or Conditions()
        self.left_out = dict(left_out or {})
        self.properties = {k: torch.from_numpy(v) for k, v in graphs.properties.items()}
        self.atoms = torch.from_numpy(graphs.atoms)
        self.bonds = torch.from_numpy(graphs.bonds)
        self.sizes = torch.from_numpy(graphs.sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def batch(self, index: Tensor) -> State:
        """Return some molecules as a clean state, padded to the largest of them."""
        sizes = self.sizes[index].long()
        nodes = int(sizes.max())
        atoms = self.atoms[index, :nodes].long()
        bonds = self.bonds[index, : nodes * (nodes - 1) // 2].long()
        known = {name: values[index] for name, values in self.properties.items()}
        shown = self.conditions.show(known, len(sizes))
        return self.process.show(atoms, bonds, sizes).with_condition(**shown)


def found_vocabulary(mols: Sequence[Any], max_atoms: int | None = None) -> Vocabulary:
    """Find the atom types of the molecules that can be used: of one piece and small enough."""
    from rdkit import Chem

    fit = [
        mol
        for mol in mols
        if (max_atoms is None or mol.GetNumAtoms() <= max_atoms)
        and len(Chem.GetMolFrags(mol)) == 1
    ]
    return Vocabulary.of(fit or mols)


def load_graphs(
    path: str | Path,
    vocabulary: Sequence[str] | None = None,
    max_atoms: int | None = None,
    conditions: Sequence[str] = (),
) -> tuple[MolecularGraphs, Counter[str]]:
    """Load encoded molecules, or encode molecules, finding the vocabulary if none is given.

    Args:
        path: An encoded ``.safetensors`` file, a file of molecules, or the name of a data set (``qm9:train``).
        vocabulary: Names of the atom types; molecules with others are left out.
        max_atoms: Largest number of atoms; larger molecules are left out.
        conditions: Names of properties to take along.

    Returns:
        The graphs, and the number of molecules left out by reason.
    """
    if str(path).endswith(".safetensors"):
        graphs = MolecularGraphs.load(path)
        for name in conditions:
            if name not in graphs.properties:
                raise unknown(f"{path}: property", name, graphs.properties)
        chosen = {name: graphs.properties[name] for name in conditions}
        return replace(graphs, properties=chosen), Counter()
    from . import datasets, files, properties

    left_out: Counter[str] = Counter()
    if datasets.is_name(str(path)):
        mols, rows = datasets.table(str(path))
    else:
        read = files.read(path)
        mols, rows, left_out = read.mols, [], read.reasons()
        if conditions and ".csv" in Path(path).suffixes:
            whole = properties.table(path)
            rows = [whole[row - 1] for row in read.rows]
    names = Vocabulary(tuple(vocabulary)) if vocabulary else found_vocabulary(mols, max_atoms)
    encoded = encode(mols, names, max_atoms, whole=True, left_out=left_out)
    kept = list(encoded.kept)
    mols, rows = [mols[k] for k in kept], [rows[k] for k in kept] if rows else []
    values = {name: properties.column(name, mols, rows, str(path)) for name in conditions}
    return replace(encoded.graphs, properties=values), encoded.skipped


__all__ = ["GraphDataset", "found_vocabulary", "load_graphs"]
