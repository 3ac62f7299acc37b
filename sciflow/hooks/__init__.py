"""Hooks into the sampling loop."""

from .base import Hook
from .guidance import Autoguidance, Guidance
from .inpaint import Inpaint

__all__ = ["Autoguidance", "Guidance", "Hook", "Inpaint"]
