"""Networks on crystals."""

from .periodic import Periodic

__all__ = ["Periodic"]
