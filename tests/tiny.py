"""A tiny model of molecules, untrained: enough to run everything that runs a model."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from sciflow.model import Model, Sampling

SMILES = """CCO CCN CCC CC=O CC#N C1CC1 C1CCCC1 c1ccccc1 c1ccncc1 CC(C)O CCOC OCCO NCCO CC(=O)O CC(=O)N
C1CCOC1 C1CCNC1 c1ccoc1 c1cc[nH]c1 CCCC CCCO CC(C)C C=CC C#CC FC(F)F CCF OC1CC1 NC1CC1 CC1CO1 O=C1CCC1""".split()

NETWORK = {"name": "graph-transformer", "width": 16, "edge_width": 8, "heads": 2, "blocks": 1}
NETWORK |= {"condition": 16}


def data(folder: Path) -> Path:
    """Write the molecules to a file."""
    path = folder / "data.smi"
    path.write_text("\n".join(SMILES) + "\n", encoding="utf-8")
    return path


@cache
def model() -> Model:
    """The model; a path to it is made by `saved`."""
    from rdkit import Chem

    from sciflow.domains.molecules import Molecules, Vocabulary, encode

    mols = [Chem.MolFromSmiles(smiles) for smiles in SMILES]
    graphs = encode(mols, Vocabulary.of(mols)).graphs
    torch.manual_seed(0)
    adapter = Molecules.from_graphs(graphs, network=NETWORK)
    card = {"description": "an untrained model for tests"}
    network = adapter.network().eval()
    return Model(adapter, network, Sampling("ancestral", "uniform", 6), card, "tiny")


def saved(folder: Path) -> Path:
    """Write the model to ``folder/tiny``."""
    return model().save(folder / "tiny")


def graph(mol: Any) -> tuple[Any, ...]:
    """A raw molecule as plain values that can be compared."""
    atoms = tuple((atom.GetSymbol(), atom.GetFormalCharge()) for atom in mol.GetAtoms())
    bonds = {
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), str(bond.GetBondType()))
        for bond in mol.GetBonds()
    }
    return atoms, tuple(sorted(bonds))


CONFIG = """\
domain = "molecules"
process = "marginal"
device = "cpu"

[data]
train = "data.smi"

[network]
name = "graph-transformer"
width = 16
edge_width = 8
heads = 2
blocks = 1
condition = 16

[recipe]
steps = 9
batch_size = 8
warmup = 2
checkpoint_every = 3
log_every = 1

[sampling]
steps = 6

[card]
data = "thirty small molecules"
"""


def config(folder: Path) -> Path:
    """Write the molecules and a training configuration."""
    data(folder)
    path = folder / "run.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path
