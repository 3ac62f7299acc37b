"""The command line: every verb, its help, its errors on one line, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sciflow
from sciflow import registry
from sciflow.errors import SciflowError
from sciflow.model import Model
from tests import tiny

ROOT = Path(__file__).resolve().parents[1]
VERBS = ("generate", "evaluate", "train", "show", "models", "import", "doctor")


class Sciflow:
    """Runs commands in this process; gives the exit code and keeps what was printed."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        from sciflow import cli

        self.monkeypatch.setattr(sys, "argv", ["sciflow", *map(str, arguments)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        self.out, self.err = self.capsys.readouterr()
        return int(end.value.code or 0)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sciflow:
    return Sciflow(monkeypatch, capsys)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.saved(tmp_path)
    tiny.data(tmp_path)
    return tmp_path


def start(*arguments: object, code: str = "") -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    program = f"{code}\nimport sys\nfrom sciflow.cli import main\nmain()"
    words = [sys.executable, "-c", program, *map(str, arguments)]
    place = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=place)


def test_help_needs_neither_torch_nor_a_domain() -> None:
    code = "import atexit, sys\natexit.register(lambda: print('torch' in sys.modules, 'rdkit' in sys.modules))"
    out, err = start("generate", "--help", code=code).communicate()
    assert out.splitlines()[-1] == "False False", err
    assert "sciflow generate molecules -n 100" in out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(run: Sciflow, verb: str) -> None:
    assert run(verb, "--help") == 0
    head, _, foot = run.out.partition("Examples:")
    assert f"sciflow {verb}" in foot and "Usage:" in head


def test_the_version_and_the_list_of_verbs(run: Sciflow) -> None:
    assert run("--version") == 0
    assert run.out == f"sciflow {sciflow.__version__}\n"
    assert run() == 2
    assert all(verb in run.out for verb in VERBS)
    assert "error" not in run.err


def test_python_dash_m_works() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sciflow", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.stdout == f"sciflow {sciflow.__version__}\n", run.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("generat molecules", "Did you mean 'generate'"),
        ("generate molecules", "Missing option '--output' / '-o'"),
        ("generate molecule -o x", "did you mean 'molecules'"),
        ("generate molecules -m tiny -n 0 -o x", "error: -n: got 0, expected at least 1"),
        ("generate molecules -m tiny --batch-size -1 -o x", "--batch-size: got -1"),
        ("generate molecules -m tiny --steps 0 -o x", "steps: got 0"),
        ("generate molecules -m tiny -n many -o x", "'--number' / '-n'"),
        ("generate molecules -m nosuch -o x", "nosuch"),
        ("generate molecules -m tiny -o x.xyz", "got '.xyz', expected one of .smi, .sdf, .csv"),
        ("generate molecules -m tiny -o /proc/x.smi", "/proc/x.smi: cannot be written"),
        ("generate molecules -m tiny -o data.smi/x.smi", "cannot be written"),
        ("generate molecules -m tiny --solver ancestal -o x", "did you mean 'ancestral'"),
        ("generate molecules -m tiny --grid power:pover=2 -o x", "did you mean 'power'"),
        ("generate molecules -m tiny --option atom=3 -o x", "did you mean 'atoms'"),
        ("generate molecules -m tiny --option atoms -o x", "expected KEY=VALUE"),
        ("generate molecules -m tiny --device gpu -o x", "device: got 'gpu'"),
        ("generate molecules -m tiny --against nosuch.smi -o x", "nosuch.smi"),
        ("generate molecules -m tiny --against data.smi -o x.smi", "a folder for metrics"),
        ("evaluate molecules nosuch.smi", "nosuch.smi"),
        ("evaluate molecules data.smi --against nosuch.smi", "nosuch.smi"),
        ("evaluate molecules data.smi --json /proc/x.json", "/proc"),
        ("evaluate molecules tiny", "metrics.json"),
        ("train nosuch.toml", "nosuch.toml"),
        ("show data.smi", "Missing option '--output' / '-o'"),
        ("show data.smi -o page.txt", "expected a page (.html) or a picture"),
        ("show run.toml -o page.html", "file type: got '.toml'"),
        ("show data.smi -o /proc/page.html", "/proc/page.html"),
        ("import foreign data.smi -o x", "importer"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    run: Sciflow, here: Path, line: str, message: str
) -> None:
    tiny.config(here)
    before = sorted(os.listdir(here))
    assert run(*line.split()) == 2
    assert run.err.startswith("error: ") and run.err.count("\n") == 1, run.err
    assert message in run.err
    assert sorted(os.listdir(here)) == before, "nothing is left behind"


def test_a_missing_library_is_named(
    run: Sciflow, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'rdkit'", name="rdkit")

    monkeypatch.setattr(registry.importlib, "import_module", fail)
    assert run("generate", "molecules", "-m", "tiny", "-o", "x") == 2
    assert "no library 'rdkit'" in run.err and "pip install '.[molecules]'" in run.err
    monkeypatch.undo()


def test_a_fault_of_ours_keeps_its_traceback(
    run: Sciflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sciflow import cli
    from sciflow.runtime import doctor

    def fail() -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(doctor, "examine", fail)
    monkeypatch.setattr(sys, "argv", ["sciflow", "doctor"])
    with pytest.raises(RuntimeError, match="a fault"):
        cli.main()


def test_generate_a_file(run: Sciflow, here: Path) -> None:
    line = "generate molecules -m tiny -n 11 --batch-size 4 --steps 5 --seed 3"
    assert run(*line.split(), "-o", "a.smi") == 0
    assert run.out.startswith("11 molecules in ") and run.out.endswith(" s: a.smi\n")
    assert run(*line.replace("4", "11").split(), "-o", "deep/b.smi", "--json") == 0
    assert json.loads(run.out)["settings"]["seed"] == 3
    first, second = ((here / name).read_text() for name in ("a.smi", "deep/b.smi"))
    assert first == second and len(first.splitlines()) == 11


def test_solvers_and_grids_take_options(run: Sciflow, here: Path) -> None:
    line = (
        "generate molecules -m tiny -n 2 --grid power:power=3.0 --option atoms=4 -o a.smi --json"
    )
    assert run(*line.split()) == 0
    settings = json.loads(run.out)["settings"]
    assert settings["grid"] == {"name": "power", "power": 3.0}
    assert settings["options"] == {"atoms": 4}


def test_a_folder_its_page_and_the_way_back(run: Sciflow, here: Path) -> None:
    assert run(*"generate molecules -m tiny -n 9 --against data.smi -o new".split()) == 0
    assert {"metrics.json", "page.html", "picture.png", "picture.svg"} < set(os.listdir("new"))
    assert run(*"show new -o again.html".split()) == 0
    ours, theirs = ((here / name).read_text() for name in ("again.html", "new/page.html"))
    # The list is made anew from a file that does not keep the order of a sample's parts.
    assert ours.partition("<h2>List")[0] == theirs.partition("<h2>List")[0]
    assert run(*"evaluate molecules new --json n.json".split()) == 0
    assert json.loads((here / "n.json").read_text())["generated"] == 9


def test_show_a_file(run: Sciflow, here: Path) -> None:
    (here / "odd.smi").write_text("CCO\nC(C\nCC=N\n", encoding="utf-8")
    assert run(*"show odd.smi -o pages/odd.html".split()) == 0
    page = (here / "pages" / "odd.html").read_text(encoding="utf-8")
    assert "3 molecules" in page and "1 row of it could not be read" in page
    assert run(*"show odd.smi -o odd.png".split()) == 0
    assert (here / "odd.png").read_bytes().startswith(b"\x89PNG")
    assert run(*"show odd.smi -o odd.gif".split()) == 2  # molecules do not move
    assert "odd.gif" in run.err and not (here / "odd.gif").exists()


def test_evaluate_names_and_counts_what_it_cannot_read(run: Sciflow, here: Path) -> None:
    (here / "odd.smi").write_text("CCO\nC(C\nCC=N\n", encoding="utf-8")
    line = "evaluate molecules odd.smi --against data.smi --train data.smi --json odd.json"
    assert run(*line.split()) == 0
    assert run.err == "row 2 not read: 'C(C': not a SMILES\n"
    assert "3 generated, 1 of them unreadable, reference 30" in run.out
    numbers = json.loads((here / "odd.json").read_text())
    assert numbers["figures"]["valid"]["value"] == pytest.approx(2 / 3)


def test_train_again_and_generate(run: Sciflow, here: Path) -> None:
    tiny.config(here)
    assert run(*"train run.toml --set recipe.steps=2".split()) == 0
    assert run.out.startswith("run: 2 steps in ") and run.out.endswith("runs/run\n")
    assert run(*"train run.toml --set recipe.steps=2".split()) == 0
    assert run.out.startswith("already trained: 2 steps in runs/run")
    assert run("train", "run.toml") == 2
    assert "recipe.steps: 2 there, 9 here" in run.err
    assert run(*"generate molecules --model runs/run -n 2 -o new.sdf".split()) == 0


def test_models_and_doctor(run: Sciflow, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.model().save(here / "home" / "models" / "small")
    monkeypatch.setattr(registry, "folder", lambda name: here / "home")
    assert run("models") == 0
    assert run.out.startswith("molecules:\n  small") and "an untrained model for tests" in run.out
    assert run("models", "small") == 0
    assert "small  (molecules)" in run.out and "steps 6" in run.out
    assert run("models", "smal") == 2 and "did you mean 'small'" in run.err
    assert run("models", "--json") == 0
    assert json.loads(run.out)["small"]["sampling"]["steps"] == 6
    assert run("generate", "molecules", "-n", 2, "-o", "x.smi") == 0, "the first is the default"
    assert run("doctor") == 0
    assert "domain molecules: usable" in run.out and "small" in run.out
    assert run("doctor", "--json") == 0
    found = json.loads(run.out)
    assert found["versions"]["torch"] and found["domains"]["molecules"]["libraries"]["rdkit"]


def test_import_asks_the_domains(
    run: Sciflow, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(tiny.model().adapter)

    def taking(path: Path) -> Model:
        return tiny.model()

    def refusing(path: Path) -> Model:
        raise SciflowError(f"{path}: got something else")

    monkeypatch.setattr(kind, "importers", classmethod(lambda _: {"foreign": taking}))
    assert run("import", "foregn", "data.smi", "-o", "new") == 2
    assert "did you mean 'foreign'" in run.err
    monkeypatch.setattr(kind, "importers", classmethod(lambda _: {"foreign": refusing}))
    assert run("import", "foreign", "data.smi", "-o", "new/deep") == 2
    assert not (here / "new").exists()
    monkeypatch.setattr(kind, "importers", classmethod(lambda _: {"foreign": taking}))
    assert run("import", "foreign", "data.smi", "-o", "new") == 0
    assert sciflow.load("new").adapter.config() == tiny.model().adapter.config()


def interrupt(process: subprocess.Popen[str], ready: Path, seconds: float = 60) -> tuple[str, str]:
    """Press Ctrl-C as soon as a file holds something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if ready.exists() and ready.stat().st_size:
            process.send_signal(signal.SIGINT)
            return process.communicate()
        time.sleep(0.02)
    process.kill()
    out, err = process.communicate()
    pytest.fail(f"not ready: {err}")


def test_ctrl_c_keeps_what_was_generated(here: Path) -> None:
    line = "generate molecules -m tiny -n 100000 --batch-size 3 --steps 20 -o many"
    _, err = interrupt(start(*line.split()), here / "many" / "samples.smi")
    made = len((here / "many" / "samples.smi").read_text().splitlines())
    assert f"interrupted: {made} of 100000 molecules made, kept in many" in err
    assert made and made % 3 == 0
    facts = json.loads((here / "many" / "metrics.json").read_text())
    assert facts["made"] == made and facts["settings"]["n"] == 100000
    assert "Interrupted" in (here / "many" / "page.html").read_text(encoding="utf-8")


def test_ctrl_c_in_training_says_how_to_go_on(here: Path) -> None:
    tiny.config(here)
    process = start(*"train run.toml --set recipe.steps=100000".split())
    _, err = interrupt(process, here / "runs" / "run" / "training.safetensors")
    assert process.returncode == 130
    assert "interrupted at step" in err and "the same command goes on" in err
