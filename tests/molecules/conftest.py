"""What several tests of the molecules share."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.molecules.authors_file import Document, document


@pytest.fixture
def attribute_dict() -> Iterator[type]:
    """A class that pickles as easydict.EasyDict, attributes and all, while the test runs."""

    class EasyDict(dict):
        def __init__(self, **items: Any) -> None:
            super().__init__(items)
            self.__dict__.update(items)

    EasyDict.__module__, EasyDict.__qualname__ = "easydict", "EasyDict"
    module = types.ModuleType("easydict")
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    sys.modules["easydict"] = module
    yield EasyDict
    del sys.modules["easydict"]


@pytest.fixture
def good(attribute_dict: Callable[..., Any]) -> Document:
    return document(attribute_dict)
