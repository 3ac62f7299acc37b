"""What all tests share: where the data lie, one thread, one seed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parents[1]

os.environ["SCIFLOW_OFFLINE"] = "1"  # no test downloads anything

# Calls of the core are held to their signatures (checked.py). Not of the command line: typer calls it with what it has
# not parsed yet.
_NOT_CHECKED = {"__init__", "__main__", "cli", "domains"}
_ROOMS = {room.stem for room in (ROOT / "sciflow").iterdir()} - _NOT_CHECKED
install_import_hook([f"sciflow.{room}" for room in sorted(_ROOMS)], "checked.check")


def _data() -> Path | None:
    named = os.environ.get("SCIFLOW_DATA")
    path = Path(named) if named else ROOT.parent / "shared" / "data"
    return path if path.is_dir() else None


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The shared data sets; a test that asks for them is marked `data` and skipped without them."""
    path = _data()
    if path is None:
        pytest.skip("the data sets are not here: set SCIFLOW_DATA to their folder")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = _data() is None
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)
        if missing and item.get_closest_marker("data"):
            item.add_marker(
                pytest.mark.skip(reason="the data sets are not here: set SCIFLOW_DATA")
            )


@pytest.fixture(autouse=True)
def _named_data(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test that is marked `data` name its data sets (`qm9:train`), and no other."""
    if request.node.get_closest_marker("data"):
        monkeypatch.setenv("SCIFLOW_DATA", str(_data()))
    else:
        monkeypatch.delenv("SCIFLOW_DATA", raising=False)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Give a network built in a test the same weights in every run."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def rediscover() -> Iterator[Callable[[], None]]:
    """Call it to have the domains looked for again: a package has been installed since."""
    from sciflow import registry

    def forget() -> None:
        for function in vars(registry).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()

    yield forget
    forget()
