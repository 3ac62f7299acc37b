"""Model cards: what is known of models, for a terminal.

A card is a table of free facts; these are shown by name: ``description``, ``data``, ``licence``,
``parameters``, ``training`` (written by `training`) and ``measured``, a table of figures and how
they were taken.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

_NONE = "no model is shipped; train one: sciflow train --help"


def overview(cards: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what the models of each domain are for, a line or two each, as wide as the terminal."""
    if not cards:
        return _NONE
    width = max(map(len, cards)) + 4
    wide = min(shutil.get_terminal_size().columns, 120)
    lines, domain = [], None
    for name, card in cards.items():
        if card["domain"] != domain:
            domain = card["domain"]
            lines += ["", f"{domain}:"]
        mark = "* " if card.get("default") else "  "
        words = textwrap.wrap(card.get("description", ""), max(30, wide - width)) or [""]
        lines += [f"{mark}{name}".ljust(width) + words[0]]
        lines += [" " * width + more for more in words[1:]]
    told = "data, training and measured figures"
    lines += ["", f"* is taken where none is named; sciflow models NAME tells {told}"]
    return "\n".join(lines[1:])


def text(cards: Mapping[str, Mapping[str, Any]]) -> str:
    """Return cards (see `sciflow.model.cards`) as text."""
    if not cards:
        return _NONE
    return "\n\n".join("\n".join(_lines(name, card)) for name, card in cards.items())


def _lines(name: str, card: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name}  ({card['domain']}{', default' if card.get('default') else ''})"
    if card.get("description"):
        yield f"  {card['description']}"
    for key in ("data", "licence"):
        if card.get(key):
            yield f"  {key:10} {_value(card[key])}"
    if card.get("parameters"):
        yield f"  {'size':10} {card['parameters']:,} parameters"
    training = card.get("training", {})
    if training:
        yield (
            f"  {'training':10} {training.get('steps', '?')} steps "
            f"on {training.get('samples', '?')} samples, "
            f"{training.get('seconds', 0) / 60:.0f} min on {training.get('device', '?')}, "
            f"seed {training.get('seed', '?')}"
        )
    sampling = card.get("sampling", {})
    if sampling:
        yield f"  {'sampling':10} {', '.join(f'{k} {_value(v)}' for k, v in sampling.items())}"
    for key, value in card.get("measured", {}).items():
        yield f"  {'measured':10} {key.replace('_', ' ')}: {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


__all__ = ["overview", "text"]
