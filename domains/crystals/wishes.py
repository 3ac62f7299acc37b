"""Wishes for crystals in words: elements that may be used, what a cell holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sciflow.errors import expected, unknown

from . import elements as table


def allowed(wish: Any, elements: Sequence[str]) -> list[int] | None:
    """Return the labels of the elements that may be used; None where all may.

    Args:
        wish: Symbols, a list or separated by commas; None for no wish.
        elements: Elements of the model.

    Raises:
        SciflowError: The model does not know an element, or none is named.
    """
    if wish is None:
        return None
    words = wish.replace(",", " ").split() if isinstance(wish, str) else list(wish)
    for word in words:
        if word not in elements:
            raise unknown("element", word, elements)
    if not words:
        raise expected("elements", wish, "at least one symbol")
    return sorted({list(elements).index(word) for word in words})


def contents(formula: str, size: int | None, elements: Sequence[str], most: int) -> dict[int, int]:
    """Return what a cell holds, by atomic number.

    Args:
        formula: Formula.
        size: Number of atoms in the cell, a multiple of those of the formula; None takes the formula as it is.
        elements: Elements of the model.
        most: Largest number of atoms.

    Raises:
        SciflowError: It is no formula, the model does not know an element, or the number of atoms does not fit.
    """
    counts = table.parse(formula)
    for z in counts:
        if table.symbol(z) not in elements:
            raise unknown(f"element of {formula}", table.symbol(z), elements)
    total = sum(counts.values())
    if size is not None:
        if size % total:
            raise expected("atoms", size, f"a multiple of the {total} atoms of {formula}")
        counts = {z: n * (size // total) for z, n in counts.items()}
        total = size
    if not 1 <= total <= most:
        raise expected(f"formula {formula}", f"{total} atoms", f"1 to {most} atoms in the cell")
    return counts


__all__ = ["allowed", "contents"]
