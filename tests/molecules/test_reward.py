"""Steering by any function of a molecule, from Python and from the command line."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

import sciflow
from sciflow.errors import SciflowError
from sciflow.hooks.particles import _forgiving
from sciflow.model import Model
from sciflow.runtime.generate import Generation
from sciflow.runtime.steering import STRENGTH, ObjectReward, Steering, parse

SCORE = """
def atoms(mol):
    if mol.GetNumAtoms() == 9:
        raise RuntimeError("nine are too many")
    return mol.GetNumAtoms()

def broken(mol):
    return 1 / 0

def flat(mol):
    return 1.0
"""


@pytest.fixture
def score(tmp_path: Path) -> Path:
    path = tmp_path / "score.py"
    path.write_text(SCORE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model() -> Model:
    return sciflow.load("qm9")


def worth(model: Model, name: str, objects: list) -> float:
    function = model.adapter.rewards()[name]
    judged = [mol for mol in map(model.adapter.judged, objects) if mol is not None]
    assert len(judged) >= 0.8 * len(objects)
    return float(np.mean([function(mol) for mol in judged]))


def test_particles_raise_the_reward(model: Model) -> None:
    plain = sciflow.generate(model, n=64, seed=0, steps=15)
    steered = sciflow.generate(
        model, n=8, seed=0, steps=15, reward={"name": "logp", "count": 8, "low": 0.8}
    )
    gain = worth(model, "logp", steered.objects) - worth(model, "logp", plain.objects)
    assert gain > 0.5
    facts = steered.settings["reward"]
    assert facts["name"] == "logp"
    assert facts["judged"] > 0
    assert not facts["failed"]


def test_a_sample_does_not_depend_on_its_batch(model: Model) -> None:
    def made(batch_size: int) -> list:
        reward = {"name": "qed", "count": 3, "scale": 20.0, "low": 0.8}
        out = sciflow.generate(model, n=3, steps=6, batch_size=batch_size, reward=reward)
        return [row["smiles"] for row in model.adapter.describe(out.objects)]

    assert made(3) == made(2)


def test_a_reward_that_raises_is_counted_and_named(model: Model, score: Path) -> None:
    reward = {"name": f"{score}:atoms", "count": 2, "low": 0.9}
    made = sciflow.generate(model, n=6, seed=0, steps=8, reward=reward)
    facts = made.settings["reward"]
    assert facts["failed"]["RuntimeError: nine are too many"] > 0
    assert "raised" not in facts["failed"]
    with pytest.raises(SciflowError, match=r"broken: failed at \d+ of \d+.*division by zero"):
        Generation.of(model, n=2, steps=8, reward=f"{score}:broken")
    with pytest.raises(SciflowError, match="flat: got '1.0 for every trial sample'"):
        Generation.of(model, n=2, steps=8, reward=f"{score}:flat")


def test_the_scale_is_in_units_of_the_spread(model: Model) -> None:
    steering = Steering.of(lambda mol: float(mol.GetNumAtoms()), model.adapter)
    mols = [Chem.MolFromSmiles(text) for text in ("C", "CC", "CCC", "CCCC")]
    assert steering.scaled(mols) == pytest.approx(STRENGTH / math.sqrt(1.25))


def test_objects_are_judged_once_and_failures_counted(model: Model) -> None:
    shown: list[Chem.Mol] = []

    def reward(mol: Chem.Mol) -> float:
        shown.append(mol)
        return math.nan if mol.GetNumAtoms() == 1 else float(mol.GetNumAtoms())

    mols = [Chem.MolFromSmiles(text) for text in ("CCO", "CCO", "C", "C.C")]
    judge = ObjectReward("size", reward, model.adapter)
    state = model.adapter.encode(mols)
    assert judge(state) == [3.0, 3.0, -math.inf, -math.inf]
    assert judge(state) == [3.0, 3.0, -math.inf, -math.inf]
    assert len(shown) == 2
    assert (judge.judged, judge.unfit, judge.failed) == (2, 1, {"returned nan": 1})
    assert "failed at 1 of 2 objects" in judge.complaint()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("qedd", "did you mean 'qed'"),
        ("nowhere.py:f", "no such file"),
        ("{score}:atom", "did you mean 'atoms'"),
        ({"name": "qed", "particles": 3}, "one of count"),
        ({"name": "qed", "keep": "all"}, "'one' or 'best'"),
        ({"name": "qed", "count": 0}, "a whole number >= 1"),
        ({"count": 3}, "a table with 'name'"),
    ],
)
def test_wrong_choices_are_refused(
    model: Model, score: Path, choice: object, message: str
) -> None:
    chosen = choice.format(score=score) if isinstance(choice, str) else choice
    with pytest.raises(SciflowError, match=message):
        Steering.of(chosen, model.adapter)


def test_words_of_the_command_line() -> None:
    assert parse("qed") == {"name": "qed"}
    assert parse("qed:count=4,keep=best") == {"name": "qed", "count": 4, "keep": "best"}
    assert parse("a/score.py:f:count=4") == {"name": "a/score.py:f", "count": 4}
    with pytest.raises(SciflowError, match="KEY=VALUE"):
        parse("qed:count")


def test_beliefs_that_cannot_be_judged_say_nothing() -> None:
    none = -torch.inf
    potential = torch.tensor([[1.0, 3.0, none], [none, none, none]])
    assert _forgiving(potential).tolist() == [[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]]


def test_the_command_line_names_what_a_reward_raised(score: Path, tmp_path: Path) -> None:
    words = ["generate", "molecules", "-n", "4", "--steps", "6", "-o", str(tmp_path / "new.smi")]
    run = subprocess.run(
        [sys.executable, "-m", "sciflow", *words, "--reward", f"{score}:atoms:count=2,low=0.9"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "reward atoms: failed at" in run.stderr
    assert "nine are too many" in run.stderr
    assert len((tmp_path / "new.smi").read_text().splitlines()) == 4
