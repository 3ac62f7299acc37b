"""Paths from noise to data: Gaussian, other flows, Bayesian flows and jumps."""

from collections.abc import Mapping
from typing import Any

from ..errors import expected, unknown
from .base import Ends, Path
from .bayes import CategoricalBayes, GaussianBayes, VonMisesBayes, VonMisesSteps
from .gaussian import EDM, OU, VE, VP, Coefficients, Cosine, GaussianPath, Linear, SubVP
from .interpolant import Interpolant, OneSided
from .jump import Jump, marginal, mask, uniform
from .optimal import KineticOptimal
from .poisson import PFGM

GAUSSIAN = {
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "ou": OU,
    "cosine": Cosine,
    "linear": Linear,
    "kinetic-optimal": KineticOptimal,
    "one-sided": OneSided,
}
FLOWS: dict[str, type[Path]] = {"pfgm++": PFGM, "interpolant": Interpolant}
"""Paths of the flow alone: without a Gaussian posterior, from other noise or from another data set."""
BAYES: dict[str, type[Path]] = {
    "gaussian-bayes": GaussianBayes,
    "categorical-bayes": CategoricalBayes,
    "von-mises-bayes": VonMisesBayes,
    "von-mises-steps": VonMisesSteps,
}
JUMPS = ("marginal", "mask", "uniform")


def names() -> tuple[str, ...]:
    """Names that `make` knows."""
    return (*GAUSSIAN, *FLOWS, *BAYES, *JUMPS)


def make(name: str, frequencies: tuple[float, ...], options: Mapping[str, Any]) -> Path:
    """Make a path by name: what configurations say.

    Args:
        name: One of `GAUSSIAN`, `FLOWS`, `BAYES` or `JUMPS`.
        frequencies: Class frequencies of the data, used by ``marginal`` (and their number by the other paths of
            labels).
        options: Arguments of the path, e.g. ``beta_max``.

    Raises:
        SciflowError: The name or an option is unknown.
    """
    if name in JUMPS:
        if options:
            raise expected(f"options of path {name}", dict(options), "none")
        if name == "marginal":
            return marginal(frequencies)
        return (mask if name == "mask" else uniform)(len(frequencies))
    paths: dict[str, Any] = {**GAUSSIAN, **FLOWS, **BAYES}
    if name not in paths:
        raise unknown("path", name, (*paths, *JUMPS))
    path, given = paths[name], dict(options)
    for option in given:
        if option not in path.__dataclass_fields__:
            raise unknown(f"option of path {name}", option, path.__dataclass_fields__)
    if "classes" in path.__dataclass_fields__:
        given.setdefault("classes", len(frequencies))
    return path(**given)


__all__ = [
    "BAYES",
    "EDM",
    "FLOWS",
    "GAUSSIAN",
    "JUMPS",
    "OU",
    "PFGM",
    "VE",
    "VP",
    "CategoricalBayes",
    "Coefficients",
    "Cosine",
    "Ends",
    "GaussianBayes",
    "GaussianPath",
    "Interpolant",
    "Jump",
    "KineticOptimal",
    "Linear",
    "OneSided",
    "Path",
    "SubVP",
    "VonMisesBayes",
    "VonMisesSteps",
    "make",
    "marginal",
    "mask",
    "names",
    "uniform",
]
