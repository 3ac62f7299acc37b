"""An interrupted generation goes on: the same file as without the interruption, in constant memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import sciflow
from sciflow.domains.molecules import files
from sciflow.errors import SciflowError
from sciflow.runtime.generate import Generation, produce
from sciflow.runtime.output import Output
from tests import tiny

ADAPTER = type(tiny.model().adapter)


def plan(n: int = 20, **settings: object) -> Generation:
    return Generation.of(tiny.model(), n=n, **{"batch_size": 4, "steps": 3, **settings})  # type: ignore[arg-type]


def whole(path: Path, n: int = 20) -> str:
    tiny_made = sciflow.generate(tiny.model(), n=n, batch_size=4, steps=3)
    return tiny_made.save(path).read_text(encoding="utf-8")


def interrupted(path: Path, after: float = 9) -> None:
    def press(done: float, total: int) -> None:
        if done > after:
            os.kill(os.getpid(), signal.SIGINT)

    with Output(path, ADAPTER) as output:
        assert not produce(plan(), output, press)[1]


def resumed(path: Path, of: Generation | None = None) -> int:
    with Output(path, ADAPTER) as output:
        made, all_there = produce(of or plan(), output, resume=True)
    assert all_there and not made.objects
    return len(made)


def record(path: Path) -> Path:
    return path.with_name(f".{path.name}.resume")


@pytest.mark.parametrize("suffix", [".smi", ".csv", ".sdf"])
def test_it_ends_with_the_file_of_an_unbroken_run(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"new{suffix}"
    interrupted(path)
    assert json.loads(record(path).read_text())["made"] == 8
    assert resumed(path) == 20
    assert path.read_text(encoding="utf-8") == whole(tmp_path / f"whole{suffix}")
    assert not record(path).exists(), "nothing stays beside a whole file"


def test_what_the_record_does_not_count_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "new.smi"
    interrupted(path)
    with open(path, "a") as file:
        file.write("CCO\nC1C")  # killed between a batch and its record
    resumed(path)
    assert path.read_text(encoding="utf-8") == whole(tmp_path / "whole.smi")


def test_another_batch_size_and_more_samples(tmp_path: Path) -> None:
    path = tmp_path / "new.smi"
    interrupted(path)
    assert resumed(path, replace(plan(), n=23, batch_size=5)) == 23
    assert path.read_text(encoding="utf-8") == whole(tmp_path / "whole.smi", 23)


def test_a_second_interruption(tmp_path: Path) -> None:
    path = tmp_path / "new.smi"
    interrupted(path, 5)

    def press(done: float, total: int) -> None:
        if done > 13:
            os.kill(os.getpid(), signal.SIGINT)

    with Output(path, ADAPTER) as output:
        made, all_there = produce(plan(), output, press, resume=True)
    assert not all_there and len(made) == 12
    resumed(path)
    assert path.read_text(encoding="utf-8") == whole(tmp_path / "whole.smi")


def test_without_a_file_it_begins_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "new.smi"
    assert resumed(path) == 20
    assert path.read_text(encoding="utf-8") == whole(tmp_path / "whole.smi")


def test_without_resume_it_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "new.smi"
    interrupted(path)
    with Output(path, ADAPTER) as output:
        produce(plan(), output)
    assert path.read_text(encoding="utf-8") == whole(tmp_path / "whole.smi")
    assert not record(path).exists()


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "new.smi"
    interrupted(path)
    with pytest.raises(SciflowError, match="seed: 0 there, 1 here"):
        resumed(path, plan(seed=1))
    with pytest.raises(SciflowError, match="steps: 3 there, 4 here"):
        resumed(path, plan(steps=4))
    with pytest.raises(SciflowError, match="at least the 8"):
        resumed(path, plan(n=7))
    assert json.loads(record(path).read_text())["made"] == 8, "a refusal changes nothing"
    path.write_text("C\n")
    with pytest.raises(SciflowError, match="2 bytes"):
        resumed(path)
    record(path).write_text("{}")
    with pytest.raises(SciflowError, match="the record of an interrupted generation"):
        resumed(path)
    record(path).unlink()
    with pytest.raises(SciflowError, match="without a record"):
        resumed(path)
    with pytest.raises(SciflowError, match="got 'a folder'"):
        resumed(tmp_path / "folder")


def test_a_file_in_one_piece_is_refused(tmp_path: Path) -> None:
    class OnePiece:
        def __init__(self, path: str | Path) -> None:
            self.file = files.Writer(path)
            self.append = self.file.append

        def __enter__(self) -> OnePiece:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    class Other(ADAPTER):  # type: ignore[valid-type, misc]
        @classmethod
        def writer(cls, path: str | Path) -> OnePiece:
            return OnePiece(path)

    with (
        Output(tmp_path / "b.smi", Other) as output,
        pytest.raises(SciflowError, match=r"got 'a \.smi file', expected a file to which"),
    ):
        produce(plan(), output, resume=True)


def test_memory_does_not_grow_with_the_number(tmp_path: Path) -> None:
    kept: list[int] = []

    class Counted(Output):
        def append(self, objects: object) -> None:
            import gc

            from rdkit.Chem import Mol

            super().append(objects)  # type: ignore[arg-type]
            kept.append(sum(isinstance(thing, Mol) for thing in gc.get_objects()))

    with Counted(tmp_path / "new.smi", ADAPTER) as output:
        produce(plan(40), output)
    assert len(kept) == 10 and max(kept[2:]) <= kept[1]


def test_ctrl_c_and_resume_on_the_command_line(tmp_path: Path) -> None:
    tiny.saved(tmp_path)

    def start(n: int, *more: str) -> subprocess.Popen[str]:
        line = f"generate molecules -m tiny -n {n} --batch-size 4 --steps 3 -o many.smi".split()
        command = [sys.executable, "-m", "sciflow", *line, *more]
        root = str(Path(__file__).resolve().parents[1])
        environment = {**os.environ, "PYTHONPATH": root}
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE
        )

    first, many = start(100_000), tmp_path / "many.smi"
    while first.poll() is None and not (many.exists() and many.stat().st_size):
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=120)
    made = len(many.read_text(encoding="utf-8").splitlines())
    assert first.returncode == 130 and 0 < made < 100_000
    assert f"{made} of 100000 molecules made" in told and "--resume goes on" in told
    second = start(made + 6, "--resume")
    _, told = second.communicate(timeout=120)
    assert second.returncode == 0, told
    assert many.read_text(encoding="utf-8") == whole(tmp_path / "whole.smi", made + 6)
