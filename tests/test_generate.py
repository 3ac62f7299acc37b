"""Generation: sample i is a function of the seed and i; what is made is kept; outputs are whole."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import sciflow
from sciflow.errors import SciflowError
from sciflow.hooks import Hook
from sciflow.runtime.generate import Generation, produce
from sciflow.runtime.output import Output, read_facts
from tests import tiny


def graphs(**options: Any) -> list[Any]:
    return [tiny.graph(mol) for mol in sciflow.generate(tiny.model(), **options).objects]


def test_a_sample_depends_on_the_seed_and_its_number_alone() -> None:
    whole = graphs(n=23, seed=5, batch_size=100)
    assert len(set(whole)) > 15, "samples differ from each other"
    for batch_size in (1, 7):
        assert graphs(n=23, seed=5, batch_size=batch_size) == whole
    assert graphs(n=9, seed=5) == whole[:9]
    assert graphs(n=23, seed=6) != whole


def test_options_of_the_domain_are_obeyed() -> None:
    assert all(len(atoms) == 4 for atoms, _ in graphs(n=12, options={"atoms": 4}))
    with pytest.raises(SciflowError, match="did you mean 'atoms'"):
        graphs(n=1, options={"atom": 4})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n: got 0, expected at least 1"),
        ({"n": -3}, "n: got -3"),
        ({"batch_size": 0}, "batch size: got 0"),
        ({"steps": 0}, "steps: got 0, expected at least 1"),
        ({"solver": "ancestal"}, "did you mean 'ancestral'"),
        ({"grid": {"name": "power", "pover": 2}}, "did you mean 'power'"),
        ({"device": "gpu"}, "device: got 'gpu'"),
        ({"device": "cuda:99"}, "device: got 'cuda:99'"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SciflowError) as error:
        sciflow.generate(tiny.model(), **options)
    assert message in str(error.value)


def test_progress_counts_samples_up_to_n() -> None:
    seen: list[tuple[float, int]] = []
    sciflow.generate(tiny.model(), n=10, batch_size=4, steps=3, progress=lambda *a: seen.append(a))
    done = [d for d, _ in seen]
    assert done == sorted(done) and done[-1] == 10 and len(done) == 9
    assert {total for _, total in seen} == {10}


def test_hooks_see_every_batch_and_are_named() -> None:
    class Count(Hook):
        sizes: list[int] = []

        def close(self, state: Any) -> Any:
            self.sizes.append(state.batch_size)
            return state

    made = sciflow.generate(tiny.model(), n=5, batch_size=2, steps=2, hooks=[Count()])
    assert Count.sizes == [2, 2, 1]
    assert made.settings["hooks"] == ["Count"]


@pytest.mark.parametrize("suffix", [".smi", ".csv", ".sdf"])
def test_a_file_holds_every_sample_in_order(tmp_path: Path, suffix: str) -> None:
    made = sciflow.generate(tiny.model(), n=12)
    path = made.save(tmp_path / f"new{suffix}")
    back = tiny.model().adapter.read(path, raw=True).objects
    assert len(back) == 12
    assert [mol.GetNumAtoms() for mol in back] == [mol.GetNumAtoms() for mol in made.objects]
    assert os.listdir(tmp_path) == [path.name]


def test_a_folder_holds_everything(tmp_path: Path) -> None:
    made = sciflow.generate(tiny.model(), n=12, seed=4)
    folder = made.save(tmp_path / "new", reference=tiny.data(tmp_path))
    names = ["metrics.json", "page.html", "picture.png", "picture.svg", "samples.smi"]
    assert sorted(os.listdir(folder)) == names
    facts = read_facts(folder)
    assert facts["settings"]["seed"] == 4 and facts["settings"]["n"] == facts["made"] == 12
    assert facts["metrics"]["reference"] == len(tiny.SMILES)
    assert facts["provenance"]["versions"]["sciflow"].startswith(sciflow.__version__)
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "12 molecules" in page and "Made by tiny" in page and "data:image/svg" in page
    assert "sciflow generate molecules --model tiny -n 12 --seed 4 --steps 6" in page


def test_tables_and_pictures_for_a_notebook() -> None:
    made = sciflow.generate(tiny.model(), n=6)
    assert len(made) == 6
    table = made.to_pandas()
    assert len(table) == 6 and "smiles" in table
    assert "data:image/svg+xml" in made._repr_html_()
    assert made.metrics().summary()["generated"] == 6


@pytest.mark.parametrize("name", ["new.xyz", "new.smi.gz"])
def test_an_unknown_suffix_is_refused(tmp_path: Path, name: str) -> None:
    made = sciflow.generate(tiny.model(), n=1, steps=1)
    with pytest.raises(SciflowError, match="file type"):
        made.save(tmp_path / name)
    assert not os.listdir(tmp_path)


def test_what_stands_there_is_kept_until_the_first_batch(tmp_path: Path) -> None:
    adapter = type(tiny.model().adapter)
    path = tmp_path / "old.smi"
    path.write_text("CCO\n", encoding="utf-8")
    with Output(path, adapter):
        pass
    assert path.read_text(encoding="utf-8") == "CCO\n"
    with Output(tmp_path / "new.smi", adapter), Output(tmp_path / "folder", adapter):
        pass
    assert os.listdir(tmp_path) == ["old.smi"], "an output that got nothing leaves nothing"


def test_numbers_of_older_samples_do_not_stay_beside_new_ones(tmp_path: Path) -> None:
    made = sciflow.generate(tiny.model(), n=3, steps=2)
    folder = made.save(tmp_path / "new")
    with Output(folder, type(tiny.model().adapter)) as output:
        output.append(made.objects[:1])
    assert os.listdir(folder) == ["samples.smi"]


def test_an_interruption_keeps_what_was_made(tmp_path: Path) -> None:
    plan = Generation.of(tiny.model(), n=20, batch_size=4, steps=3)
    before = signal.getsignal(signal.SIGINT)

    def press(done: float, total: int) -> None:
        if done > 9:  # in the middle of the third batch
            os.kill(os.getpid(), signal.SIGINT)

    with Output(tmp_path / "new.csv", type(tiny.model().adapter)) as output:
        made, whole = produce(plan, output, press)
    assert not whole and len(made) == 8
    assert made.objects == [], "what went to a file is not kept"
    rows = (tmp_path / "new.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 8
    sciflow.generate(tiny.model(), n=8, batch_size=4, steps=3).save(tmp_path / "eight.csv")
    assert rows == (tmp_path / "eight.csv").read_text(encoding="utf-8").splitlines()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_folder_without_its_numbers_is_named(tmp_path: Path) -> None:
    with pytest.raises(SciflowError, match=r"metrics\.json"):
        read_facts(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps({"domain": 3}))
    with pytest.raises(SciflowError, match=r"metrics\.json"):
        read_facts(tmp_path)
