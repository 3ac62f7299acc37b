"""Molecules by their properties: conditions from the data, wishes, guidance, and beginning from a trained model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

import sciflow
from sciflow import checkpoint
from sciflow.adapter import check
from sciflow.conditions import Conditions
from sciflow.domains.molecules import Molecules, datasets
from sciflow.domains.molecules.properties import column, compute, computed
from sciflow.domains.molecules.training import load_graphs
from sciflow.errors import SciflowError
from sciflow.learning import Dropout
from sciflow.model import Model, Sampling
from sciflow.runtime import config, training
from sciflow.runtime.generate import Generation
from sciflow.state import State
from sciflow.streams import Streams

TINY = {"name": "graph-transformer", "width": 16, "edge_width": 8, "heads": 2, "blocks": 2}
TABLE = """SMILES,Gap,note
CCO,0.30,a
CC(=O)O,0.25,
C1CC1N,,b
OCC=O,0.21,c
CC#N,0.28,d
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def adapter_of(path: Path, conditions: list[str]) -> Molecules:
    data = {"train": str(path), "conditions": conditions}
    return Molecules.from_data(data, {"network": TINY})[0]


# -- conditions from data ---------------------------------------------------------------------


def test_a_property_is_a_column_of_the_data_or_computed(table: Path) -> None:
    adapter, data = Molecules.from_data(
        {"train": str(table), "conditions": ["gap", "logp"]}, {"network": TINY}
    )
    gaps = np.array([0.30, 0.25, 0.21, 0.28])
    scale = adapter.conditions.scales["gap"]
    # The row without a number counts for nothing.
    assert (scale.mean, scale.std) == pytest.approx((gaps.mean(), gaps.std()))
    assert (scale.low, scale.high) == (0.21, 0.30)
    state = data.batch(torch.arange(5))
    shown = state.condition["gap"]
    assert shown[:, 1].tolist() == [1, 1, 0, 1, 1]
    assert shown[2].tolist() == [0, 0]
    torch.testing.assert_close(
        shown[0, 0], torch.tensor((0.30 - gaps.mean()) / gaps.std(), dtype=torch.float32)
    )
    ethanol = Chem.MolFromSmiles("CCO")
    logp = adapter.conditions.scales["logp"]
    assert shown.dtype == torch.float32
    back = state.condition["logp"][0, 0] * logp.std + logp.mean
    assert float(back) == pytest.approx(compute("logp", ethanol), abs=1e-5)


def test_computed_properties_see_aromatic_rings_in_kekulised_graphs() -> None:
    ring = Chem.MolFromSmiles("c1ccccc1O")
    kekulised = Chem.Mol(ring)
    Chem.Kekulize(kekulised, clearAromaticFlags=True)
    assert computed("logp", [kekulised])[0] == pytest.approx(compute("logp", ring))
    broken = Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False)
    assert np.isnan(computed("qed", [broken])[0])


def test_unknown_and_empty_properties_are_named(table: Path) -> None:
    mols = [Chem.MolFromSmiles("CCO")]
    with pytest.raises(SciflowError, match="did you mean 'gap'"):
        adapter_of(table, ["gapp"])
    with pytest.raises(SciflowError, match="column note.*a number in at least one row"):
        adapter_of(table, ["note"])
    with pytest.raises(SciflowError, match="one of.*logp"):
        column("gap", mols, [], "mine.smi")
    with pytest.raises(SciflowError, match="condition mu: got '3 equal values'"):
        Conditions.of({"mu": np.full(3, 2.0)})
    with pytest.raises(SciflowError, match="graph-transformer"):
        Molecules.from_data(
            {"train": str(table), "conditions": ["logp"]},
            {"process": "ve", "network": {"name": "gdss"}},
        )[0].network()


def test_properties_survive_the_encoded_file(table: Path, tmp_path: Path) -> None:
    graphs, _ = load_graphs(table, conditions=["gap", "qed"])
    graphs.save(tmp_path / "encoded.safetensors")
    again, _ = load_graphs(tmp_path / "encoded.safetensors", conditions=["gap"])
    np.testing.assert_array_equal(again.properties["gap"], graphs.properties["gap"])
    assert set(again.properties) == {"gap"}
    with pytest.raises(SciflowError, match="one of gap, qed"):
        load_graphs(tmp_path / "encoded.safetensors", conditions=["mu"])


def test_the_contract_holds_with_conditions(table: Path) -> None:
    adapter = adapter_of(table, ["gap", "logp"])
    mols = [Chem.MolFromSmiles(text) for text in ("CCO", "C1CC1N", "CC#N")]
    check(adapter, mols, lambda a, b: a.GetNumAtoms() == b.GetNumAtoms())
    assert "conditions" in adapter.config()


@pytest.mark.data
def test_the_halves_of_the_training_data_share_no_molecule(data_dir: Path) -> None:
    rows = {
        split: {row["idx"] for row in datasets.rows(f"qm9:{split}")}
        for split in ("train", "test", "train-even", "train-odd")
    }
    assert rows["train-even"] | rows["train-odd"] == rows["train"]
    assert not rows["train-even"] & rows["train-odd"]
    assert not rows["train"] & rows["test"]


# -- wishes -----------------------------------------------------------------------------------


def test_wishes_are_dealt_out_by_the_number_of_the_sample(table: Path) -> None:
    adapter = adapter_of(table, ["gap", "logp"])
    options = {"gap": [0.21, 0.25, 0.3]}
    whole = adapter.frame(Streams.range(0, 0, 7, "sizes"), options).condition
    part = adapter.frame(Streams.range(0, 4, 3, "sizes"), options).condition
    assert torch.equal(whole["gap"][4:], part["gap"])
    assert torch.equal(whole["gap"][0], whole["gap"][3])
    assert not torch.equal(whole["gap"][0], whole["gap"][1])
    assert not whole["logp"].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gap": 5.0}, "a number from 0.21 to 0.3, as in the training data"),
        ({"gap": "high"}, "a number, or a list of numbers"),
        ({"gap": []}, "a number, or a list of numbers"),
        ({"mu": 1.0}, "one of atoms, connected, gap"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(table: Path, options: dict, message: str) -> None:
    with pytest.raises(SciflowError, match=message):
        adapter_of(table, ["gap"]).frame(Streams.range(0, 0, 2, "sizes"), options)


def test_guidance_needs_a_wish(table: Path) -> None:
    adapter = adapter_of(table, ["gap"])
    model = Model(adapter, adapter.network().eval(), Sampling(steps=3))
    with pytest.raises(SciflowError, match="a wish to guide by, of gap"):
        Generation.of(model, n=2, guidance=2.0)
    made = sciflow.generate(model, n=4, options={"gap": 0.25}, guidance=2.0)
    assert made.settings["guidance"] == 2.0
    plain = Model(adapter_of(table, []), adapter.network(), Sampling(steps=3))
    with pytest.raises(SciflowError, match="a model with conditions"):
        Generation.of(plain, n=2, guidance=2.0)


def test_a_part_of_the_conditions_is_hidden_one_by_one() -> None:
    count = 4000
    ones = {name: torch.ones(count, 2) for name in ("a", "b")}
    state = State({"x": torch.zeros(count, 1)}, condition=ones)
    hidden = Dropout({"a": 0.0, "b": 0.0}, 0.2, each=0.5)(state, Streams.range(0, 0, count))
    a, b = (hidden.condition[name][:, 1].bool() for name in "ab")
    assert float((~a & ~b).float().mean()) == pytest.approx(0.2 + 0.8 * 0.25, abs=0.03)
    assert float((a & ~b).float().mean()) == pytest.approx(0.8 * 0.25, abs=0.03)
    assert float((a & b).float().mean()) == pytest.approx(0.8 * 0.25, abs=0.03)


# -- beginning from a model -------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model of the molecules of the table and a larger one."""
    path = tmp_path / "old.smi"
    path.write_text("CCO\nCC(=O)O\nC1CC1N\nOCC=O\nCC#N\nCCCCCCO\n", encoding="utf-8")
    adapter = Molecules.from_data({"train": str(path)}, {"network": TINY})[0]
    network = adapter.network().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Model(adapter, network, Sampling(steps=3)).save(tmp_path / "old")


def settings(tmp_path: Path, start: Path, **more: object) -> config.Config:
    content = {
        "domain": "molecules",
        "folder": str(tmp_path / "run"),
        "data": {"train": str(tmp_path / "mine.csv"), "conditions": ["gap", "logp"]},
        "recipe": {
            "steps": 1,
            "batch_size": 4,
            "learning_rate": 1e-6,
            "start": str(start),
        },
        **more,
    }
    return config.check(content)


def test_training_begins_with_the_weights_of_a_model(
    table: Path, trained: Path, tmp_path: Path
) -> None:
    model = training.run(settings(tmp_path, trained))
    old = sciflow.load(trained)
    assert model.adapter.vocabulary == old.adapter.vocabulary
    assert model.adapter.max_atoms == old.adapter.max_atoms
    new = model.network.state_dict()
    for name, value in old.network.state_dict().items():
        torch.testing.assert_close(new[name], value, atol=1e-4, rtol=0)
    assert {name for name in new if name not in old.network.state_dict()} == {
        f"given.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")
    }
    # The one trained step is tiny, and new inputs begin at zero: asked or not, the answer is the old one.
    streams = Streams.range(0, 0, 3, "sizes")
    t = torch.full((3,), 0.4)
    asked = model.adapter.frame(streams, {"gap": 0.22})
    prior = model.system.prior(asked.shapes, Streams.range(0, 0, 3), asked.masks, asked.condition)
    with torch.no_grad():
        for one, two in zip(
            model.network(prior, t).values(), old.network(prior, t).values(), strict=True
        ):
            torch.testing.assert_close(one, two, atol=1e-2, rtol=1e-2)
    again = sciflow.load(tmp_path / "run")
    assert again.adapter.config() == model.adapter.config()
    assert json.loads((tmp_path / "run" / "model.json").read_text())["card"]["training"]
    assert len(sciflow.generate(again, n=3, options={"logp": 0.0}).objects) == 3


def test_a_start_that_does_not_fit_is_refused(table: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(SciflowError, match="weights without a place in the network"):
        training.run(settings(tmp_path, trained, network={**TINY, "width": 24}))
    named = {"train": str(table), "vocabulary": ["O", "C"]}
    with pytest.raises(SciflowError, match="that of the model to start from"):
        training.run(settings(tmp_path, trained, data=named))


def test_a_checkpoint_of_before_goes_on(table: Path, trained: Path, tmp_path: Path) -> None:
    """What older checkpoints do not know of a recipe had its default."""
    training.run(settings(tmp_path, trained))
    path = tmp_path / "run" / "training.safetensors"
    tensors, header = checkpoint.load(path)
    del header["run"]["recipe"]["condition_dropout"]
    checkpoint.save(path, tensors, header)
    training.run(settings(tmp_path, trained))


# -- bad input --------------------------------------------------------------------------------


def test_what_training_leaves_out_is_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "mixed.smi"
    rows = [
        "CCO",
        "CC[NH3+].[Cl-]",
        "CCCCCCCC",
        "C[CH2]",
        "CC(=O)[O-]",
        "Cl",
        "C(C)(C)(C)(C)C",
        "*CC",
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    data = {"train": str(path), "max_atoms": 5, "vocabulary": ["C", "O"]}
    _, dataset = Molecules.from_data(data, {"network": TINY})
    assert len(dataset) == 1
    reasons = dict(dataset.left_out)
    assert reasons.pop("in pieces (a salt or a mixture)") == 1
    assert reasons.pop("more than 5 heavy atoms") == 1
    assert reasons.pop("atom O- is not in the vocabulary") == 1
    assert reasons.pop("atom Cl is not in the vocabulary") == 1
    assert reasons.pop("atom * is not in the vocabulary") == 1
    assert sum("radical" in reason for reason in reasons) == 1
    assert sum("valence" in reason for reason in reasons) == 1
    found, _ = Molecules.from_data({"train": str(path), "max_atoms": 5}, {"network": TINY})
    assert found.vocabulary.names == ("C", "O", "Cl", "O-")  # not N+ and Cl- of the salt


def test_a_property_that_the_model_lacks_is_named() -> None:
    with pytest.raises(SciflowError, match="gap.*a model that has learnt.*qm9-properties"):
        sciflow.generate("qm9", n=1, steps=2, options={"gap": 0.2})


def test_one_error_where_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "salts.smi"
    path.write_text("[Na+].[Cl-]\nCCCCCC\n", encoding="utf-8")
    with pytest.raises(SciflowError, match=r"1 x in pieces.*1 x more than 5 heavy atoms"):
        Molecules.from_data({"train": str(path), "max_atoms": 5}, {"network": TINY})


# -- the shipped model ------------------------------------------------------------------------


def test_the_shipped_model_gives_what_it_is_asked_for() -> None:
    model = sciflow.load("qm9-properties")
    reward = model.adapter.rewards()["logp"]
    wanted = [-1.5, -0.5, 0.5, 1.5]

    def error(**asked: object) -> float:
        made = sciflow.generate(model, n=32, seed=0, steps=15, **asked)
        found = [
            abs(reward(mol) - wanted[k % 4])
            for k, mol in enumerate(map(model.adapter.judged, made.objects))
            if mol is not None
        ]
        assert len(found) >= 24
        return float(np.mean(found))

    assert error(options={"logp": wanted}, guidance=2.0) < 0.5 * error(guidance=None)
