"""Wheel, editable install and bare checkout import alike, and the lists kept by hand agree with the tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
PACKAGES = SETUPTOOLS["packages"]
DATA_SUFFIXES = {".safetensors", ".json", ".toml", ".md"}

# Two test processes would build everything twice.
pytestmark = pytest.mark.xdist_group("packaging")


def tree_of_packages() -> dict[str, Path]:
    """Every folder with Python files, by the name it is imported under."""
    found = {}
    for top, prefix in (
        (ROOT / "sciflow", ("sciflow",)),
        (ROOT / "domains", ("sciflow", "domains")),
    ):
        for folder in {f.parent for f in top.rglob("*.py")}:
            found[".".join((*prefix, *folder.relative_to(top).parts))] = folder
    return found


def installed_files() -> set[str]:
    """What a wheel must hold, as paths inside it: the modules, and a domain's cards, examples and weights."""
    files = {"sciflow/py.typed"}
    for package, folder in tree_of_packages().items():
        inside = Path(*package.split("."))
        files |= {(inside / f.name).as_posix() for f in folder.glob("*.py")}
    for file in (ROOT / "domains").rglob("*"):
        if file.suffix in DATA_SUFFIXES:
            files.add((Path("sciflow") / file.relative_to(ROOT)).as_posix())
    return files


def test_package_list_equals_the_tree() -> None:
    assert sorted(PACKAGES) == sorted(tree_of_packages()), (
        "pyproject.toml: tool.setuptools.packages"
    )
    bare = [
        p for p, folder in tree_of_packages().items() if not (folder / "__init__.py").is_file()
    ]
    assert not bare, "a package without __init__.py"


def test_every_domain_is_mapped_to_its_folder() -> None:
    domains = {p.split(".")[2] for p in tree_of_packages() if p.startswith("sciflow.domains.")}
    wanted = {"sciflow": "sciflow", **{f"sciflow.domains.{d}": f"domains/{d}" for d in domains}}
    assert SETUPTOOLS["package-dir"] == wanted, "pyproject.toml: tool.setuptools.package-dir"


def test_constraints_pin_what_pyproject_asks_for() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert all(line.count("==") == 1 and not set(line) & set("+@/") for line in lines)
    pins = {canonicalize_name(n): v for n, v in (line.split("==") for line in lines)}
    extras = PROJECT["project"]["optional-dependencies"]
    asked = [
        PROJECT["project"]["dependencies"],
        *extras.values(),
        PROJECT["build-system"]["requires"],
    ]
    for requirement in map(Requirement, sum(asked, [])):
        name = canonicalize_name(requirement.name)
        if name != PROJECT["project"]["name"]:
            assert name in pins, f"constraints.txt does not pin {name}"
            assert requirement.specifier.contains(pins[name]), f"{requirement} but {pins[name]}"


def _build(hook: str, source: Path, out: Path) -> Path:
    """Run one hook of the build backend (what `pip` and `build` do), and return the file it made."""
    out.mkdir(exist_ok=True)
    code = f"import setuptools.build_meta as b; print(b.{hook}({str(out)!r}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return out / run.stdout.split()[-1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: building leaves its traces there and finds none of older builds."""
    copy = tmp_path_factory.mktemp("checkout")
    (copy / "README.md").touch()
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy)
    for name in ("sciflow", "domains"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked, built from the source distribution as an index would have it."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(_build("build_sdist", checkout, folder / "sdist")) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    with zipfile.ZipFile(_build("build_wheel", source, folder / "out")) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def editable(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install -e` puts into site-packages."""
    folder = tmp_path_factory.mktemp("editable")
    with zipfile.ZipFile(_build("build_editable", checkout, folder / "out")) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


# Where each package lies; only `sciflow.domains` is run for it, since it finds its domains then.
_LOCATE = """
import importlib, json, site, sys
{setup}
sys.path += {libraries}
def locate(name):
    parent, _, _ = name.rpartition(".")
    path = locate(parent).submodule_search_locations if parent else None
    if name == "sciflow.domains":
        return importlib.import_module(name).__spec__
    return next(s for f in sys.meta_path if (s := f.find_spec(name, path)))
packages = {packages}
print(json.dumps({{p: ({find}).origin for p in packages}}))
"""


def _homes(setup: str, cwd: Path, run_them: bool = False) -> dict[str, str]:
    """Return where an interpreter that knows nothing else of sciflow finds each package.

    `-S` keeps an installation of sciflow in the tests' own environment out of the way; the environment's libraries come
    last, since they hold the traces of that installation.
    """
    libraries = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    find = "importlib.import_module(p).__spec__" if run_them else "locate(p)"
    program = _LOCATE.format(setup=setup, libraries=libraries, packages=PACKAGES, find=find)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    run = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=cwd, env=clean, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


def test_wheel_holds_the_tree_and_nothing_else(wheel: Path) -> None:
    files = {f.relative_to(wheel).as_posix() for f in wheel.rglob("*") if f.is_file()}
    assert {f for f in files if ".dist-info/" not in f} == installed_files()


def test_wheel_says_what_it_is(wheel: Path) -> None:
    import sciflow

    (info,) = wheel.glob("*.dist-info")
    metadata = Parser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
    assert metadata["Name"] == PROJECT["project"]["name"]
    assert metadata["Version"] == sciflow.__version__
    assert metadata["License-Expression"] == "MIT"
    assert "sciflow = sciflow.cli:main" in (info / "entry_points.txt").read_text(encoding="utf-8")


def test_wheel_imports_from_elsewhere(wheel: Path, tmp_path: Path) -> None:
    homes = _homes(f"sys.path.insert(0, {str(wheel)!r})", tmp_path, run_them=True)
    for package, file in homes.items():
        assert Path(file) == wheel / package.replace(".", "/") / "__init__.py"


def test_wheel_ignores_a_stranger_called_domains(wheel: Path, tmp_path: Path) -> None:
    """Somebody else's `domains` beside sciflow in site-packages is no home of ours."""
    site = tmp_path / "site"
    shutil.copytree(wheel / "sciflow" / "domains", site / "sciflow" / "domains")
    (site / "sciflow" / "__init__.py").touch()
    (site / "domains").mkdir()
    code = f"import sys; sys.path.insert(0, {str(site)!r})"
    code += "; import sciflow.domains as d; print(*d.__path__)"
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [str(site / "sciflow" / "domains")]


@pytest.mark.parametrize("folder", ["elsewhere", "in the checkout"])
def test_editable_install_imports(
    editable: Path, checkout: Path, tmp_path: Path, folder: str
) -> None:
    cwd = checkout if folder == "in the checkout" else tmp_path
    homes = _homes(f"site.addsitedir({str(editable)!r})", cwd)
    for package, file in homes.items():
        assert Path(file) == _in_checkout(checkout, package)


def test_bare_checkout_imports(checkout: Path, tmp_path: Path) -> None:
    homes = _homes(f"sys.path.insert(0, {str(checkout)!r})", tmp_path)
    for package, file in homes.items():
        assert Path(file) == _in_checkout(checkout, package)


def _in_checkout(checkout: Path, package: str) -> Path:
    parts = package.split(".")
    inside = parts[1:] if len(parts) > 2 and parts[1] == "domains" else parts
    return checkout.joinpath(*inside, "__init__.py")
