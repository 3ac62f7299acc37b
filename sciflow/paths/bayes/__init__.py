"""Bayesian flows: paths whose state is a belief about the data, sharpened by noisy observations."""

from .additive import AdditiveBayes
from .categorical import CategoricalBayes
from .gaussian import GaussianBayes
from .planar import VonMisesBayes, belief, certainty

__all__ = [
    "AdditiveBayes",
    "CategoricalBayes",
    "GaussianBayes",
    "VonMisesBayes",
    "belief",
    "certainty",
]
