"""Reports: one self-contained HTML page of settings, numbers and pictures.

A page is a title, the settings that made it and sections of blocks. It needs no script, no network and no second file:
it can be mailed, printed and opened in ten years. Pictures are embedded as data, each in a world of its own, so that
two SVG files cannot clash by their ids and none can run a script; everything else is escaped text.

Blocks: `Text`, `Code`, `Facts`, `Table`, `Metrics`, `Bars`, `Picture`, `Gallery`.
"""

from __future__ import annotations

import base64
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Literal, TypeGuard

from ..checkpoint import write_text
from ..errors import expected
from .report_style import CSS

Value = float | int | str | None
"""What a cell may hold; None and not-a-number are shown as a dash."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_ARROW = {
    "higher": ' <span class="better" title="higher is better">↑</span>',
    "lower": ' <span class="better" title="lower is better">↓</span>',
    "": "",
}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Value, percent: bool = False) -> str:
    r"""Return `value` as a reader wants it: three significant digits, grouped thousands, true powers of ten.

    A share that is not whole never rounds up to 100 %: 0.9996 is 99.96 %.

    >>> number(0.12345), number(12345), number(0.9996, percent=True), number(None)
    ('0.123', '12\u202f345', '99.96\u202f%', '–')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if percent:
        share = 100 * value
        digits = 1
        while digits < 4 and share < 100 and float(f"{share:.{digits}f}") >= 100:
            digits += 1
        return f"{share:.{digits}f}\u202f%"
    size = abs(value)
    if isinstance(value, int) or size >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", "−")
    if size and size < 1e-4:
        mantissa, power = f"{value:.1e}".split("e")
        return f"{mantissa} × 10{str(int(power)).translate(_SUPERSCRIPT)}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


class Block(ABC):
    """A piece of a section."""

    @abstractmethod
    def html(self) -> str:
        """Return the block as HTML, with everything that came from outside escaped."""


@dataclass(frozen=True)
class Text(Block):
    """Paragraphs, parted by empty lines."""

    text: str

    def html(self) -> str:
        parts = (" ".join(part.split()) for part in self.text.split("\n\n"))
        return "".join(f"<p>{escape(part)}</p>" for part in parts if part)


@dataclass(frozen=True)
class Code(Block):
    """A command or listing, as it would be typed."""

    text: str

    def html(self) -> str:
        return f"<pre><code>{escape(self.text)}</code></pre>"


@dataclass(frozen=True)
class Facts(Block):
    """Names with their values: settings, versions, counts."""

    values: Mapping[str, Value]

    def html(self) -> str:
        rows = (
            f"<div><dt>{escape(name)}</dt><dd>{escape(number(value))}</dd></div>"
            for name, value in self.values.items()
        )
        return f"<dl>{''.join(rows)}</dl>"


@dataclass(frozen=True)
class Table(Block):
    """A plain table; columns of numbers are set flush right.

    Args:
        columns: The headings.
        rows: Cells, one row per sequence, as long as `columns`.
        caption: A line under the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    caption: str = ""

    def html(self) -> str:
        head = "".join(f'<th scope="col">{escape(c)}</th>' for c in self.columns)
        body = "".join(f"<tr>{''.join(_cell(v) for v in row)}</tr>" for row in self.rows)
        return _table(head, body, self.caption)


@dataclass(frozen=True)
class Metric:
    """One measured number, and what to hold it against.

    Args:
        name: The field's usual name.
        value: What was measured.
        reference: The same quantity where it is known: of the data, of a paper, the best that can be reached.
        floor: For a distance, what two samples of the data themselves are apart.
        note: A sentence on what is measured.
        percent: The value is a share in [0, 1], shown in per cent with a bar.
        better: Which direction is good; left out where none is.
    """

    name: str
    value: Value
    reference: Value = None
    floor: Value = None
    note: str = ""
    percent: bool = False
    better: Literal["higher", "lower", ""] = ""


@dataclass(frozen=True)
class Metrics(Block):
    """A table of metrics; a column that no metric fills is left out.

    Args:
        rows: The metrics.
        value: Heading of the measured values.
        reference: Heading of the references.
        floor: Heading of the noise floors.
        caption: A line under the table.
    """

    rows: Sequence[Metric]
    value: str = "value"
    reference: str = "reference"
    floor: str = "noise floor"
    caption: str = ""

    def html(self) -> str:
        references = any(m.reference is not None for m in self.rows)
        floors = any(m.floor is not None for m in self.rows)
        heads = ["", self.value, *([self.reference] * references), *([self.floor] * floors)]
        head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
        body = []
        for m in self.rows:
            arrow = _ARROW[m.better]
            note = f"<small>{escape(m.note)}</small>" if m.note else ""
            name = f'<th scope="row">{escape(m.name)}{arrow}{note}</th>'
            value = f'<td class="n v">{escape(number(m.value, m.percent))}{_share_bar(m)}</td>'
            others = [m.reference] * references + [m.floor] * floors
            cells = (f'<td class="n">{escape(number(o, m.percent))}</td>' for o in others)
            body.append(f"<tr>{name}{value}{''.join(cells)}</tr>")
        return _table(head, "".join(body), self.caption, "metrics")


@dataclass(frozen=True)
class Bars(Block):
    """Grouped bars: one group per label, one colour per series.

    Args:
        labels: The groups, G of them.
        series: Name to G heights, not negative; a height that is None or not a number leaves a gap.
        caption: A line under the chart.
        percent: The heights are shares in [0, 1].
    """

    labels: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    caption: str = ""
    percent: bool = False

    def __post_init__(self) -> None:
        for name, heights in self.series.items():
            if len(heights) != len(self.labels):
                raise expected(f"bars {name!r}", len(heights), f"{len(self.labels)} heights")

    def html(self) -> str:
        left, top, height, bottom = 52, 10, 180, 26
        bar = max(5, min(20, round(560 / max(1, len(self.labels) * (len(self.series) + 1)))))
        widest = max((len(label) for label in self.labels), default=1)
        group = max(bar * (len(self.series) + 1), 7 * widest + 10)
        width = left + group * len(self.labels) + 6
        known = (h for heights in self.series.values() for h in heights if _finite(h))
        highest = max(known, default=0.0)
        step = _nice_step(highest)
        ceiling = step * max(1, math.ceil(highest / step - 1e-9))
        parts = []
        for i in range(round(ceiling / step) + 1):
            y = top + height * (1 - i * step / ceiling)
            label = f"{100 * i * step:.3g} %" if self.percent else number(i * step)
            parts.append(f'<path class="grid" d="M{left} {y:.1f}H{width}"/>')
            parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        for g, label in enumerate(self.labels):
            middle = left + group * (g + 0.5)
            parts.append(
                f'<text x="{middle:.1f}" y="{top + height + 18}" text-anchor="middle">'
                f"{escape(label)}</text>"
            )
            for k, (name, heights) in enumerate(self.series.items()):
                h = heights[g]
                if not _finite(h):
                    continue
                x = middle + bar * (k - len(self.series) / 2)
                tall = height * max(0.0, h) / ceiling
                tip = f"{name}, {label}: {number(h, self.percent)}"
                parts.append(
                    f'<rect class="c{k % 4}" x="{x:.1f}" y="{top + height - tall:.1f}" '
                    f'width="{bar - 1}" height="{tall:.1f}"><title>{escape(tip)}</title></rect>'
                )
        key = "".join(
            f'<span><i class="c{k % 4}"></i>{escape(n)}</span>' for k, n in enumerate(self.series)
        )
        size = f'viewBox="0 0 {width} {top + height + bottom}" width="{width}"'
        svg = f'<svg {size} role="img" aria-label="{escape(self.caption)}">{"".join(parts)}</svg>'
        inside = f'<div class="key">{key}</div>{svg}{_caption(self.caption)}'
        return f'<figure class="chart">{inside}</figure>'


@dataclass(frozen=True)
class Picture(Block):
    """A picture: an SVG document as text, or the bytes of a PNG, JPEG or GIF file.

    Raises:
        SciflowError: `image` is none of these.
    """

    image: str | bytes
    caption: str = ""

    def __post_init__(self) -> None:
        self._kind()

    def _kind(self) -> str:
        if isinstance(self.image, str):
            if "<svg" in self.image:
                return "svg+xml"
        elif self.image.startswith(b"\x89PNG\r\n"):
            return "png"
        elif self.image.startswith(b"\xff\xd8\xff"):
            return "jpeg"
        elif self.image.startswith(b"GIF8"):
            return "gif"
        raise expected(
            "picture", self.image[:20], "the text of an SVG, or a PNG, JPEG or GIF as bytes"
        )

    def html(self) -> str:
        raw = self.image.encode() if isinstance(self.image, str) else self.image
        data = base64.b64encode(raw).decode()
        source = f"data:image/{self._kind()};base64,{data}"
        image = f'<img src="{source}" alt="{escape(self.caption)}">'
        return f'<figure class="picture">{image}{_caption(self.caption)}</figure>'


@dataclass(frozen=True)
class Gallery(Block):
    """Many small pictures in rows, as many to a row as fit.

    Args:
        pictures: The pictures.
        width: The least width of one, in pixels of the page.
        caption: A line under all of them.
    """

    pictures: Sequence[Picture]
    width: int = 150
    caption: str = ""

    def html(self) -> str:
        inside = "".join(picture.html() for picture in self.pictures)
        rows = f'<div class="gallery" style="--w:{int(self.width)}px">{inside}</div>'
        return f"{rows}{_caption(self.caption, 'p')}"


@dataclass(frozen=True)
class Section:
    """A titled part of the page.

    Args:
        title: The heading.
        blocks: What stands under it.
        note: A sentence between the heading and the blocks.
    """

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    note: str = ""

    def html(self, anchor: str) -> str:
        """Return the section as HTML with `anchor` as its id."""
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        inside = "".join(block.html() for block in self.blocks)
        return f'<section id="{anchor}"><h2>{escape(self.title)}</h2>{note}{inside}</section>'


def render(
    title: str,
    sections: Sequence[Section],
    *,
    settings: Mapping[str, Value] | None = None,
    lead: str = "",
) -> str:
    """Return the page as one HTML document.

    Args:
        title: What the page shows.
        sections: Its parts, in reading order; three or more are listed under the heading.
        settings: Where the content comes from: model, seed, steps, solver, device, versions, date.
        lead: A sentence under the title.
    """
    from .. import __version__

    links = "".join(f'<a href="#s{i}">{escape(s.title)}</a>' for i, s in enumerate(sections, 1))
    contents = f"<nav>{links}</nav>" if len(sections) > 2 else ""
    opening = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    facts = Facts(settings).html() if settings else ""
    body = "".join(s.html(f"s{i}") for i, s in enumerate(sections, 1))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{CSS}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{opening}{facts}{contents}</header>
<main>{body}</main>
<footer>sciflow {escape(__version__)}</footer>
</body>
</html>
"""


def page(
    path: str | os.PathLike[str],
    title: str,
    sections: Sequence[Section],
    *,
    settings: Mapping[str, Value] | None = None,
    lead: str = "",
) -> Path:
    """Write the page of `render` to `path`, whole or not at all, and return the path.

    Raises:
        SciflowError: The file cannot be written there.
    """
    path = Path(path)
    write_text(path, render(title, sections, settings=settings, lead=lead))
    return path


def _cell(value: Value) -> str:
    kind = "" if isinstance(value, str) else ' class="n"'
    return f"<td{kind}>{escape(number(value))}</td>"


def _table(head: str, body: str, caption: str, kind: str = "") -> str:
    label = f' class="{kind}"' if kind else ""
    return (
        f'<figure><div class="wide"><table{label}><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{_caption(caption)}</figure>"
    )


def _caption(text: str, tag: str = "figcaption") -> str:
    kind = ' class="caption"' if tag == "p" else ""
    return f"<{tag}{kind}>{escape(text)}</{tag}>" if text else ""


def _share_bar(metric: Metric) -> str:
    """A thin bar under a share, with a tick at its reference."""
    share, tick = metric.value, metric.reference
    if not metric.percent or not _finite(share):
        return ""
    mark = f'<b style="left:{_percent(tick)}"></b>' if _finite(tick) else ""
    return f'<span class="bar"><i style="width:{_percent(share)}"></i>{mark}</span>'


def _finite(value: Value) -> TypeGuard[float]:
    return isinstance(value, float | int) and math.isfinite(value)


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def _nice_step(top: float) -> float:
    """A round distance between grid lines that gives three to five of them up to `top`."""
    if top <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top / 4))
    return power * next(m for m in (1, 2, 2.5, 5, 10) if power * m * 4.5 >= top)
