"""Models: what is saved is what is loaded, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import sciflow
from sciflow import model, registry
from sciflow.errors import SciflowError
from tests import tiny


def test_a_saved_model_generates_the_same(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path)
    again = sciflow.load(folder)
    assert again.name == "tiny"
    assert again.sampling == tiny.model().sampling
    assert again.card == tiny.model().card
    assert again.adapter.config() == tiny.model().adapter.config()
    for name, tensor in tiny.model().network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)
    assert not again.network.training
    ours, theirs = (sciflow.generate(m, n=5, seed=3).objects for m in (tiny.model(), again))
    assert list(map(tiny.graph, ours)) == list(map(tiny.graph, theirs))


def test_the_files_hold_no_code_and_can_be_read_as_text(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]
    assert json.loads((folder / "model.json").read_text())["domain"] == "molecules"


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(SciflowError, match="nosuch"):
        sciflow.load("nosuch")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SciflowError, match=r"without model\.json"):
        sciflow.load(tmp_path / "empty")


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "model.json").write_text("{"),
        lambda f: (f / "model.json").write_text("[]"),
        lambda f: (f / "model.json").write_bytes(b"\xff\xff"),
        lambda f: _edit(f, format=99),
        lambda f: _edit(f, domain="molecule"),
        lambda f: _edit(f, domain=None),
        lambda f: _edit(f, adapter={}),
        lambda f: _edit(f, adapter={"vocabulary": 3}),
        lambda f: _edit(f, sampling={"solvr": "x"}),
        lambda f: (f / "model.safetensors").unlink(),
        lambda f: (f / "model.safetensors").write_bytes(b""),
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-100]
        ),
        lambda f: save_file({"weight": torch.zeros(2)}, f / "model.safetensors"),
    ],
)
def test_damage_is_one_clear_error(tmp_path: Path, damage: object) -> None:
    folder = tiny.saved(tmp_path)
    damage(folder)  # type: ignore[operator]
    with pytest.raises(SciflowError) as error:
        sciflow.load(folder)
    assert "expected" in str(error.value)
    assert str(folder) in str(error.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path)
    config = json.loads((folder / "model.json").read_text())
    config["adapter"]["network"]["width"] = 32
    _edit(folder, adapter=config["adapter"])
    with pytest.raises(SciflowError, match="do not belong together"):
        sciflow.load(folder)


def test_shipped_models_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "domain"
    for name in ("first", "second"):
        tiny.model().save(home / "models" / name)
    monkeypatch.setattr(registry, "names", lambda: ("molecules",))
    monkeypatch.setattr(registry, "folder", lambda name: home)
    assert list(model.cards()) == ["first", "second"]
    assert model.default("molecules") == "first"
    path = home / "models" / "second" / "model.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "card": {"default": True}}))
    assert model.default("molecules") == "second"
    assert model.cards()["second"]["sampling"]["steps"] == 6
    assert sciflow.load("second").name == "second"
    with pytest.raises(SciflowError, match="did you mean 'second'"):
        sciflow.load("secund")
    with pytest.raises(SciflowError, match="did you mean 'molecules'"):
        model.default("molecule")
