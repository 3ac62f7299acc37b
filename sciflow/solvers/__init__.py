"""Solvers: how a state goes from noise to data."""

from collections.abc import Mapping
from typing import Any

from ..errors import unknown
from .adams import Adams
from .adaptive import Dopri5, Work
from .ancestral import Ancestral
from .base import Predict, Solver, Step
from .compiled import Compiled
from .corrector import Langevin, PredictorCorrector
from .exponential import DDIM, DPMSolverPP, DPMSolverPP2M, DPMSolverSDE
from .ode import Euler, Heun, Midpoint
from .renewal import BayesianUpdate, Renewal
from .runge_kutta import RK4, Heun3
from .s4 import S4
from .sde import EulerMaruyama, ReverseDiffusion
from .singlestep import DPMSolver
from .unipc import UniPC

SOLVERS: dict[str, type[Solver]] = {
    "ancestral": Ancestral,
    "bayesian-update": BayesianUpdate,
    "renewal": Renewal,
    "euler": Euler,
    "midpoint": Midpoint,
    "heun": Heun,
    "heun3": Heun3,
    "rk4": RK4,
    "dopri5": Dopri5,
    "ddim": DDIM,
    "dpm-solver": DPMSolver,
    "dpm++": DPMSolverPP,
    "dpm++2m": DPMSolverPP2M,
    "unipc": UniPC,
    "adams": Adams,
    "dpm++sde": DPMSolverSDE,
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
    "DDIM",
    "RK4",
    "S4",
    "SOLVERS",
    "Ancestral",
    "BayesianUpdate",
    "Compiled",
    "DPMSolver",
    "DPMSolverPP",
    "DPMSolverPP2M",
    "DPMSolverSDE",
    "Dopri5",
    "Euler",
    "EulerMaruyama",
    "Heun",
    "Heun3",
    "Langevin",
    "Midpoint",
    "Predict",
    "PredictorCorrector",
    "Renewal",
    "ReverseDiffusion",
    "Solver",
    "Step",
    "UniPC",
    "Work",
    "make",
]
