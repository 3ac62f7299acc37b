"""Hooks into the sampling loop."""

from .base import Hook

__all__ = ["Hook"]
