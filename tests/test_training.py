"""Training runs: the same weights whether or not they were interrupted, and a model at the end."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sciflow
from sciflow import checkpoint
from sciflow.errors import SciflowError
from sciflow.runtime import config, training
from sciflow.runtime.config import Config
from tests import tiny

ROOT = Path(__file__).resolve().parents[1]


def settings(folder: Path, *given: str) -> Config:
    folder.mkdir(exist_ok=True)
    return config.load(tiny.config(folder), [f"folder={folder / 'run'}", *given])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    # Other random numbers before it must not matter.
    torch.manual_seed(99)
    training.run(settings(folder))
    return folder / "run"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "model.safetensors")[0]


def test_a_run_leaves_a_model_that_generates(unbroken: Path) -> None:
    names = ["log.csv", "model.json", "model.safetensors", "training.safetensors"]
    assert sorted(p.name for p in unbroken.iterdir()) == names
    model = sciflow.load(unbroken)
    assert model.sampling.steps == 6
    assert len(sciflow.generate(model, n=3)) == 3
    card = json.loads((unbroken / "model.json").read_text())["card"]
    assert card["data"] == "thirty small molecules"
    assert card["parameters"] == model.parameters
    assert card["training"]["steps"] == 9 and card["training"]["samples"] == len(tiny.SMILES)
    assert card["training"]["config"]["recipe"]["batch_size"] == 8
    assert str(unbroken.parent) not in json.dumps(card)


def test_the_model_has_the_averaged_weights(unbroken: Path) -> None:
    saved, header = checkpoint.load(unbroken / "training.safetensors")
    assert header["step"] == 9
    for name, value in weights(unbroken).items():
        if f"ema.{name}" in saved:
            assert torch.equal(value, saved[f"ema.{name}"])
    assert any(not torch.equal(v, saved[f"network.{k}"]) for k, v in weights(unbroken).items())


def test_a_killed_run_ends_with_the_same_bits(unbroken: Path, tmp_path: Path) -> None:
    """Killed without warning at step 5, after the checkpoint of step 3, and started again."""
    settings(tmp_path)
    program = f"""
import os, signal, torch
from sciflow.runtime import config, training
torch.set_num_threads({torch.get_num_threads()})
found = config.load({str(tmp_path / "run.toml")!r}, ["folder={tmp_path / "run"}"])
training.run(found, lambda step, _: os.kill(os.getpid(), signal.SIGKILL) if step == 5 else None)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    assert not (tmp_path / "run" / "model.json").exists()
    before = training.progress(settings(tmp_path))
    assert (before.step, before.steps, before.finished) == (3, 9, False)
    steps: list[int] = []
    training.run(settings(tmp_path), lambda step, _: steps.append(step))
    assert steps == [4, 5, 6, 7, 8, 9]
    ours, theirs = weights(tmp_path / "run"), weights(unbroken)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    logs = [
        list(csv.DictReader((f / "log.csv").read_text().splitlines()))
        for f in (tmp_path / "run", unbroken)
    ]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]


def test_an_interrupted_run_keeps_every_step(unbroken: Path, tmp_path: Path) -> None:
    found = settings(tmp_path)

    def ctrl_c(step: int, _: dict[str, float]) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(found, ctrl_c)
    assert training.progress(found).step == 5
    training.run(found)
    ours, theirs = weights(found.folder), weights(unbroken)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_coupling_is_one_key(tmp_path: Path) -> None:
    given = ("recipe.steps=2", "process=linear", "recipe.coupling=ot")
    assert training.run(settings(tmp_path, *given)).system.continuous
    with pytest.raises(SciflowError, match="did you mean 'sinkhorn'"):
        settings(tmp_path, "recipe.coupling=sinkhron")


def test_other_times_or_data_are_another_run(tmp_path: Path) -> None:
    training.run(settings(tmp_path, "recipe.steps=2"))
    with pytest.raises(SciflowError, match=r"times.power: 1.0 there, 2.0 here"):
        training.run(settings(tmp_path, "recipe.steps=2", "times.power=2"))
    shorter = tmp_path / "train.smi"
    shorter.write_text("\n".join(tiny.SMILES[1:]) + "\n")
    with pytest.raises(SciflowError, match=r"data.samples: 30 there, 29 here"):
        training.run(settings(tmp_path, "recipe.steps=2", f"data.train='{shorter}'"))


def test_a_finished_run_is_not_trained_again(unbroken: Path) -> None:
    before = weights(unbroken)
    card = sciflow.load(unbroken).card
    (unbroken / "model.safetensors").unlink()
    steps: list[int] = []
    found = settings(unbroken.parent, "card.licence=MIT")
    assert training.progress(found).finished
    model = training.run(found, lambda step, _: steps.append(step))
    assert not steps
    assert all(torch.equal(value, before[name]) for name, value in weights(unbroken).items())
    assert model.card["training"] == card["training"], "it was trained when it was trained"
    assert model.card["licence"] == "MIT", "facts may be added"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("recipe.learning_rate=1e-4", "recipe.learning_rate"),
        ("seed=1", "seed"),
        ("process=mask", "adapter.process"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(unbroken: Path, given: str, named: str) -> None:
    before = (unbroken / "training.safetensors").read_bytes()
    with pytest.raises(SciflowError, match="another run") as error:
        training.run(settings(unbroken.parent, given))
    assert named in str(error.value)
    assert (unbroken / "training.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("sampling.solver=euler", "ancestral"),
        ("data.train=nosuch.smi", "nosuch.smi"),
        ("data.tran=x", "did you mean 'train'"),
        ("network.widht=3", "widht"),
        ("process=margnal", "marginal"),
        ("folder=/proc/nowhere", "/proc/nowhere"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    tmp_path: Path, given: str, message: str
) -> None:
    steps: list[int] = []
    with pytest.raises(SciflowError) as error:
        training.run(settings(tmp_path, given), lambda step, _: steps.append(step))
    assert message in str(error.value)
    assert not steps
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named_and_kept(tmp_path: Path) -> None:
    found = settings(tmp_path)
    found.folder.mkdir()
    (found.folder / "training.safetensors").write_bytes(b"12345678")
    with pytest.raises(SciflowError, match=r"training\.safetensors"):
        training.run(found)
    assert (found.folder / "training.safetensors").read_bytes() == b"12345678"
