"""Labels: the kinds of nodes (or of edges) that a set of graphs knows.

A kind is a combination of values of categorical attributes, found in the data: with ``element`` and ``charge`` on each
node, ("N", 1) is one kind. Graphs without attributes have one kind of node and one kind of edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sciflow.errors import expected, unknown

MOST = 1000
"""More kinds than this are no categories."""

Value = str | int | bool


@dataclass(frozen=True)
class Labels:
    """The kinds.

    Args:
        keys: Names of the attributes; none where there is one kind alone.
        values: The kinds, each with one value per attribute.
    """

    keys: tuple[str, ...] = ()
    values: tuple[tuple[Value, ...], ...] = ((),)

    def __post_init__(self) -> None:
        if not self.values or any(len(v) != len(self.keys) for v in self.values):
            raise expected("kinds", self.values, f"values of {', '.join(self.keys) or 'nothing'}")

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _index(self) -> dict[tuple[Value, ...], int]:
        return {value: k for k, value in enumerate(self.values)}

    @classmethod
    def of(
        cls, what: str, rows: Iterable[Mapping[str, Any]], keys: Sequence[str] | None = None
    ) -> Labels:
        """Find the kinds in the attributes of all nodes (or edges) of the data.

        Args:
            what: ``"node"`` or ``"edge"``, for messages.
            rows: The attributes of each.
            keys: Attributes to use; None takes all that there are.

        Raises:
            SciflowError: An attribute is missing somewhere, or is no category.
        """
        rows = list(rows)
        names = sorted({key for row in rows for key in row}) if keys is None else list(keys)
        found: set[tuple[Value, ...]] = set()
        for row in rows:
            found.add(_values(what, row, names))
        if len(found) > MOST:
            raise expected(
                f"{what} attributes {', '.join(names)}",
                f"{len(found)} different values",
                f"categories, {MOST} at most",
                f"name those to learn in data.{what}_attributes",
            )
        if not names or not found:
            return cls()
        return cls(
            tuple(names), tuple(sorted(found, key=lambda v: [(str(type(x)), x) for x in v]))
        )

    def label(self, attributes: Mapping[str, Any]) -> int | None:
        """Number of the kind with these attributes, or None if there is none; others are not looked at."""
        try:
            return self._index.get(tuple(plain(attributes[key]) for key in self.keys))
        except (KeyError, TypeError):
            return None

    def attributes(self, label: int) -> dict[str, Value]:
        """Attributes of a kind."""
        return dict(zip(self.keys, self.values[label], strict=True))

    def config(self) -> dict[str, Any]:
        """The kinds as plain data."""
        return {"keys": list(self.keys), "values": [list(value) for value in self.values]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Labels:
        """Make again what `config` described."""
        for name in config:
            if name not in ("keys", "values"):
                raise unknown("kinds", name, ("keys", "values"))
        return cls(tuple(config["keys"]), tuple(tuple(value) for value in config["values"]))


def plain(value: Any) -> Value:
    """Return a categorical value as a plain one: whole floats and numpy's numbers become int.

    Raises:
        TypeError: It is no category.
    """
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise TypeError(f"{value!r} is no category")
    return value


def _values(what: str, row: Mapping[str, Any], names: Sequence[str]) -> tuple[Value, ...]:
    values = []
    for name in names:
        if name not in row:
            raise expected(
                f"{what} attribute {name!r}",
                "nothing on some of them",
                f"a value on every {what}",
                f"name those to learn in data.{what}_attributes",
            )
        try:
            values.append(plain(row[name]))
        except (TypeError, ValueError, RuntimeError):
            raise expected(
                f"{what} attribute {name!r}",
                row[name],
                "a category: a text or a whole number",
                f"name those to learn in data.{what}_attributes",
            ) from None
    return tuple(values)


__all__ = ["MOST", "Labels", "Value", "plain"]
