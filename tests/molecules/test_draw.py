"""Pictures: every molecule is there, failures are told apart, files are whole."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from sciflow.domains.molecules import validity
from sciflow.domains.molecules.draw import CELL, Drawn, grid, histograms
from sciflow.domains.molecules.metrics import evaluate
from sciflow.errors import SciflowError

MOLS = [
    validity.read_raw(text)
    for text in ("CCO", "c1ccccc1", "CC(C)(C)(C)C", "CC.O", "C[N+](=O)[O-]", "CN(C)(C)(C)C")
]
SVG = "{http://www.w3.org/2000/svg}"


def test_a_grid_shows_every_molecule_and_flags_failures(tmp_path: Path) -> None:
    path = tmp_path / "new" / "grid.svg"
    captions = ["a < b & c", "", "lost", "lost", "nitro", "lost"]
    assert grid(MOLS, path, columns=4, captions=captions) == Drawn(6, 2, 0)
    root = ET.parse(path).getroot()
    cells = root.findall(f"{SVG}g")
    assert len(cells) == 6
    assert all(list(cell) for cell in cells)
    texts = {t.text: t.get("fill") for t in root.findall(f"{SVG}text")}
    assert list(texts) == [
        "a < b & c", "invalid: C with 5 bonds", "2 pieces", "nitro", "invalid: N with 5 bonds",
    ]  # fmt: skip
    red = texts["invalid: C with 5 bonds"]
    assert texts["2 pieces"] == red != texts["nitro"]
    assert root.get("width") == str(4 * CELL + 36)


def test_invalid_graphs_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    empty = validity.read_raw("")
    assert grid([*MOLS, empty], tmp_path / "grid.svg", invalid=False) == Drawn(4, 0, 3)
    assert grid([*MOLS, empty], tmp_path / "grid.svg") == Drawn(6, 2, 1)


def test_a_png_has_white_ground_ink_and_a_red_tint(tmp_path: Path) -> None:
    from PIL import Image

    grid(MOLS[:3], tmp_path / "grid.png", columns=3)
    with Image.open(tmp_path / "grid.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert (pixels[0, 0] == 255).all()
    assert pixels.shape[1] == 2 * (3 * CELL + 36)
    thirds = [pixels[:, 36 + k * 2 * CELL : 36 + (k + 1) * 2 * CELL] for k in range(3)]
    assert all((third.sum(-1) < 300).any() for third in thirds)  # dark lines in each cell
    tint = [((t[..., 0] > t[..., 1] + 5) & (t[..., 1] > 230)).mean() for t in thirds]
    assert tint[0] < 0.01 and tint[1] < 0.01 and tint[2] > 0.3


def test_the_same_molecules_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        grid(MOLS, tmp_path / name, captions=lambda mol: validity.smiles(mol) or "")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_histograms_stand_beside_the_data(tmp_path: Path) -> None:
    summary = evaluate(MOLS, MOLS[:2], distances=False).summary()
    for name in ("a.svg", "b.svg"):
        histograms(summary, tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    for word in ("Atoms", "Bonds", "Rings", "Sizes", ">data<", ">generated<", ">N+<", ">8+<"):
        assert word in text
    assert text == (tmp_path / "b.svg").read_text()  # no date, no random names


def test_histograms_without_data(tmp_path: Path) -> None:
    histograms(evaluate(MOLS, distances=False).summary(), tmp_path / "alone.svg")
    assert ">data<" not in (tmp_path / "alone.svg").read_text()
    histograms(evaluate([], distances=False).summary(), tmp_path / "none.png")
    assert (tmp_path / "none.png").stat().st_size > 0


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(SciflowError, match="columns"):
        grid(MOLS, tmp_path / "grid.svg", columns=0)
    with pytest.raises(SciflowError, match="one for each of 6"):
        grid(MOLS, tmp_path / "grid.svg", captions=["a"])
    with pytest.raises(SciflowError, match=r"\.svg"):
        grid(MOLS, tmp_path / "grid.jpg")
    with pytest.raises(SciflowError, match="none to draw"):
        grid([], tmp_path / "grid.svg")
    with pytest.raises(SciflowError, match="none to draw"):
        grid([MOLS[2]], tmp_path / "grid.svg", invalid=False)
    with pytest.raises(SciflowError, match="histograms"):
        histograms({}, tmp_path / "bars.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(SciflowError, match="cannot be written"):
        grid(MOLS, tmp_path / "file" / "grid.svg")
