"""A report is one well-formed page that shows what it was given, runs nothing and fetches nothing."""

from __future__ import annotations

import base64
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sciflow.errors import SciflowError
from sciflow.runtime.report import (
    Bars,
    Block,
    Code,
    Facts,
    Gallery,
    Metric,
    Metrics,
    Picture,
    Section,
    Table,
    Text,
    number,
    page,
    render,
)

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><circle r="4"/></svg>'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
HOSTILE = (
    """"><script>alert('x')</script><img src=http://evil.example/x onerror="alert(1)">&amp;'"""
)
VOID = {"meta", "link", "img", "br", "hr"}


class Reader(HTMLParser):
    """Checks that every tag is closed by its own end tag; keeps elements, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> inside {self.open}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


class Broken(Block):
    """A block that fails while the page is made."""

    def html(self) -> str:
        raise RuntimeError


def everything(text: str, picture: str | bytes = SVG) -> str:
    """A page with every block there is, `text` in every place that takes text."""
    metrics = [
        Metric(text, 0.5, 0.9, note=text, percent=True, better="higher"),
        Metric("distance", 0.25, floor=0.01, better="lower"),
        Metric("words", text, text),
    ]
    blocks = [
        Text(f"{text}\n\n{text}"),
        Code(text),
        Facts({text: text}),
        Table([text], [[text], [None]], text),
        Metrics(metrics, text, text, text, text),
        Bars([text, "b"], {text: [1.0, None], "data": [math.nan, 2.0]}, text),
        Picture(picture, text),
        Gallery([Picture(PNG, text)], 80, text),
    ]
    sections = [Section(text, blocks, text)] * 3
    return render(text, sections, settings={text: text, "seed": 0}, lead=text)


@pytest.mark.parametrize("text", ["plain", HOSTILE], ids=["plain", "hostile"])
def test_page_is_well_formed_and_text_stays_text(text: str) -> None:
    plain, read = Reader(everything("plain")), Reader(everything(text))
    assert [tag for tag, _ in read.elements] == [tag for tag, _ in plain.elements]
    assert [set(a) for _, a in read.elements] == [set(a) for _, a in plain.elements]
    shown = "".join(read.text)
    assert shown.count(text) >= 3 * 18, "a text is not shown, or not as it was given"
    assert {a["alt"] for a in read.tags("img")} == {text}


@pytest.mark.parametrize("text", ["plain", HOSTILE], ids=["plain", "hostile"])
def test_page_runs_nothing_and_fetches_nothing(text: str) -> None:
    hostile = SVG.replace(
        "<circle", "<script>1</script><image href='http://evil.example/'/><circle"
    )
    html = everything(text, hostile)
    read = Reader(html)
    assert not read.tags("script") and not read.tags("iframe") and not read.tags("image")
    for _, attributes in read.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src"):
            assert re.match(r"data:|#s\d+$|$", attributes.get(name) or "")
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert "url(" not in style and "@import" not in style
    policy = [a["content"] for a in read.tags("meta") if "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_links_of_the_contents_lead_to_the_sections() -> None:
    read = Reader(everything("plain"))
    ids = [a["id"] for a in read.tags("section")]
    assert [a["href"] for a in read.tags("a")] == [f"#{i}" for i in ids]
    assert len(set(ids)) == 3


def test_pictures_are_embedded_whole() -> None:
    gif = b"GIF89a"
    for image, named in ((SVG, "svg+xml"), (PNG, "png"), (gif, "gif")):
        (attributes,) = Reader(Picture(image).html()).tags("img")
        kind, data = str(attributes["src"]).removeprefix("data:image/").split(";base64,")
        raw = base64.b64decode(data)
        assert (kind, raw) == (named, image.encode() if isinstance(image, str) else image)
    with pytest.raises(SciflowError, match=r"got b'BM6', expected the text of an SVG, or a PNG"):
        Picture(b"BM6")


def test_bars_are_as_high_as_their_numbers() -> None:
    read = Reader(Bars(["x", "y", "z"], {"a": [1.0, 3.0, 0.0], "b": [2.0, None, math.nan]}).html())
    heights = [float(str(a["height"])) for a in read.tags("rect")]
    assert len(heights) == 4, "a missing height is a gap"
    ratios = [h / heights[0] for h in heights]
    assert ratios == pytest.approx([1, 2, 3, 0], abs=0.01)  # by label, then by series
    feet = {round(float(str(a["y"])) + float(str(a["height"]))) for a in read.tags("rect")}
    assert len(feet) == 1
    assert "<rect" not in Bars([], {"a": []}).html()
    with pytest.raises(SciflowError, match="got 1, expected 2 heights"):
        Bars(["x", "y"], {"a": [1.0]})


@pytest.mark.parametrize("top", [1e-6, 0.02, 0.31, 1.0, 9.0, 10.0, 11.0, 740.0, 2e5])
def test_bars_stay_under_the_highest_grid_line(top: float) -> None:
    read = Reader(Bars(["x"], {"a": [top]}).html())
    lines = [float(re.split("[ H]", str(a["d"]))[1]) for a in read.tags("path")]
    (bar,) = read.tags("rect")
    assert 3 <= len(lines) <= 7
    assert min(lines) <= float(str(bar["y"])) + 0.1
    assert float(str(bar["height"])) > 0.5 * (max(lines) - min(lines)), "the room is used"


def test_metrics_show_only_the_columns_that_are_filled() -> None:
    bare = Reader(Metrics([Metric("m", 1.0)]).html())
    full = Reader(Metrics([Metric("m", 1.0), Metric("d", 0.5, 0.25, 0.125)]).html())
    assert len(bare.tags("td")) == 1 and len(full.tags("td")) == 2 * 3
    assert {"0.5", "0.25", "0.125"} < set(full.text)
    share = Reader(Metrics([Metric("s", 0.25, 1.5, percent=True)]).html())
    assert [a["style"] for a in share.tags("i")] == ["width:25.00%"]
    assert [a["style"] for a in share.tags("b")] == ["left:100.00%"]  # never outside the bar


def test_numbers_read_well() -> None:
    shown = {
        0.123456: "0.123", 12.0: "12", 1234.5: "1 234", 1234567: "1 234 567", -0.5: "−0.5",
        1.23e-7: "1.2 × 10⁻⁷", 0: "0", math.nan: "–", None: "–", math.inf: "∞", "a": "a",
    }  # fmt: skip
    assert {k: number(k).replace("\u202f", " ") for k in shown} == shown
    assert number(0.0) == "0"
    assert (number(True), number(False)) == ("yes", "no")


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.5, "50.0"), (1.0, "100.0"), (0.9994, "99.9"), (0.9996, "99.96"), (0.99999, "99.999")],
)
def test_a_share_is_never_rounded_up_to_all(share: float, shown: str) -> None:
    assert number(share, percent=True) == f"{shown}\u202f%"


def test_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "page.html"
    assert page(target, "One", [Section("Part", [Text("text")])], settings={"seed": 1}) == target
    before = target.read_text(encoding="utf-8")
    assert "One" in before and [f.name for f in target.parent.iterdir()] == ["page.html"]
    with pytest.raises(RuntimeError):
        page(target, "Two", [Section("Part", [Text("text"), Broken()])])
    assert target.read_text(encoding="utf-8") == before
    with pytest.raises(SciflowError, match="expected a place that can be written"):
        page(target.parent, "Three", [])  # a folder stands there
