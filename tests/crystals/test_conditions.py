"""Crystals by their properties: what is shown of the data, wishes, and beginning from a model that knows none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from crystals.test_adapter import SMALL, alike, crystals

from sciflow import checkpoint
from sciflow.adapter import check
from sciflow.domains.crystals import Adapter, Crystal, CrystalDataset, encode
from sciflow.domains.crystals.training import load
from sciflow.errors import SciflowError
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import Generation, generate
from sciflow.streams import Streams

MASK = {"coordinates": "bayes", "species": "mask"}


def adapter() -> tuple[Adapter, CrystalDataset]:
    objects = crystals()
    values = {
        "band_gap": [1.0, 3.0, math.nan, 2.0],
        "density": [Crystal.of(c).density for c in objects],
    }
    encoded = encode(objects, properties=values).crystals
    own = Adapter.of(encoded, MASK, SMALL)
    return own, CrystalDataset(encoded, own)


def test_a_number_of_the_data_is_shown_on_the_scale_of_the_data_and_a_missing_one_is_not_given() -> (
    None
):
    own, data = adapter()
    shown = data.batch(torch.arange(4)).condition["band_gap"]
    spread = math.sqrt(2 / 3)
    assert shown[:, 1].tolist() == [1, 1, 0, 1]
    assert torch.allclose(shown[:, 0], torch.tensor([-1 / spread, 1 / spread, 0.0, 0.0]))
    assert Adapter.from_config(own.config()).conditions == own.conditions
    check(own, crystals(), alike)


def test_properties_are_columns_of_the_data_or_computed(tmp_path: Path) -> None:
    objects = crystals()
    encode(objects, properties={"band_gap": [1.0, 2.0, 3.0, 4.0]}).crystals.save(
        tmp_path / "mine.safetensors"
    )
    found, _ = load(tmp_path / "mine.safetensors", conditions=["kinds", "band_gap"])
    assert found.properties["kinds"].tolist() == [3, 2, 3, 2]
    assert found.properties["band_gap"].tolist() == [1, 2, 3, 4]
    assert not load(tmp_path / "mine.safetensors")[0].properties
    with pytest.raises(SciflowError, match="did you mean 'band_gap'"):
        load(tmp_path / "mine.safetensors", conditions=["band_gab"])


def test_a_network_that_learns_properties_begins_as_the_model_it_starts_from() -> None:
    own, data = adapter()
    plain = Adapter.of(encode(crystals()).crystals, MASK, SMALL)
    torch.manual_seed(0)
    start, network = plain.network(), own.network()
    with torch.no_grad():
        for weight in start.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    missing = checkpoint.begin(network, start.state_dict(), "start")
    assert all(name.startswith("given.") for name in missing)
    state, t = data.batch(torch.arange(4)), torch.tensor([0.1, 0.4, 0.6, 0.9])
    for name, value in start(state, t).items():
        assert torch.equal(network(state, t)[name], value)
    with torch.no_grad():
        network.given[2].weight.normal_()
    other = state.with_condition(band_gap=state.condition["band_gap"] + 1)
    assert not torch.allclose(network(state, t)["lattice"], network(other, t)["lattice"])


def test_wishes_are_dealt_out_and_guided_by() -> None:
    own, _ = adapter()
    frame = own.frame(Streams.range(0, 0, 4, "sizes"), {"band_gap": [1.0, 3.0], "atoms": 2})
    shown = frame.condition["band_gap"]
    assert torch.equal(shown[0], shown[2])
    assert not torch.equal(shown[0], shown[1])
    assert not frame.condition["density"].any()
    model = Model(own, own.network().eval(), Sampling(steps=2, solver="ancestral"), {}, "")
    made = generate(model, 3, options={"band_gap": 2.0, "spacegroup": 2}, guidance=2.0)
    assert len(made.objects) == 3
    with pytest.raises(SciflowError, match="a number from 1 to 3, as in the training data"):
        Generation.of(model, options={"band_gap": 9.0})
    with pytest.raises(SciflowError, match="a wish to guide by, of band_gap, density"):
        Generation.of(model, guidance=2.0)


def test_a_model_without_properties_says_so() -> None:
    plain = Adapter.of(encode(crystals()).crystals, MASK, SMALL)
    with pytest.raises(SciflowError, match="a model that has learnt it"):
        plain.frame(Streams.range(0, 0, 1, "sizes"), {"band_gap": 1.0})
    with pytest.raises(SciflowError, match="network 'periodic'"):
        own, _ = adapter()
        Adapter.from_config({**own.config(), "network": {"name": "e3nn"}}).network()
