"""Fields: trajectories of partial differential equations in wavelet coefficients.

Simulation, probabilistic forecasts from an initial state, a force and parameters, and their control.
"""

from pathlib import Path

from .adapter import Fields, TrajectoryDataset
from .coding import Coding
from .layout import Layout
from .process import Process

ADAPTER = Fields
CARDS = Path(__file__).parent / "models"

__all__ = ["ADAPTER", "CARDS", "Coding", "Fields", "Layout", "Process", "TrajectoryDataset"]
