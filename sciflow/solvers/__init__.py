"""Solvers: how a state goes from noise to data."""

from collections.abc import Mapping
from typing import Any

from ..errors import unknown
from .ancestral import Ancestral
from .base import Predict, Solver, Step
from .corrector import Langevin, PredictorCorrector
from .exponential import DPMSolverPP2M
from .ode import Euler, Heun, Midpoint
from .s4 import S4
from .sde import EulerMaruyama, ReverseDiffusion

SOLVERS: dict[str, type[Solver]] = {
    "ancestral": Ancestral,
    "euler": Euler,
    "midpoint": Midpoint,
    "heun": Heun,
    "dpm++2m": DPMSolverPP2M,
    "euler-maruyama": EulerMaruyama,
    "reverse-diffusion": ReverseDiffusion,
    "predictor-corrector": PredictorCorrector,
    "s4": S4,
}


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


__all__ = [
    "S4",
    "SOLVERS",
    "Ancestral",
    "DPMSolverPP2M",
    "Euler",
    "EulerMaruyama",
    "Heun",
    "Langevin",
    "Midpoint",
    "Predict",
    "PredictorCorrector",
    "ReverseDiffusion",
    "Solver",
    "Step",
    "make",
]
