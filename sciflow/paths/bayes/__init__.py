"""Bayesian flows: paths whose state is a belief about the data, sharpened by noisy observations."""

from .additive import AdditiveBayes
from .categorical import CategoricalBayes
from .gaussian import GaussianBayes
from .planar import VonMisesBayes, belief, certainty
from .stepwise import VonMisesSteps

__all__ = [
    "AdditiveBayes",
    "CategoricalBayes",
    "GaussianBayes",
    "VonMisesBayes",
    "VonMisesSteps",
    "belief",
    "certainty",
]
