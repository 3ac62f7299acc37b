"""Hooks into the sampling loop."""

from .base import Hook
from .inpaint import Inpaint

__all__ = ["Hook", "Inpaint"]
