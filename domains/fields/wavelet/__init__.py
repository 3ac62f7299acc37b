"""Wavelet codec: separable transforms of space-time boxes, their bands, and the normalisation measured from data."""

from .codec import BandStatistics, Codec
from .filters import MODES, bank
from .transform import Axis, Transform

__all__ = ["MODES", "Axis", "BandStatistics", "Codec", "Transform", "bank"]
