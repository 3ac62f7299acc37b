"""Templates: known crystals of the nearest compositions, the asked elements in their place.

Related crystals that are known say more than a small model does: on MP-20, substitution into the nearest composition
finds twice as many structures as an hour of training. So samples begin with the templates: number i is
the i-th nearest crystal of the file that has a cell of as many sites and differs from those before it, its elements
replaced and its volume scaled (see `baselines.Substitution`); all further ones are the model's own.

A template is held up to the end. To let the flow go on from it at a time t < 1 (`Inpaint.until`) was measured, and made
it worse at every t (`benchmarks/crystals_like.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciflow.errors import SciflowError, expected
from sciflow.hooks import Inpaint
from sciflow.state import Frame

from . import elements, validity
from .baselines import Substitution
from .crystal import Crystal

if TYPE_CHECKING:
    from .adapter import Crystals

NEAREST = 40
"""Number of the nearest crystals among which different ones are looked for."""


@dataclass(frozen=True, eq=False)
class Templates:
    """Known crystals.

    Args:
        substitution: How their elements are replaced.
        source: Where they are from, in words.
    """

    substitution: Substitution
    source: str
    _made: dict[tuple[tuple[int, int], ...], list[Crystal]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def of(cls, like: Any) -> Templates:
        """Make templates.

        Args:
            like: A file or folder of crystals, the name of a data set, or crystals of any kind that `Crystal.of`
                takes.

        Raises:
            SciflowError: Nothing can be read, or a thing is no crystal.
        """
        if isinstance(like, Templates):
            return like
        if isinstance(like, str | Path):
            path = Path(like)
            return _read(str(like), path.stat().st_mtime_ns if path.exists() else 0)
        try:
            things = list(like)
        except TypeError:
            raise expected("like", type(like).__name__, "a file or a list of crystals") from None
        if not things:
            raise expected("like", "no crystals", "at least one")
        crystals = []
        for number, thing in enumerate(things, 1):
            try:
                crystals.append(Crystal.of(thing))
                problem = validity.problem(crystals[-1])
            except SciflowError as error:
                problem = str(error)
            if problem:
                raise expected(f"like: crystal {number}", problem, "a valid structure")
        return cls(Substitution(crystals), f"{len(crystals)} crystals")

    def __str__(self) -> str:
        return self.source

    def candidates(self, composition: str | Mapping[int, int]) -> list[Crystal]:
        """Return different crystals of a composition, that of the nearest template first.

        Args:
            composition: Contents of the cell: a formula, or numbers of atoms by atomic number.

        Raises:
            SciflowError: No template has as many atoms of as many elements.
        """
        if isinstance(composition, str):
            composition = elements.parse(composition)
        key = tuple(sorted(composition.items()))
        if key not in self._made:
            self._made[key] = self._different(composition)
        if not self._made[key]:
            counts = ":".join(map(str, sorted(elements.reduced(composition).values())))
            raise expected(
                f"like {self.source}",
                f"no crystal of {len(key)} elements in the ratio {counts} in a cell of "
                f"{sum(composition.values())} sites",
                f"one, to put the elements of {elements.formula(composition)} into",
                "leave like out, or ask for another number of atoms",
            )
        return self._made[key]

    def _different(self, composition: Mapping[int, int]) -> list[Crystal]:
        from .prediction import grouped

        found = self.substitution.nearest(composition, NEAREST, same_size=True)
        return [group[0] for group in grouped([c for c in found if not validity.problem(c)])]

    def hook(self, adapter: Crystals, frame: Frame) -> Inpaint:
        """Return what holds samples to the templates, as far as there are any.

        Args:
            adapter: Adapter of the model.
            frame: Frame of the batch, all of one composition; its condition has the numbers of the samples as
                ``template``.

        Raises:
            SciflowError: No template fits.
        """
        labels, sites = frame.condition["species"][0], frame.condition["ranks"][0] > 0
        species = [adapter.numbers[label] for label in labels[sites].tolist()]
        made = self.candidates(elements.composition(species))
        numbers = frame.condition["template"].cpu()
        clean = adapter.encode([made[min(k, len(made) - 1)] for k in numbers.tolist()])
        held = numbers < len(made)
        return Inpaint(clean, dict.fromkeys(adapter.system(), held))


@lru_cache(maxsize=4)
def _read(path: str, changed: int) -> Templates:
    from . import datasets, files

    read = datasets.read(path) if datasets.is_name(path) else files.read(path)
    if read.skipped:
        row, text, reason = read.skipped[0]
        total = len(read.skipped) + len(read.objects)
        warnings.warn(
            f"like {path}: {len(read.skipped)} of {total} crystals are left out; number {row}, {text!r}: {reason}",
            stacklevel=2,
        )
    return Templates(Substitution(read.objects), path)


__all__ = ["NEAREST", "Templates"]
