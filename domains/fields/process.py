"""Processes on wavelet coefficients: one word (or table) of a configuration to a system of bands.

Each tensor of the codec is a component of the system in Euclidean space: ``bands`` for the stacked packing, ``coarse``
and ``detail<level>`` for the pyramid, normalised to unit deviation. Any path of the core that moves numbers will do:

| path | prediction | starts from |
|---|---|---|
| Gaussian paths, PFGM++, Gaussian Bayesian flows | ``edm``: unit variance in and out at every noise level | noise |
| ``interpolant`` | ``data`` | the persistence forecast: the initial state at all times |

WDNO's own process is ``{path = "vp", kind = "noise"}``.

Reference: WDNO (Hu et al., ICLR 2025), section 3; Karras et al., arXiv:2206.00364, equation 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sciflow import paths
from sciflow.errors import SciflowError, expected, unknown
from sciflow.spaces import Euclidean
from sciflow.system import Component, System

DEFAULT = "cosine"
SOURCE = "source."
"""Prefix of the condition that holds the persistence forecast of a component."""
_SETTINGS = ("kind", "weight", "measure")


@dataclass(frozen=True)
class Process:
    """How coefficients go from noise to data.

    Args:
        paths: For each component a table with ``path``, its options, and ``kind``, ``weight``, ``measure`` where they
            are set.
    """

    paths: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, choice: str | Mapping[str, Any], names: Sequence[str]) -> Process:
        """Read the ``process`` of a configuration.

        Args:
            choice: Name of a path for all components, or a table with ``path`` and its options, or a table with one
                such table for each component.
            names: Names of the components.

        Raises:
            SciflowError: A path, an option or a component is unknown, or the path does not move numbers.
        """
        table: dict[str, Any] = {"path": choice} if isinstance(choice, str) else dict(choice)
        if set(table) != set(names):
            for name in table:
                if name in names:
                    raise expected("process", sorted(table), f"a table for each of {list(names)}")
            table = dict.fromkeys(names, table)
        for name, options in table.items():
            if not isinstance(options, Mapping) or "path" not in options:
                raise expected(f"process of {name}", options, "a table with 'path'")
            if options["path"] in paths.JUMPS:
                known = [*paths.GAUSSIAN, *paths.FLOWS, "gaussian-bayes"]
                raise unknown("path of fields", str(options["path"]), known)
        process = cls({name: dict(options) for name, options in table.items()})
        process.system()
        return process

    def config(self) -> dict[str, Any]:
        """The table from which `of` makes the process again."""
        return {name: dict(options) for name, options in self.paths.items()}

    def path(self, name: str) -> paths.Path:
        """Path of a component."""
        options = {k: v for k, v in self.paths[name].items() if k not in _SETTINGS}
        return paths.make(options.pop("path"), (), options)

    def source(self, name: str) -> str:
        """Name of the condition that a component starts from; nothing where it starts from noise."""
        return SOURCE + name if isinstance(self.path(name), paths.Interpolant) else ""

    def system(self) -> System:
        """The system of the process."""
        return System({name: self._component(name) for name in self.paths})

    def _component(self, name: str) -> Component:
        path, options = self.path(name), self.paths[name]
        gaussian = isinstance(path, paths.GaussianPath)
        settings = {k: options[k] for k in _SETTINGS if k in options}
        settings.setdefault("kind", "edm" if gaussian else "data")
        if settings["kind"] == "logits":
            raise expected("kind", "logits", "a kind for numbers", "set kind = 'edm'")
        try:
            return Component(Euclidean(), path, **settings, source=self.source(name))
        except TypeError as error:
            raise SciflowError(f"process of {name}: {error}") from None


__all__ = ["DEFAULT", "SOURCE", "Process"]
