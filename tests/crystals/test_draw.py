"""Pictures: what is drawn, not how; powder patterns against Bragg's law."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from sciflow.domains.crystals import Crystal, draw, view, xray
from sciflow.domains.crystals.scene import Bar, Disc, scene
from sciflow.errors import SciflowError

SITES = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
SRTIO3 = Crystal.from_parameters(["Sr", "Ti", "O", "O", "O"], SITES, [3.905] * 3)
NACL = Crystal.from_parameters(["Na", "Cl"], [[0, 0, 0], [0.5] * 3], [3.99] * 3, [60] * 3)
CLASH = Crystal(NACL.species, [[0, 0, 0], [0.01, 0, 0]], NACL.lattice)
BROKEN = Crystal(NACL.species, [[0, 0, np.nan], [0.5] * 3], NACL.lattice)


def test_a_scene_shows_faces_twice_and_the_octahedron() -> None:
    shapes = scene(SRTIO3).shapes
    discs = [shape for shape in shapes if isinstance(shape, Disc)]
    names = [disc.element for disc in discs]
    assert {name: names.count(name) for name in names} == {"Sr": 8, "Ti": 1, "O": 6}
    bonds = [shape for shape in shapes if isinstance(shape, Bar) and shape.width > 0.1]
    assert len(bonds) == 2 * 6  # both halves of the six bonds between titanium and oxygen
    assert len(shapes) == 15 + 12 + 12 * 6
    assert max(np.hypot(disc.x, disc.y) + disc.radius for disc in discs) <= scene(SRTIO3).radius


def test_a_scene_does_not_depend_on_the_orientation_of_the_lattice() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = Crystal(SRTIO3.species, SRTIO3.coordinates, SRTIO3.lattice @ turn)
    for a, b in zip(scene(SRTIO3).shapes, scene(turned).shapes, strict=True):
        if isinstance(a, Disc) and isinstance(b, Disc):
            assert (a.x, a.y) == pytest.approx((b.x, b.y), abs=1e-6)


def test_grids_of_vectors_and_pixels(tmp_path: Path) -> None:
    assert (
        draw.grid([SRTIO3, NACL.to_structure(), CLASH, BROKEN], tmp_path / "new" / "grid.svg") == 4
    )
    text = (tmp_path / "new" / "grid.svg").read_text()
    ElementTree.fromstring(text)
    for word in ("SrTiO₃", "Pm-3m", "atoms too close", "not finite"):
        assert word in text
    used, made = (
        set(re.findall(r"url\(#(\w+)\)", text)),
        set(re.findall(r'Gradient id="(\w+)"', text)),
    )
    assert used == made
    draw.grid([SRTIO3, BROKEN], tmp_path / "grid.png", captions=["one", "two"])
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert set(draw.legend(NACL)) == {"Na", "Cl"}
    for bad in (
        {"columns": 0},
        {"captions": ["one", "two"]},
        {"path": tmp_path / "x.gif"},
        {"crystals": []},
    ):
        with pytest.raises(SciflowError):
            draw.grid(**{"crystals": [NACL], "path": tmp_path / "x.svg", **bad})  # type: ignore[arg-type]


def test_a_page_in_space_holds_everything_it_needs(tmp_path: Path) -> None:
    view.write([SRTIO3, CLASH, BROKEN], tmp_path / "new" / "some.html", title="a < b")
    text = (tmp_path / "new" / "some.html").read_text()
    assert "a &lt; b" in text and not re.search(r"https?://|src=", text)
    found = re.search(r'id="data">(.*?)</script>', text)
    assert found is not None
    first, second, third = json.loads(found.group(1))
    assert first["title"] == "SrTiO3" and len(first["atoms"]) == 15 and len(first["bonds"]) == 6
    assert second["bad"] and second["note"] == "atoms too close" and second["atoms"]
    assert third["bad"] and third["note"] == "not finite" and not third["atoms"]
    for things, name in (([], "x.html"), ([NACL], "x.txt")):
        with pytest.raises(SciflowError):
            view.write(things, tmp_path / name)


def test_peaks_obey_bragg_and_the_rules_of_extinction() -> None:
    found = xray.pattern(NACL)
    d = 1.54184 / (2 * np.sin(np.radians(found.angles) / 2))
    a = 3.99 * 2**0.5
    squares = np.round((a / d) ** 2).astype(int)
    np.testing.assert_allclose((a / d) ** 2, squares, rtol=1e-3)
    assert squares[:5].tolist() == [3, 4, 8, 11, 12]  # all odd or all even
    assert found.heights.max() == pytest.approx(100) and squares[found.heights.argmax()] == 4
    grid = np.linspace(5, 90, 8001)
    assert grid[found.curve(grid).argmax()] == pytest.approx(
        found.angles[found.heights.argmax()], abs=0.02
    )


def test_patterns_are_drawn(tmp_path: Path) -> None:
    xray.draw([SRTIO3, NACL], tmp_path / "some.svg", names=["first", "second"])
    assert "second" in (tmp_path / "some.svg").read_text()
    for things, name in (([], "x.svg"), ([NACL], "x.txt"), ([CLASH], "x.svg")):
        with pytest.raises(SciflowError):
            xray.draw(things, tmp_path / name)
    with pytest.raises(SciflowError, match="radiation"):
        xray.pattern(NACL, "CuKx")
