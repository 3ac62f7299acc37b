"""The molecules adapter keeps the contract for every process, and its states mean what they say."""

from __future__ import annotations

import pytest
import torch
from rdkit import Chem

from sciflow import grids, paths, solvers
from sciflow.adapter import check
from sciflow.domains.molecules import Molecules, Vocabulary, encode
from sciflow.errors import SciflowError
from sciflow.sampling import sample
from sciflow.streams import Streams

SMILES = ["CCO", "C1CC1N", "CC#N", "OCC=O", "C", "CC(C)(C)O", "C1=CNC=C1"]
TRANSFORMER = {"name": "graph-transformer", "width": 16, "edge_width": 8, "heads": 2, "blocks": 2}
GDSS = {"name": "gdss", "nodes": {"width": 8}, "bonds": {"width": 8, "attention_width": 8}}
PROCESSES = [(name, TRANSFORMER) for name in (*paths.JUMPS, *paths.GAUSSIAN)]
PROCESSES += [(name, GDSS) for name in paths.GAUSSIAN]


def mols() -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(text) for text in SMILES]


def adapter(process, network) -> Molecules:
    data = mols()
    return Molecules.from_graphs(encode(data, Vocabulary.of(data)).graphs, process, network)


def same(a: Chem.Mol, b: Chem.Mol) -> bool:
    b = Chem.Mol(b)
    Chem.SanitizeMol(b)
    return Chem.MolToSmiles(a) == Chem.MolToSmiles(b)


@pytest.mark.parametrize(
    ("process", "network"), PROCESSES, ids=lambda v: v if isinstance(v, str) else v["name"]
)
def test_contract(process: str, network: dict) -> None:
    check(adapter(process, network), mols(), same)


@pytest.mark.parametrize(
    ("process", "network"), PROCESSES, ids=lambda v: v if isinstance(v, str) else v["name"]
)
def test_every_process_trains_and_samples(process: str, network: dict) -> None:
    molecules = adapter(process, network)
    system, net = molecules.system(), molecules.network()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    clean = molecules.encode(mols())
    for step in range(3):
        streams = Streams.range(0, step * len(SMILES), len(SMILES))
        t = 0.02 + 0.96 * streams.uniform(())
        loss = system.loss(net, clean, t, streams).total
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    streams = Streams.range(1, 0, 5)
    state = sample(
        system,
        net.eval(),
        molecules.frame(streams),
        streams,
        solver=solvers.Ancestral(),
        grid=grids.Power(2.0),
        steps=4,
    )
    for name, component in system.items():
        assert torch.isfinite(state[name].float()).all()
        projected = component.space.project(state[name], state.mask(name))
        assert torch.equal(projected, state[name])
    assert len(molecules.decode(state)) == 5


def test_permuting_the_atoms_permutes_the_answer() -> None:
    molecules = adapter("marginal", TRANSFORMER)
    net = molecules.network().eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(
            parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel())
        )
    mol = Chem.MolFromSmiles("C1=CNC=C1")
    order = [3, 0, 4, 2, 1]
    moved = Chem.RenumberAtoms(mol, order)
    t = torch.tensor([0.4])
    with torch.no_grad():
        a, b = (net(molecules.encode([m]), t) for m in (mol, moved))
    assert torch.allclose(a["atoms"][0][order], b["atoms"][0], atol=1e-5)
    from sciflow.domains.molecules.networks.ends import to_matrix

    matrix = [to_matrix(x["bonds"].transpose(1, 2), 5)[0] for x in (a, b)]
    assert torch.allclose(matrix[0][:, order][:, :, order], matrix[1], atol=1e-5)


def test_large_graphs_take_the_other_gather_to_the_same_answer(monkeypatch) -> None:
    from sciflow.domains.molecules.networks import ends

    molecules = adapter("marginal", TRANSFORMER)
    net, state, t = molecules.network().eval(), molecules.encode(mols()), torch.full((7,), 0.5)
    with torch.no_grad():
        dense = net(state, t)
        monkeypatch.setattr(ends, "_PRODUCT", 0)
        gathered = net(state, t)
    assert all(torch.allclose(dense[k], gathered[k], atol=1e-5) for k in dense)


def test_adjacency_is_quantised_as_in_gdss() -> None:
    molecules = adapter("ve", GDSS)
    state = molecules.encode([Chem.MolFromSmiles("CC(C)(C)O")])
    bonds = state["bonds"].clone()
    bonds[0, 0, 1] = bonds[0, 1, 0] = 1.49
    bonds[0, 1, 2] = bonds[0, 2, 1] = 0.49
    atoms = state["atoms"].clone()
    atoms[0, 3] = 0.2  # no channel above one half: the atom goes, with its bonds
    mol = molecules.decode(state.replace(atoms=atoms, bonds=bonds))[0]
    assert mol.GetNumAtoms() == 4 and mol.GetNumBonds() == 2


def test_size_option_and_its_errors() -> None:
    molecules = adapter("marginal", TRANSFORMER)
    frame = molecules.frame(Streams.range(0, 0, 3), {"atoms": 4})
    assert frame.masks["atoms"].sum(1).tolist() == [4, 4, 4]
    for options in ({"atoms": 99}, {"atom": 3}):
        with pytest.raises(SciflowError, match="expected"):
            molecules.frame(Streams.range(0, 0, 3), options)


@pytest.mark.parametrize(
    ("process", "network", "message"),
    [
        ("margnal", TRANSFORMER, "did you mean 'marginal'"),
        ({"path": "vp", "beta_mx": 3}, TRANSFORMER, "did you mean 'beta_max'"),
        ("marginal", GDSS, "Gaussian path"),
        ({"atoms": {"path": "vp"}, "bonds": {"path": "mask"}}, TRANSFORMER, "two Gaussian"),
        ("vp", {"name": "gds"}, "did you mean 'gdss'"),
    ],
)
def test_wrong_configurations_name_the_remedy(process, network, message: str) -> None:
    with pytest.raises(SciflowError, match=message):
        adapter(process, network)


def test_a_molecule_outside_the_vocabulary_is_named() -> None:
    with pytest.raises(SciflowError, match="molecule 1.*Br"):
        adapter("marginal", TRANSFORMER).encode(
            [Chem.MolFromSmiles("CC"), Chem.MolFromSmiles("CBr")]
        )
