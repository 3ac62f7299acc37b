r"""Stability: energies of formation, the convex hull, and the two things that are called S.U.N.

**Energy of formation.** e_f = e - sum_x x_e mu_e, in eV per site, with the shares x of the elements and energies mu of
their reference states on the calculator's own scale. The mu are fitted by least squares to crystals whose energy of
formation is known (`References.fit`): that takes up a constant per element, in which the calculator may differ.

**Hull.** The lowest energy that a mixture of known phases reaches at a composition,

    hull(x) = min_w sum_k w_k h_k    with  sum_k w_k x_k = x,  w >= 0,

over the elements (h = 0) and the points h_k = e_f - e_above_hull of a data set. Such a point lies on the hull of the
whole Materials Project, at the composition of an entry, even where the phases that span the hull there are not among
the data. Between the points of the data the hull may lie above that of all phases, never below it: with a part of them,
energies above the hull come out too low. So the number of points belongs to every figure.

**S.U.N.** Stable, unique, novel, over all that was generated, taken of the relaxed structures:

    sun_mattergen    e - hull <= .1 eV per site, unique, novel (Zeni et al., arXiv:2312.03687)
    sun_zero         e - hull <= 0 (FlowMM, CrystalDiT, LeMat-GenBench); the same at .1 is called MSUN there

They are different quantities, and so are those by DFT and by a potential: never set one beside the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sciflow import checkpoint
from sciflow.errors import SciflowError, expected, need

from . import datasets, duplicates, elements, relaxation
from .crystal import Crystal

MATTERGEN = 0.1
"""Energy above the hull in eV per site up to which MatterGen calls a crystal stable."""


@dataclass(frozen=True)
class References:
    """Energies of the elements on the scale of a calculator.

    Args:
        energies: mu in eV per site, by atomic number.
        error: Mean absolute error in eV per site of the fitted energies of formation, NaN if they were not fitted.
        over: Number of crystals fitted to.
    """

    energies: Mapping[int, float]
    error: float = math.nan
    over: int = 0

    @classmethod
    def fit(
        cls,
        crystals: Sequence[Crystal],
        formation: Sequence[float],
        energies: Sequence[float],
    ) -> References:
        """Fit to crystals of known energy of formation; those with a NaN are left out.

        Args:
            crystals: The crystals, relaxed.
            formation: Their energies of formation in eV per site.
            energies: Those of the calculator in eV per site.

        Raises:
            SciflowError: There are fewer crystals than elements.
        """
        rows = [
            (c.composition, e - f)
            for c, f, e in zip(crystals, formation, energies, strict=True)
            if math.isfinite(f) and math.isfinite(e)
        ]
        kinds = sorted({z for counts, _ in rows for z in counts})
        if len(rows) < max(2, len(kinds)):
            raise expected("crystals to fit", len(rows), f"at least one for each of {len(kinds)}")
        x = np.array([[c.get(z, 0) / sum(c.values()) for z in kinds] for c, _ in rows])
        y = np.array([value for _, value in rows])
        mean = y.mean()
        # A pull of a hundredth of a crystal, for elements that always come together.
        normal = x.T @ x + 0.01 * np.eye(len(kinds))
        mu = mean + np.linalg.solve(normal, x.T @ (y - mean))
        found = dict(zip(kinds, mu.tolist(), strict=True))
        return cls(found, float(np.abs(x @ mu - y).mean()), len(rows))

    def formation(self, crystal: Crystal, energy: float) -> float:
        """Return the energy of formation in eV per site; NaN for an element without a reference."""
        counts = crystal.composition
        if any(z not in self.energies for z in counts):
            return math.nan
        return energy - sum(n * self.energies[z] for z, n in counts.items()) / len(crystal)

    def save(self, path: str | Path) -> None:
        """Write a JSON file."""
        named = {elements.symbol(z): value for z, value in self.energies.items()}
        content = {**asdict(self), "energies": named}
        checkpoint.write_text(Path(path), json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> References:
        """Read what `save` wrote.

        Raises:
            SciflowError: The file is missing or of another kind.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            named = {elements.atomic_number(k): float(v) for k, v in content["energies"].items()}
            return cls(named, float(content["error"]), int(content["over"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise expected(str(path), str(error), "a file of reference energies") from None


@dataclass(frozen=True, eq=False)
class Hull:
    """The convex hull of known phases; see the module.

    Args:
        points: (composition in shares by atomic number, energy of formation in eV per site).
    """

    points: Sequence[tuple[Mapping[int, float], float]]

    @classmethod
    def of(
        cls, crystals: Sequence[Crystal], formation: Sequence[float], above: Sequence[float]
    ) -> Hull:
        """Make the hull of a data set; entries with a NaN are left out.

        Args:
            crystals: Its crystals.
            formation: Their energies of formation in eV per site.
            above: Their energies above the hull of everything, in eV per site; 0 takes each as a point of its own.
        """
        lowest: dict[tuple[tuple[int, int], ...], float] = {}
        for crystal, f, a in zip(crystals, formation, above, strict=True):
            if math.isfinite(f) and math.isfinite(a):
                key = tuple(elements.reduced(crystal.composition).items())
                lowest[key] = min(lowest.get(key, math.inf), f - a)
        points = []
        for key, energy in lowest.items():
            total = sum(n for _, n in key)
            if len(key) > 1:
                points.append(({z: n / total for z, n in key}, energy))
        return cls(points)

    @classmethod
    def of_data(cls, *names: str) -> Hull:
        """Make the hull of data sets by name, such as ``mp20:train`` (columns of the Materials Project).

        Raises:
            SciflowError: A file is missing, or has no energies.
        """
        crystals: list[Crystal] = []
        formation: list[float] = []
        above: list[float] = []
        for name in names:
            table = datasets.table(name)
            for column in ("formation_energy_per_atom", "e_above_hull"):
                if column not in table.properties:
                    raise expected(f"columns of {name}", list(table.properties), column)
            crystals += table.crystals
            formation += table.properties["formation_energy_per_atom"]
            above += table.properties["e_above_hull"]
        return cls.of(crystals, formation, above)

    def __len__(self) -> int:
        return len(self.points)

    def at(self, composition: Mapping[int, int]) -> float:
        """Return the energy of the hull in eV per site at a composition (numbers of atoms)."""
        optimize = need("scipy.optimize", "crystals")
        total = sum(composition.values())
        kinds = sorted(composition)
        own = [(x, e) for x, e in self.points if all(z in composition for z in x)]
        # The elements lie at 0, so the equation always has a solution.
        x = np.zeros((len(kinds), len(own) + len(kinds)))
        for k, (shares, _) in enumerate(own):
            for z, share in shares.items():
                x[kinds.index(z), k] = share
        x[:, len(own) :] = np.eye(len(kinds))
        energy = np.array([e for _, e in own] + [0.0] * len(kinds))
        wanted = np.array([composition[z] / total for z in kinds])
        found = optimize.linprog(energy, A_eq=x, b_eq=wanted, method="highs")
        if not found.success:
            raise SciflowError(f"hull of {elements.formula(dict(composition))}: {found.message}")
        return float(found.fun)

    def above(self, composition: Mapping[int, int], formation: float) -> float:
        """Return the energy above the hull in eV per site; negative where a crystal would lower it."""
        return formation - self.at(composition) if math.isfinite(formation) else math.nan


@dataclass(frozen=True)
class Row:
    """The stability of one generated crystal.

    Attributes:
        formula: Formula in lowest terms.
        relaxed: Whether the relaxation converged.
        formation: Energy of formation in eV per site after relaxation; None if there is none.
        above_hull: Energy above the hull in eV per site; None if there is none.
        moved: Root mean square displacement by the relaxation over (V / N)^(1/3); None where the relaxed crystal is
            another one by the loose tolerances.
        unique: The first of its kind among those that relaxed.
        novel: Not in the training set; None without one.
        problem: What is wrong.
    """

    formula: str
    relaxed: bool
    formation: float | None
    above_hull: float | None
    moved: float | None
    unique: bool
    novel: bool | None
    problem: str


@dataclass(frozen=True)
class Stability:
    """The stability of a set of crystals.

    Attributes:
        table: One row per crystal.
        figures: Shares of all that were generated, by name, and mean values; see the module.
        crystals: The relaxed crystals.
    """

    table: list[Row]
    figures: dict[str, float | None]
    crystals: list[Crystal] = field(default_factory=list, repr=False)

    def to_text(self) -> str:
        """Return the figures as lines of text."""
        shown = {k: "-" if v is None else f"{v:.4g}" for k, v in self.figures.items()}
        return "\n".join(f"{name:28}{value:>10}" for name, value in shown.items())


def evaluate(
    things: Sequence[Any],
    hull: Hull,
    references: References,
    train: Sequence[Any] | None = None,
    calculator: Any = None,
    *,
    steps: int = relaxation.STEPS,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Stability:
    """Relax crystals and measure their stability.

    Args:
        things: Crystals, as generated.
        hull: What they are measured against.
        references: Energies of the elements on the scale of the calculator.
        train: Training set, for novelty.
        calculator: An ASE calculator; None takes CHGNet.
        steps: Most steps of each relaxation.
        workers: Processes for comparing crystals.
        progress: Told how far it is.
    """
    from . import alignment

    made = [Crystal.of(thing) for thing in things]
    relaxed = relaxation.relax_all(made, calculator, steps=steps, progress=progress)
    ended = [result.crystal for result in relaxed]
    good = [k for k, result in enumerate(relaxed) if math.isfinite(result.energy)]
    unique = dict(zip(good, duplicates.unique([ended[k] for k in good], workers), strict=True))
    firsts = [k for k in good if unique[k]]
    seen: dict[int, bool] = {}
    if train is not None:
        known = duplicates.known(
            [ended[k] for k in firsts], [Crystal.of(thing) for thing in train], workers
        )
        seen = dict(zip(firsts, known, strict=True))
    table = []
    for k, (before, result) in enumerate(zip(made, relaxed, strict=True)):
        formation = above = moved = None
        if k in unique:
            value = references.formation(result.crystal, result.energy)
            if math.isfinite(value):
                formation, above = value, hull.above(result.crystal.composition, value)
            pair = duplicates.reduced(before), duplicates.reduced(result.crystal)
            if pair[0] is not None and pair[1] is not None:
                moved = alignment.displacement(pair[0], pair[1])
        novel = None if train is None else k in seen and not seen[k]
        known_all = result.problem or ("" if formation is not None else "no reference energy")
        table.append(
            Row(
                before.formula if not result.problem.startswith("unknown") else "",
                result.converged,
                formation,
                above,
                moved,
                unique.get(k, False),
                novel,
                known_all,
            )
        )
    return Stability(table, _figures(table, train is not None), ended)


def _figures(table: list[Row], trained: bool) -> dict[str, float | None]:
    n = len(table)

    def share(test: Callable[[Row], bool]) -> float | None:
        return sum(map(test, table)) / n if n else None

    def below(limit: float) -> Callable[[Row], bool]:
        return lambda row: row.above_hull is not None and row.above_hull <= limit

    def mean(values: list[float]) -> float | None:
        return float(np.mean(values)) if values else None

    figures: dict[str, float | None] = {
        "generated": float(n),
        "relaxed": share(lambda row: row.relaxed),
        "unique": share(lambda row: row.unique),
        "stable_0.1": share(below(MATTERGEN)),
        "stable_0": share(below(0.0)),
    }
    if trained:
        new = [row.unique and bool(row.novel) for row in table]
        figures["novel"] = share(lambda row: row.unique and bool(row.novel))
        for name, limit in (("sun_mattergen", MATTERGEN), ("sun_zero", 0.0)):
            both = [ok and below(limit)(row) for ok, row in zip(new, table, strict=True)]
            figures[name] = sum(both) / n if n else None
    figures["above_hull"] = mean([r.above_hull for r in table if r.above_hull is not None])
    figures["moved"] = mean([r.moved for r in table if r.moved is not None])
    return figures


__all__ = ["MATTERGEN", "Hull", "References", "Row", "Stability", "evaluate"]
