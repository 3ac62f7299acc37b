"""NSPDK: the features against their definition, the estimate against its law."""

from __future__ import annotations

import csv
import gzip
import random
from collections import Counter
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from rdkit import Chem

from sciflow.domains.molecules import nspdk, validity

TEXTS = (
    "C", "CC", "CCO", "C1CC1", "c1ccccc1O", "CC(=O)NC", "C#CC1CC1", "O=c1[nH]cccc1", "CCCCCCCC",
    "C1CC2CC1O2", "NCC(F)=O", "N#CC1=NOC=C1", "CC12CC1(O)C2", "OC1CCCCC1N", "CN1CC1", "C=CC=O",
)  # fmt: skip
MOLS = [validity.raw(Chem.MolFromSmiles(text)) for text in TEXTS]


def defined(mol: Chem.Mol) -> dict[object, float]:
    """Return the feature vector as the definition says it, unhashed and slow."""
    mol = Chem.Mol(mol)
    Chem.SanitizeMol(mol)
    both = nx.Graph()  # a vertex for each atom and for each bond
    for a in mol.GetAtoms():
        both.add_node(("a", a.GetIdx()), label=a.GetSymbol())
    for b in mol.GetBonds():
        both.add_node(("b", b.GetIdx()), label=int(b.GetBondTypeAsDouble()))
        both.add_edge(("b", b.GetIdx()), ("a", b.GetBeginAtomIdx()))
        both.add_edge(("b", b.GetIdx()), ("a", b.GetEndAtomIdx()))
    atoms = [v for v in both if v[0] == "a"]
    away = {v: nx.single_source_shortest_path_length(both, v, cutoff=8) for v in atoms}

    def ball(v: tuple, r: int) -> str | None:
        shells = []
        for s in range(2 * r + 1):
            shell = sorted(str((both.nodes[u]["label"], both.degree(u))) for u in away[v]
                           if away[v][u] == s)  # fmt: skip
            if not shell:
                return None
            shells.append(shell)
        return str(shells)

    vector: Counter[object] = Counter()
    for r in range(5):
        for d in range(5):
            block: Counter[object] = Counter()
            for v in atoms:
                for u in atoms:
                    pair = ball(v, r), ball(u, r)
                    if away[v].get(u) == 2 * d and None not in pair:
                        block[(r, d, *sorted(map(str, pair)))] += 1
                        block[(r, d, pair[1], "half")] += 1
            norm = sum(c * c for c in block.values()) ** 0.5
            for key, count in block.items():
                vector[key] = count / norm
    norm = sum(c * c for c in vector.values()) ** 0.5
    return {key: count / norm for key, count in vector.items()}


def test_kernel_is_that_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [defined(mol) for mol in MOLS]
    wanted = np.array([[sum(x[k] * y.get(k, 0.0) for k in x) for y in slow] for x in slow])
    rows = nspdk.vectors(MOLS)
    assert np.abs(rows @ rows.T - wanted).mean() < 0.001  # collisions in 65,536 bins
    monkeypatch.setattr(nspdk, "BINS", 1 << 40)  # so many that there are none
    fine = []
    for mol in MOLS:
        _, feature, value = nspdk._features([nspdk._Graph.of(mol)])
        fine.append(dict(zip(feature.tolist(), value.tolist(), strict=True)))
    found = np.array([[sum(x[k] * y.get(k, 0.0) for k in x) for y in fine] for x in fine])
    assert np.abs(found - wanted).max() < 1e-12


def test_vectors_have_unit_length() -> None:
    assert np.allclose(np.linalg.norm(nspdk.vectors(MOLS), axis=1), 1.0, atol=1e-12)


def test_embedding_is_the_mean_vector_however_it_is_computed() -> None:
    whole = nspdk.embed(MOLS)
    assert whole.count == len(MOLS)
    assert np.allclose(whole.mean, nspdk.vectors(MOLS).mean(0), atol=1e-14)
    parts = nspdk.embed(MOLS[:5]) + nspdk.embed(MOLS[5:])
    assert parts.count == len(MOLS)
    assert np.allclose(whole.mean, parts.mean, atol=1e-14)


def test_mmd_is_the_biased_estimate_over_all_pairs() -> None:
    x, y = MOLS[:6], MOLS[6:]
    a, b = nspdk.vectors(x), nspdk.vectors(y)
    wanted = (a @ a.T).mean() + (b @ b.T).mean() - 2 * (a @ b.T).mean()
    assert nspdk.mmd(nspdk.embed(x), nspdk.embed(y)) == pytest.approx(wanted, abs=1e-12)
    assert nspdk.mmd(nspdk.embed(x), nspdk.embed(x[::-1])) == pytest.approx(0.0, abs=1e-25)


def test_the_order_of_atoms_does_not_matter() -> None:
    rng = random.Random(0)
    shuffled = []
    for mol in MOLS:
        order = list(range(mol.GetNumAtoms()))
        rng.shuffle(order)
        shuffled.append(Chem.RenumberAtoms(mol, order))
    assert np.allclose(nspdk.vectors(MOLS), nspdk.vectors(shuffled), atol=1e-14)


def test_raw_and_aromatic_molecules_are_the_same() -> None:
    aromatic = [Chem.MolFromSmiles(text) for text in TEXTS]
    assert np.allclose(nspdk.vectors(MOLS), nspdk.vectors(aromatic), atol=1e-14)
    benzene, cyclohexane = (
        nspdk.vectors([Chem.MolFromSmiles(t)]) for t in ("c1ccccc1", "C1CCCCC1")
    )
    assert np.allclose(benzene, cyclohexane)  # an aromatic bond counts as 1


def test_hashing_is_the_same_in_every_process() -> None:
    mean = nspdk.embed(MOLS).mean
    place = np.arange(nspdk.BINS) % 997
    assert mean @ place == pytest.approx(4222.6285827125475, rel=1e-9)


def test_small_samples_follow_the_stated_bias() -> None:
    # Molecules drawn with replacement from a pool: the law holds for their true mean.
    pool = nspdk.vectors(MOLS)
    kernel = pool @ pool.T
    kappa = kernel.mean()
    rng = np.random.default_rng(0)
    n, m = 12, 20
    even = np.full(len(MOLS), 1 / len(MOLS))
    weights = rng.multinomial(n, even, 4000) / n - rng.multinomial(m, even, 4000) / m
    found = np.einsum("ri,ij,rj->r", weights, kernel, weights).mean()
    wanted = (1 - kappa) * (1 / n + 1 / m)
    assert found == pytest.approx(wanted, rel=0.02)
    # and kappa is estimated without bias from a small sample
    counts = rng.multinomial(n, even, 4000)
    guesses = [nspdk.Embedding(c @ pool / n, n).kappa for c in counts[:300]]
    assert np.mean(guesses) == pytest.approx(kappa, abs=4 * np.std(guesses) / 300**0.5)
    assert nspdk.floor(nspdk.Embedding(pool.mean(0), 10**9), n, m) == pytest.approx(wanted)


def test_graphs_without_atoms_are_left_out_and_invalid_ones_are_not() -> None:
    assert nspdk.embed([Chem.Mol()]).count == 0
    five = validity.read_raw("CC(C)(C)(C)C")
    assert nspdk.embed([Chem.Mol(), five]).count == 1
    assert not np.allclose(nspdk.vectors([five]), nspdk.vectors([validity.read_raw("CC(C)(C)C")]))


@pytest.mark.data
def test_two_halves_of_qm9_lie_at_the_noise_floor(data_dir: Path) -> None:
    with gzip.open(data_dir / "molecules" / "qm9_smiles_props.csv.gz", "rt") as file:
        texts = [row["smiles"] for row in csv.DictReader(file)]
    drawn = [Chem.MolFromSmiles(t) for t in random.Random(0).sample(texts, 600)]
    one, two = nspdk.embed(drawn[:300]), nspdk.embed(drawn[300:])
    assert one.kappa == pytest.approx(0.125, abs=0.01)
    assert nspdk.mmd(one, two) == pytest.approx(nspdk.floor(one, 300, 300), rel=0.1)
