"""Diagnostics: what a trained model and a solver are worth, as numbers."""

from .convergence import Order, order_of_convergence
from .scores import (
    Asymmetry,
    Loop,
    Residual,
    fokker_planck_residual,
    jacobian_asymmetry,
    loop_integral,
    score,
)
from .transport import Energy, Transport, kinetic_energy, straightness

__all__ = [
    "Asymmetry",
    "Energy",
    "Loop",
    "Order",
    "Residual",
    "Transport",
    "fokker_planck_residual",
    "jacobian_asymmetry",
    "kinetic_energy",
    "loop_integral",
    "order_of_convergence",
    "score",
    "straightness",
]
