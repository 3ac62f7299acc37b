"""Paths from noise to data: Gaussian and jumps."""

from collections.abc import Mapping
from typing import Any

from ..errors import expected, unknown
from .base import Ends, Path
from .gaussian import EDM, OU, VE, VP, Coefficients, Cosine, GaussianPath, Linear, SubVP
from .jump import Jump, marginal, mask, uniform

GAUSSIAN = {
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "ou": OU,
    "cosine": Cosine,
    "linear": Linear,
}
JUMPS = ("marginal", "mask", "uniform")


def make(name: str, frequencies: tuple[float, ...], options: Mapping[str, Any]) -> Path:
    """Make a path by name: what configurations say.

    Args:
        name: One of `GAUSSIAN` or `JUMPS`.
        frequencies: Class frequencies of the data, used by ``marginal`` (and their number by the other jumps).
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
    if name not in GAUSSIAN:
        raise unknown("path", name, (*GAUSSIAN, *JUMPS))
    path = GAUSSIAN[name]
    for option in options:
        if option not in path.__dataclass_fields__:
            raise unknown(f"option of path {name}", option, path.__dataclass_fields__)
    return path(**options)


__all__ = [
    "EDM",
    "GAUSSIAN",
    "JUMPS",
    "OU",
    "VE",
    "VP",
    "Coefficients",
    "Cosine",
    "Ends",
    "GaussianPath",
    "Jump",
    "Linear",
    "Path",
    "SubVP",
    "make",
    "marginal",
    "mask",
    "uniform",
]
