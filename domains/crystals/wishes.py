"""Wishes for crystals in words: elements that may be used, what a cell holds, its space group, known crystals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sciflow.errors import expected, unknown
from sciflow.hooks import Hook
from sciflow.state import Frame

from . import elements as table
from . import symmetry
from .training import COMPUTED, MEASURED

if TYPE_CHECKING:
    from .adapter import Crystals

OPTIONS = ("formula", "elements", "atoms", "spacegroup", "like")
"""What any model may be asked for."""


@dataclass(frozen=True)
class Wishes:
    """What the sites of a crystal have to be.

    Args:
        formula: Formula.
        size: Number of sites.
        allowed: Labels of the elements that may be used.
        group: Number of the space group.
    """

    formula: str | None
    size: int | None
    allowed: list[int] | None
    group: int | None

    @classmethod
    def of(
        cls,
        options: Mapping[str, Any],
        elements: Sequence[str],
        most: int,
        properties: Sequence[str] = (),
    ) -> Wishes:
        """Read wishes.

        Args:
            options: Any of `OPTIONS`.
            elements: Elements of the model.
            most: Its largest number of sites.
            properties: What else it can be asked for.

        Raises:
            SciflowError: An option is unknown, or its value makes no sense.
        """
        for name in options:
            if name in OPTIONS:
                continue
            if name in (*COMPUTED, *MEASURED) and not properties:
                do = "mp20-properties has some; or train one with conditions"
                raise expected("option", name, "a model that has learnt it", do)
            raise unknown("option", name, (*OPTIONS, *properties))
        formula, atoms, group = (options.get(k) for k in ("formula", "atoms", "spacegroup"))
        if options.get("like") is not None:
            if formula is None:
                raise expected("like", "no formula", "a formula beside it")
            if group is not None:
                raise expected("like", f"space group {group}", "one of the two")
        if atoms is not None and not (str(atoms).isdecimal() and 1 <= int(atoms) <= most):
            raise expected("atoms", atoms, f"a number from 1 to {most}")
        return cls(
            None if formula is None else str(formula),
            None if atoms is None else int(atoms),
            allowed(options.get("elements"), elements),
            None if group is None else symmetry.number(group),
        )


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


def hooks(adapter: Crystals, frame: Frame, options: Mapping[str, Any]) -> tuple[Hook, ...]:
    """Return what holds crystals to a space group, or to known crystals.

    Args:
        adapter: Adapter of the model.
        frame: Frame of the batch.
        options: The wishes with which the frame was made.
    """
    if "template" in frame.condition:
        from .templates import Templates

        return (Templates.of(options["like"]).hook(adapter, frame),)
    if "symmetry" not in frame.condition:
        return ()
    from .symmetric import Symmetric

    return (Symmetric.of(adapter.process, adapter.cells.standard, frame.condition),)


__all__ = ["OPTIONS", "Wishes", "allowed", "contents", "hooks"]
