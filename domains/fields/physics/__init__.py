"""Physics: batched solvers of partial differential equations in torch, and the laws their data are drawn from."""

from .base import Equation, Variable
from .burgers import Burgers

EQUATIONS: dict[str, type[Equation]] = {"burgers": Burgers}
"""Equations by name."""

__all__ = ["EQUATIONS", "Burgers", "Equation", "Variable"]
