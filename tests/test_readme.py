"""What is shown to readers runs: the code blocks of the README files, and the examples in docstrings.

In a README, blocks run from top to bottom in one empty folder:

- ``python`` blocks share one namespace;
- in ``bash`` and ``console`` blocks the lines that begin with ``sciflow`` run, with ``-n`` lowered to stay quick, and
  ``pip install .`` installs the folder, for this page alone;
- a block that follows ``<!-- file: NAME -->`` is written to that file;
- a block that follows ``<!-- not run: REASON -->`` is left alone.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
READMES = sorted(
    [*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("domains/*/README.md")]
)
MOST = 12  # samples that one command of a README draws in the tests

_BLOCK = re.compile(
    r"(?:<!--\s*(?P<mark>not run|file):\s*(?P<what>.*?)\s*-->\s*\n)?"
    r"^(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=fence)\s*$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, text, first line in the file, and the comment before it."""

    language: str
    body: str
    line: int
    mark: str | None
    what: str | None


def blocks(text: str) -> list[Block]:
    return [
        Block(
            m["language"],
            m["body"],
            text.count("\n", 0, m.start("body")) + 1,
            m["mark"],
            m["what"],
        )
        for m in _BLOCK.finditer(text)
    ]


def commands(body: str) -> list[list[str]]:
    """The ``sciflow`` commands of a shell block, prompts and comments dropped, as argument lists."""
    lines = re.sub(r"\\\n\s*", " ", body).splitlines()
    bare = (line.removeprefix("$ ").strip() for line in lines)
    shown = [line for line in bare if line.startswith("sciflow ") or line == "pip install ."]
    return [shlex.split(line, comments=True) for line in shown]


def lowered(arguments: list[str]) -> list[str]:
    """The same command with no more than `MOST` samples."""
    few = list(arguments)
    for i, word in enumerate(few[:-1]):
        if word in ("-n", "--number") and few[i + 1].isdigit():
            few[i + 1] = str(min(int(few[i + 1]), MOST))
    return few


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the package in `folder` where only this test finds it."""
    command = "-m pip install -q --no-deps --no-build-isolation --no-index --target".split()
    subprocess.run([sys.executable, *command, str(folder / "site"), str(folder)], check=True)
    monkeypatch.syspath_prepend(folder / "site")


def run_command(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cli = importlib.import_module("sciflow.cli")
    monkeypatch.setattr(sys, "argv", arguments)
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, f"exit code {end.code}"


@pytest.mark.parametrize("readme", READMES, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_run(
    readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rediscover: Callable[[], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("__readme__")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(readme.read_text(encoding="utf-8")):
        place = f"{readme.name}:{block.line}"
        if block.mark == "not run":
            assert block.what, f"{place}: say why the block is not run"
        elif block.mark == "file":
            file = tmp_path / str(block.what)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body, encoding="utf-8")
        elif block.language == "python":
            # Empty lines before the code make the line numbers of a traceback those of the README.
            code = compile("\n" * (block.line - 1) + block.body, str(readme), "exec")
            try:
                exec(code, vars(module))
            except Exception as error:
                pytest.fail(f"{place}: {type(error).__name__}: {error}")
        elif block.language in ("bash", "sh", "console"):
            for arguments in commands(block.body):
                try:
                    if arguments[0] == "pip":
                        install(tmp_path, monkeypatch)
                        rediscover()
                        continue
                    run_command(lowered(arguments), monkeypatch)
                except Exception as error:
                    pytest.fail(
                        f"{place}: {shlex.join(arguments)}\n{type(error).__name__}: {error}"
                    )


def _with_examples() -> list[str]:
    names = []
    for file in [*(ROOT / "sciflow").rglob("*.py"), *(ROOT / "domains").rglob("*.py")]:
        if re.search(r"^\s*>>> ", file.read_text(encoding="utf-8"), re.MULTILINE):
            parts = file.relative_to(ROOT).with_suffix("").parts
            parts = ("sciflow", *parts) if parts[0] == "domains" else parts
            names.append(".".join(parts).removesuffix(".__init__"))
    return sorted(names)


@pytest.mark.parametrize("name", _with_examples())
def test_examples_in_docstrings_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docstrings are read off the source: `doctest` itself passes over functions that are wrapped."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    file = str(module.__file__)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False) or ""
            if ">>>" in text:
                label = getattr(node, "name", name)
                line = node.body[0].lineno - 1
                parser = doctest.DocTestParser()
                runner.run(parser.get_doctest(text, dict(vars(module)), label, file, line))
    assert runner.tries and not runner.failures


SAMPLE = """\
# Title
<!-- not run: needs a day -->
```bash
sciflow train run.toml
```
<!-- file: configs/run.toml -->
```toml
steps = 3
```
```python
x = 1
```
Text with `inline` code.
```console
$ sciflow generate things -n 1000 \\
    -o "my out.csv"   # a comment
$ ls
```
"""


def test_a_readme_is_read_as_it_is_meant() -> None:
    train, config, python, console = blocks(SAMPLE)
    assert (train.mark, train.what) == ("not run", "needs a day")
    assert (config.mark, config.what, config.body) == ("file", "configs/run.toml", "steps = 3\n")
    assert (python.mark, python.body, python.line) == (None, "x = 1\n", 11)
    assert [lowered(c) for c in commands(console.body)] == [
        ["sciflow", "generate", "things", "-n", str(MOST), "-o", "my out.csv"]
    ]


def test_the_tables_are_those_of_the_results() -> None:
    """Figures come from result files; `python benchmarks/tables.py` writes them."""
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for page in tables.pages():
        text = page.read_text(encoding="utf-8")
        assert tables.filled(text) == text, page.name
