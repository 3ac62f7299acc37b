"""Domains of third parties: found by their entry point, and harmless where they are broken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sciflow import registry
from sciflow.errors import SciflowError
from sciflow.runtime.doctor import examine


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import a_library_that_nobody_has\n", "a_library_that_nobody_has"),
        ("raise RuntimeError('out of order')\n", "RuntimeError: out of order"),
        ("adapter = None\n", "no attribute 'ADAPTER'"),
    ],
)
def test_a_broken_domain_is_named_and_stops_no_other(
    source: str,
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rediscover: Callable[[], None],
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lame", raising=False)
    (tmp_path / "lame.py").write_text(source, encoding="utf-8")
    facts = tmp_path / "lame-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: lame\nVersion: 1\n", "utf-8")
    (facts / "entry_points.txt").write_text("[sciflow.domains]\nlame = lame\n", "utf-8")
    rediscover()
    assert "lame" in registry.names()
    with pytest.raises(SciflowError, match="lame.*uninstall") as error:
        registry.adapter("lame")
    assert fault in str(error.value)
    assert "molecules" in registry.adapters()
    assert registry.adapter_of("new.smi").name == "molecules"
    assert any(fault in problem for problem in examine()["problems"])
