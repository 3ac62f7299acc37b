"""Scaffolds: what is generated holds the given atoms and bonds, whatever the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rdkit import Chem

import sciflow
from sciflow import grids, solvers
from sciflow.domains.molecules import Molecules, Vocabulary, encode
from sciflow.domains.molecules.scaffold import Scaffold
from sciflow.errors import SciflowError
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import Generation
from sciflow.sampling import sample
from sciflow.streams import Streams

SMILES = ["CCO", "C1CC1N", "CC#N", "OCC=O", "CC(C)(C)O", "C1=CNC=C1", "CC(C)CC(C)N"]
TRANSFORMER = {"name": "graph-transformer", "width": 16, "edge_width": 8, "heads": 2, "blocks": 1}
GDSS = {"name": "gdss", "nodes": {"width": 8}, "bonds": {"width": 8, "attention_width": 8}}


def adapter(process: str = "marginal", network: dict | None = None) -> Molecules:
    mols = [Chem.MolFromSmiles(text) for text in SMILES]
    graphs = encode(mols, Vocabulary.of(mols)).graphs
    return Molecules.from_graphs(graphs, process, network or TRANSFORMER)


def bonds(mol: Chem.Mol) -> dict[tuple[int, int], float]:
    return {
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()): bond.GetBondTypeAsDouble()
        for bond in mol.GetBonds()
    }


@pytest.mark.parametrize(
    ("process", "network"),
    [("marginal", TRANSFORMER), ("mask", TRANSFORMER), ("vp", TRANSFORMER), ("vp", GDSS)],
)
@pytest.mark.parametrize("repeats", [1, 2])
def test_every_sample_holds_the_scaffold(process: str, network: dict, repeats: int) -> None:
    molecules = adapter(process, network)
    options = {"scaffold": "*C1CC1N", "repeats": repeats}
    streams = Streams.range(0, 0, 12, "sizes")
    frame = molecules.frame(streams, options)
    assert int(frame.masks["atoms"].sum(1).min()) >= 4
    state = sample(
        molecules.system(),
        molecules.network().eval(),
        frame,
        Streams.range(0, 0, 12, "sampling"),
        solver=solvers.Ancestral(),
        grid=grids.Power(2.0),
        steps=4,
        hooks=molecules.hooks(frame, options),
    )
    ring = {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 1.0, (2, 3): 1.0}
    for name, component in molecules.system().items():
        assert torch.equal(component.space.project(state[name], state.mask(name)), state[name])
    for mol in molecules.decode(state):
        assert [mol.GetAtomWithIdx(k).GetSymbol() for k in range(4)] == ["C", "C", "C", "N"]
        found = bonds(mol)
        assert {pair: order for pair, order in found.items() if max(pair) < 4} == ring
        # Only atom 0 was marked as one that may bear more.
        assert all(min(pair) == 0 or min(pair) > 3 for pair in found if max(pair) > 3)


def test_a_scaffold_may_be_the_whole_molecule() -> None:
    molecules = adapter()
    largest = "CC(C)CC(C)N"
    frame = molecules.frame(Streams.range(0, 0, 3, "sizes"), {"scaffold": largest})
    assert frame.masks["atoms"].sum(1).tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaffold": "CCCCCCCC"}, "8 heavy atoms.*at most 7"),
        ({"scaffold": "CCS"}, "CCS with S.*atoms that the model knows: C"),
        ({"scaffold": "CC[NH3+]"}, "with N of charge"),
        ({"scaffold": "CC.O"}, "one connected piece"),
        ({"scaffold": "[CH2]C"}, "no radical"),
        ({"scaffold": "C(C)(C)(C)(C)C"}, "RDKit accepts"),
        ({"scaffold": "no smiles"}, "RDKit accepts"),
        ({"scaffold": "*"}, "at least one atom|on one atom"),
        ({"scaffold": "C*C"}, "dummy atom"),
        ({"scaffold": "CCC", "atoms": 2}, "a number from 3 to 7"),
        ({"scaffold": "CC", "repeats": 0}, "a whole number >= 1"),
        ({"repeats": 2}, "a scaffold beside it"),
    ],
)
def test_what_cannot_be_held_is_refused(options: dict, message: str) -> None:
    molecules = adapter()
    model = Model(molecules, molecules.network().eval(), Sampling(steps=3))
    with pytest.raises(SciflowError, match=message):
        Generation.of(model, n=2, options=options)


def test_an_aromatic_scaffold_is_kekulised() -> None:
    vocabulary = Vocabulary(("C", "N", "O"))
    scaffold = Scaffold.of("c1ccncc1", vocabulary, 9)
    assert sorted(order for order in scaffold.bonds if order) == [1, 1, 1, 2, 2, 2]
    assert sum(scaffold.open) == 5  # the nitrogen has no hydrogen to give
    marked = Scaffold.of("*c1ccncc1", vocabulary, 9)
    assert sum(marked.open) == 1
    assert len(marked) == 6


def test_the_shipped_model_builds_around_a_ring() -> None:
    options = {"scaffold": "c1ccccc1"}
    made = sciflow.generate("qm9", n=12, seed=1, steps=12, options=options)
    query = Chem.MolFromSmiles("c1ccccc1")
    judged = [mol for mol in map(made.model.adapter.judged, made.objects) if mol is not None]
    assert len(judged) >= 9
    assert all(mol.HasSubstructMatch(query) for mol in judged)
    parts = sciflow.generate("qm9", n=12, seed=1, steps=12, options=options, batch_size=7)
    assert made.model.adapter.describe(made.objects) == parts.model.adapter.describe(parts.objects)


def test_the_command_line_takes_a_scaffold(tmp_path: Path) -> None:
    words = ["generate", "molecules", "-n", "3", "--steps", "4", "-o", str(tmp_path / "new.smi")]
    run = subprocess.run(
        [sys.executable, "-m", "sciflow", *words, "--option", "scaffold=CCS"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "atoms that the model knows" in run.stderr
