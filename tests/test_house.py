"""The house rules that a reader relies on: the order of the rooms, one way to a domain, short files, a light import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The reading order: a room (a module or a package of sciflow/) imports only from rooms above it.
ROOMS = """
errors shapes streams state spaces paths prediction component system preconditioning coupling grids suggest
solvers hooks sampling capture integrate flow likelihood gradients diagnostics
checkpoint learning conditions adapter registry model runtime domains cli __main__
""".split()

# The core knows no domain, not even in a comment; what a domain is called, it says itself.
DOMAIN_WORDS = re.compile(
    r"molecul|crystal|lattice|smiles|rdkit|pymatgen|fcd|chemi|\bbonds?\b|\batoms?\b|valen[ct]|qm9|zinc250"
    r"|wavelet|xarray|netcdf|\bpdes?\b|navier|burgers",
    re.IGNORECASE,
)

# Loaded by the function that uses them, never by `import sciflow`, nor by a room other than the late ones.
HEAVY = set(
    "rdkit pymatgen ase xarray matplotlib pydantic typer rich lightning_fabric pandas scipy PIL".split()
)
LATE_ROOMS = {"runtime", "domains", "cli", "__main__"}

MAX_LINES = 450


def core_files() -> list[Path]:
    return sorted((ROOT / "sciflow").rglob("*.py"))


def domain_files() -> list[Path]:
    return sorted((ROOT / "domains").rglob("*.py"))


def house_files() -> list[Path]:
    own = [f for room in ("tests", "benchmarks") for f in sorted((ROOT / room).rglob("*.py"))]
    return core_files() + domain_files() + own


def name_of(file: Path) -> str:
    """The module's import name, e.g. ``sciflow.paths.base`` or ``sciflow.domains.NAME.draw``."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "domains":
        parts = ("sciflow", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imports(file: Path) -> Iterator[tuple[int, str, bool]]:
    """Every import of a file wherever it stands, as (line, absolute name, relative?)."""
    package = name_of(file).split(".")
    if file.name != "__init__.py":
        package.pop()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, False
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{stem}.{alias.name}", bool(node.level)


def room_of(name: str) -> str | None:
    """The room that an absolute name belongs to: the word after ``sciflow.``."""
    parts = name.split(".")
    return parts[1] if parts[0] == "sciflow" and len(parts) > 1 else None


def where(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


def test_every_core_module_stands_in_a_room() -> None:
    strange = {room_of(name_of(f)) for f in core_files()} - {None, *ROOMS}
    assert not strange, f"say where {strange} stand in the reading order: ROOMS in this file"


def test_rooms_import_only_from_rooms_above() -> None:
    wrong = []
    for file in core_files():
        here = room_of(name_of(file))
        if here is None:  # sciflow/__init__.py is the front door: it names what lies in all rooms
            continue
        for line, name, _ in imports(file):
            there = room_of(name)
            if name.split(".")[0] != "sciflow" or there == "__version__":
                continue
            if there not in ROOMS:
                wrong.append(f"{where(file, line)} imports {name}: import from the room itself")
            elif there != here and ROOMS.index(there) > ROOMS.index(here):
                wrong.append(f"{where(file, line)} {here} imports {there}, a room below it")
            elif there == "domains":
                wrong.append(f"{where(file, line)} the core imports a domain: ask the registry")
    assert not wrong, "\n".join(wrong)


def test_domains_import_the_core_and_not_each_other() -> None:
    wrong = []
    for file in domain_files():
        home = ".".join(name_of(file).split(".")[:3])
        for line, name, relative in imports(file):
            if relative and not f"{name}.".startswith(f"{home}."):
                wrong.append(f"{where(file, line)} {name}: a relative import leaves its domain")
            elif not relative and room_of(name) == "domains":
                wrong.append(f"{where(file, line)} {name}: own modules relatively, others never")
            elif room_of(name) == "cli":
                wrong.append(f"{where(file, line)} {name}: a domain knows no command line")
    assert not wrong, "\n".join(wrong)


def test_nobody_imports_the_folder_of_the_domains() -> None:
    wrong = [
        f"{where(file, line)} {name}: write sciflow.{name}"
        for file in house_files()
        for line, name, relative in imports(file)
        if not relative and name.split(".")[0] == "domains"
    ]
    assert not wrong, "\n".join(wrong)
    assert not (ROOT / "domains" / "__init__.py").exists(), "domains/ is a folder, not a package"


def test_the_core_names_no_domain() -> None:
    wrong = [
        f"{where(file, i)} {found.group()!r}: {line.strip()}"
        for file in core_files()
        for i, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if (found := DOMAIN_WORDS.search(line))
    ]
    assert not wrong, "\n".join(wrong)


def test_files_are_short() -> None:
    files = [f for f in house_files() if ROOT / "tests" not in f.parents]
    lines = {f: len(f.read_text(encoding="utf-8").splitlines()) for f in files}
    long = [f"{where(f, n)}" for f, n in lines.items() if n >= MAX_LINES]
    assert not long, f"{MAX_LINES} lines or more (two nouns in one file?): {long}"


def test_every_module_has_a_docstring() -> None:
    silent = [where(f, 1) for f in house_files() if not ast.get_docstring(tree(f))]
    assert not silent, silent


def test_front_door_lists_each_public_name_once() -> None:
    """What a type checker sees under TYPE_CHECKING is what ``__getattr__`` finds when the program runs."""
    import sciflow

    door = ROOT / "sciflow" / "__init__.py"
    block = next(n for n in tree(door).body if isinstance(n, ast.If))
    seen = {
        a.name: n.module for n in ast.walk(block) if isinstance(n, ast.ImportFrom) for a in n.names
    }
    assert seen == sciflow._HOME
    for name in sciflow.__all__:
        assert getattr(sciflow, name).__name__ == name
    assert set(sciflow.__all__) < set(dir(sciflow))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        sciflow.nonsense


def _loaded_by(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded after `code`."""
    program = f"import sys\n{code}\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_importing_sciflow_and_its_rooms_loads_torch_and_little_else() -> None:
    rooms = [n for f in core_files() if room_of(n := name_of(f)) not in LATE_ROOMS]
    torch = _loaded_by("import torch")
    door = _loaded_by("import sciflow")
    all_rooms = _loaded_by("import torch\n" + "\n".join(f"import {name}" for name in rooms))
    assert not door - torch - {"sciflow"}, "import sciflow loads more than torch"
    assert not (all_rooms - torch) & HEAVY, "a room loads at import what a function should load"


def test_a_domain_is_found_in_a_checkout_whatever_the_folder(tmp_path: Path) -> None:
    names = sorted(p.name for p in (ROOT / "domains").iterdir() if (p / "__init__.py").is_file())
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import pkgutil, sciflow.domains as d\n"
        "print(*sorted(m.name for m in pkgutil.iter_modules(d.__path__) if m.ispkg))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == names
