"""Physics: batched solvers of partial differential equations in torch, and the laws their data are drawn from."""

from .advection import Advection
from .base import Equation, Variable
from .burgers import Burgers
from .compressible import Compressible
from .incompressible import Incompressible
from .kuramoto import KuramotoSivashinsky

EQUATIONS: dict[str, type[Equation]] = {
    equation.name: equation
    for equation in (Advection, Burgers, Compressible, Incompressible, KuramotoSivashinsky)
}
"""Equations by name."""

__all__ = [
    "EQUATIONS",
    "Advection",
    "Burgers",
    "Compressible",
    "Equation",
    "Incompressible",
    "KuramotoSivashinsky",
    "Variable",
]
