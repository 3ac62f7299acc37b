"""Hooks into the sampling loop, and two relatives of it: other paths for a trained network, edits of samples."""

from .base import Hook
from .candidates import Candidates, Rollover
from .conversion import convert
from .edit import edit
from .guidance import Autoguidance, Guidance
from .inpaint import Inpaint
from .inverse import Observe, Tilt
from .particles import Particles
from .start import GaussianStart, Moments
from .steer import Steer

__all__ = [
    "Autoguidance",
    "Candidates",
    "GaussianStart",
    "Guidance",
    "Hook",
    "Inpaint",
    "Moments",
    "Observe",
    "Particles",
    "Rollover",
    "Steer",
    "Tilt",
    "convert",
    "edit",
]
