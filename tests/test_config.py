"""Training configurations: what is in the file, what overrides it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sciflow.errors import SciflowError
from sciflow.learning import Recipe, Times
from sciflow.model import Sampling
from sciflow.runtime import config
from tests import tiny


def test_defaults_are_those_of_the_dataclasses(tmp_path: Path) -> None:
    found = config.check({"domain": "molecules", "recipe": {"steps": 5}})
    assert found.as_recipe() == Recipe(steps=5)
    assert found.as_times() == Times()
    assert found.as_sampling() == Sampling()
    assert found.options == {}, "what was not given is left to the domain"


def test_a_file_is_read_with_its_tables(tmp_path: Path) -> None:
    found = config.load(tiny.config(tmp_path))
    assert found.as_recipe() == Recipe(
        steps=9, batch_size=8, warmup=2, checkpoint_every=3, log_every=1
    )
    assert found.options == {"process": "marginal", "network": tiny.NETWORK}
    assert found.card == {"data": "thirty small molecules"}


def test_data_lie_beside_the_configuration_and_typed_ones_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = tiny.config(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert config.load(file).data["train"] == str(tmp_path / "elsewhere" / "data.smi")
    assert config.load(file, ["data.train=my.smi"]).data["train"] == str(tmp_path / "my.smi")
    assert config.load(file, ["data.train=qm9:train"]).data["train"] == "qm9:train"
    assert config.load(file).folder == Path("runs/run")
    assert config.load(file, ["folder=there"]).folder == Path("there")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("recipe.learning_rate=1e-3", 1e-3),
        ("recipe.learning_rate = 1", 1.0),
        ("recipe.betas=[0.8, 0.9]", (0.8, 0.9)),
        ('recipe.schedule="constant"', "constant"),
        ("recipe.schedule=constant", "constant"),
    ],
)
def test_set_takes_toml_or_plain_text(tmp_path: Path, text: str, value: object) -> None:
    recipe = config.load(tiny.config(tmp_path), [text]).as_recipe()
    assert getattr(recipe, text.partition("=")[0].strip().partition(".")[2]) == value


def test_set_reaches_into_tables_and_the_last_one_counts(tmp_path: Path) -> None:
    given = ["network.width=32", "process.path=mask", "seed=1", "seed=2", "card.licence=MIT"]
    found = config.load(tiny.config(tmp_path), given)
    assert found.options["network"]["width"] == 32
    assert found.options["process"] == {"path": "mask"}, "a name becomes a table"
    assert found.seed == 2
    assert found.card["licence"] == "MIT"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("recipe.lerning_rate=1", "did you mean 'recipe.learning_rate'"),
        ("presicion=1", "did you mean 'precision'"),
        ("times.pover=2", "did you mean 'times.power'"),
        ("recipe.steps=1.5", "recipe.steps: got 1.5, expected a whole number"),
        ("recipe.steps=true", "recipe.steps: got True, expected a whole number"),
        ("recipe.steps=0", "recipe.steps: got 0"),
        ("recipe.batch_size=-1", "recipe.batch_size: got -1"),
        ("recipe.betas=[1, 'a']", "recipe.betas.1: got 'a', expected a number"),
        ("recipe.schedule=cosin", "did you mean 'cosine'"),
        ("recipe.ema=1.5", "recipe.ema: got 1.5"),
        ("precision=bf16-mixd", "did you mean 'bf16-mixed'"),
        ("times.low=2", "0 <= low < high <= 1"),
        ("network=3", "network: got 3, expected a name or a table"),
        ("data=3", "data: got 3, expected a table"),
        ("domain=molecule", "did you mean 'molecules'"),
        ("sampling.solver=ancestal", "did you mean 'ancestral'"),
        ("sampling.grid={name='power', pover=2}", "did you mean 'power'"),
        ("device=gpu", "device: got 'gpu'"),
        ("seed", "--set: got 'seed', expected key=value"),
        ("seed.x=1", "seed to be a table"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, setting: str, message: str) -> None:
    file = tiny.config(tmp_path)
    if setting == "seed.x=1":
        file.write_text("seed = 3\n" + tiny.CONFIG, encoding="utf-8")
    with pytest.raises(SciflowError) as error:
        config.load(file, [setting])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("domain = ", "got no TOML"),
        ("", "got no "),
        ('domain = "molecules"', "got no recipe"),
        ('domain = "molecules"\n[recipe]\nseed = 1', "did you mean 'recipe.steps'"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SciflowError, match="c.toml") as error:
        config.load(tmp_path / "c.toml")
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SciflowError, match="No such file"):
        config.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SciflowError, match="not a text"):
        config.load(tmp_path / "binary.toml")


def test_the_card_tells_no_folder_of_this_machine(tmp_path: Path) -> None:
    found = config.load(tiny.config(tmp_path)).public()
    assert str(tmp_path) not in str(found)
    assert found["data"] == {"train": "data.smi"}
    assert found["recipe"]["betas"] == [0.9, 0.98]
