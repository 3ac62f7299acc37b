"""Words of the command line: wishes in a domain's own words, and choices with options.

A wish is ``--option KEY=VALUE``, or shorter ``--KEY VALUE``. The command line knows no domain: a flag that is not its
own is the domain's, which refuses what it does not know.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import expected, unknown
from .config import toml_value


def wishes(
    rest: Sequence[str], options: Iterable[str], flags: Sequence[str] = ()
) -> dict[str, Any]:
    """Read the wishes of a command.

    Args:
        rest: Words that the command did not know: ``--KEY VALUE``, ``--KEY=VALUE``.
        options: Texts ``KEY=VALUE``.
        flags: The command's own flags, for those who mistype one.

    Raises:
        SciflowError: A word is no flag, a flag has no value, or it is almost one of the command's own.
    """
    found = dict(pair("--option", text) for text in options)
    words = list(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--") or len(word) < 3:
            raise expected("argument", word, "a flag of the command or --KEY VALUE")
        key, equals, value = word[2:].partition("=")
        if difflib.get_close_matches(f"--{key}", flags, 1, 0.8):
            raise unknown("option", f"--{key}", flags)
        if not equals:
            if not words or words[0].startswith("--"):
                raise expected(f"--{key}", "no value", f"--{key} VALUE")
            value = words.pop(0)
        found[key.replace("-", "_")] = toml_value(value)
    return found


def pair(option: str, text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; the value as TOML reads it, or else as text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise expected(option, text, "KEY=VALUE")
    return key.strip(), toml_value(value)


def choice(text: str | None) -> str | dict[str, Any] | None:
    """Read ``name`` or ``name:option=value,option=value``."""
    if text is None or ":" not in text:
        return text
    name, _, options = text.partition(":")
    return {"name": name, **dict(pair(name, part) for part in options.split(",") if part)}


__all__ = ["choice", "pair", "wishes"]
