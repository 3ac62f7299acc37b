"""Solvers: how a state goes from noise to data."""

from collections.abc import Mapping
from typing import Any

from ..errors import unknown
from .ancestral import Ancestral
from .base import Predict, Solver, Step

SOLVERS: dict[str, type[Solver]] = {"ancestral": Ancestral}


def make(choice: str | Mapping[str, Any]) -> Solver:
    """Make a solver from its name, or from a table with ``name`` and options.

    Raises:
        SciflowError: The name or an option is unknown.
    """
    options = {"name": choice} if isinstance(choice, str) else dict(choice)
    name = options.pop("name", "")
    if name not in SOLVERS:
        raise unknown("solver", name, SOLVERS)
    fields = SOLVERS[name].__dataclass_fields__  # type: ignore[attr-defined]
    for option in options:
        if option not in fields:
            raise unknown(f"option of solver {name}", option, fields)
    return SOLVERS[name](**options)


__all__ = ["SOLVERS", "Ancestral", "Predict", "Solver", "Step", "make"]
