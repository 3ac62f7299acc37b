"""The metrics of generated crystals: per crystal and in total, each with its denominator.

n crystals were generated (those of a file that could not be read count among them and fail everything):

    figure               value                                                        taken over
    structure            no two atoms closer than .5 angstrom, volume above .1        n
    composition          charges can balance (`validity`)                             n
    valid                both                                                         n
    unique               first of its kind by pymatgen's matcher (.2, .3, 5)          valid
    novel                of these, none in the training set is the same               unique
    valid_unique_novel   all of it at once                                            n
    density              Wasserstein-1 distance of densities to the reference         valid
    elements             the same of the number of elements in a crystal              valid
    rediscovered         share of the reference that a generated crystal matches      reference
    atoms, volume        mean number of sites; mean volume per site in angstrom^3     structures

Beside a figure stands the reference's own, and beside a distance its *floor*: the same distance for as many training
crystals, drawn at random, in the place of the generated ones. `rediscovered` is METRe at the usual tolerances of
structure prediction. Two distances leave out failures: read them with the share they were taken over. Coverage by
fingerprints (COV-R, COV-P) is saturated for all published models and takes .1 to .3 s per crystal: `coverage` has it
apart, and `stability` what a relaxation says.

Structure prediction, where each crystal has its own target, is judged by `matching.match`.

Reference: Xie et al. (CDVAE), arXiv:2110.06197, section 5.3; Zeni et al. (MatterGen), arXiv:2312.03687.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sciflow.errors import need

from . import distances, duplicates, matching, profile, symmetry, validity
from .crystal import Crystal
from .profile import Histogram

if TYPE_CHECKING:
    import pandas

Progress = Callable[[str, int, int], None]

_COLUMNS = ("formula", "sites", "valid", "unique", "novel", "space_group", "density", "problem")

# Label, kind and which way is better, in the order of the report.
_FIGURES = {
    "structure": ("valid structure", "share", "higher"),
    "composition": ("charges balance", "share", "higher"),
    "valid": ("valid", "share", "higher"),
    "unique": ("unique", "share", "higher"),
    "novel": ("novel", "share", "higher"),
    "valid_unique_novel": ("valid, unique and novel", "share", "higher"),
    "density": ("W1 of density, g/cm3", "distance", "lower"),
    "elements": ("W1 of number of elements", "distance", "lower"),
    "rediscovered": ("reference rediscovered", "share", ""),
    "atoms": ("sites per crystal", "mean", ""),
    "volume": ("volume per site, A3", "mean", ""),
}


@dataclass(frozen=True)
class Row:
    """The metrics of one generated crystal.

    Attributes:
        formula: Formula in lowest terms.
        sites: Number of sites.
        elements: Number of different elements.
        structure: A valid structure.
        composition: Its charges can balance.
        valid: Both.
        unique: The first of its kind among the valid; `False` for a failure.
        novel: No training crystal is the same; `None` without a training set, `False` for a failure.
        space_group: Symbol of the space group within .1 angstrom; empty for a failure.
        system: Crystal system; empty for a failure.
        density: In g/cm^3; `None` for a failure, as for the lattice.
        volume: Volume per site in angstrom^3.
        lengths: a, b, c in angstrom.
        angles: alpha, beta, gamma in degrees.
        problem: What is wrong, in a few words.
    """

    formula: str
    sites: int
    elements: int
    structure: bool
    composition: bool
    valid: bool
    unique: bool
    novel: bool | None
    space_group: str
    system: str
    density: float | None
    volume: float | None
    lengths: tuple[float, ...] | None
    angles: tuple[float, ...] | None
    problem: str


@dataclass(frozen=True)
class Figure:
    """One figure of the whole set.

    Attributes:
        value: The figure; `None` where it cannot be taken, see `note`.
        over: Number of crystals it was taken over (the denominator of a share).
        reference: The same figure of the reference itself.
        floor: For a distance: its value for real crystals in the place of the generated ones.
        note: Why there is no value, or how the floor was taken.
    """

    value: float | None
    over: int
    reference: float | None = None
    floor: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Metrics:
    """All metrics of a set of generated crystals.

    Attributes:
        table: One row per crystal, in the order given.
        figures: The totals, by name; names and denominators stand at the top of the module.
        histograms: Elements, sizes, numbers of elements, crystal systems and densities, beside the reference's.
        generated: Number generated, unreadable ones included.
        unreadable: Number that could not be read.
        reference: Number in the reference; `None` without one.
        train: Number in the training set; `None` without one.
    """

    table: list[Row]
    figures: dict[str, Figure]
    histograms: tuple[Histogram, ...] = field(default=())
    generated: int = 0
    unreadable: int = 0
    reference: int | None = None
    train: int | None = None

    def __getitem__(self, name: str) -> float | None:
        return self.figures[name].value

    def summary(self) -> dict[str, Any]:
        """Return the totals as plain dictionaries, lists and numbers, ready for JSON."""
        figures = {}
        for name, figure in self.figures.items():
            label, kind, better = _FIGURES[name]
            figures[name] = {"label": label, "kind": kind, "better": better, **asdict(figure)}
        return {
            "generated": self.generated,
            "unreadable": self.unreadable,
            "reference": self.reference,
            "train": self.train,
            "columns": list(_COLUMNS),
            "figures": figures,
            "histograms": {h.name: h.summary() for h in self.histograms},
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a data frame."""
        return need("pandas", "crystals").DataFrame([asdict(row) for row in self.table])

    def to_text(self) -> str:
        """Return the totals as an aligned table for a terminal."""
        sets = [f"{self.generated:,} generated"]
        sets += [f"{self.unreadable:,} of them unreadable"] if self.unreadable else []
        sets += [f"reference {self.reference:,}"] if self.reference is not None else []
        sets += [f"training set {self.train:,}"] if self.train is not None else []
        lines = [
            ", ".join(sets),
            "",
            f"{'':28}{'generated':>10}{'reference':>11}{'floor':>9}{'over':>9}",
        ]
        notes: list[str] = []
        for name, figure in self.figures.items():
            label, kind, _ = _FIGURES[name]
            mark = ""
            if figure.note:
                if figure.note not in notes:
                    notes.append(figure.note)
                mark = f"  [{notes.index(figure.note) + 1}]"
            value, own, floor = (
                _written(x, kind) for x in (figure.value, figure.reference, figure.floor)
            )
            lines.append(f"{label:28}{value:>10}{own:>11}{floor:>9}{figure.over:>9,}{mark}")
        lines += [f"[{k}] {note}" for k, note in enumerate(notes, 1)]
        return "\n".join(lines)


def _written(value: float | None, kind: str) -> str:
    if value is None:
        return "-"
    return (
        f"{100 * value:.1f} %"
        if kind == "share"
        else f"{value:.3f}"
        if kind == "distance"
        else f"{value:.2f}"
    )


def evaluate(
    objects: Sequence[Any],
    reference: Sequence[Any] | None = None,
    train: Sequence[Any] | None = None,
    *,
    unreadable: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Metrics:
    """Measure generated crystals.

    Args:
        objects: Crystals, pymatgen structures or ASE atoms, exactly as generated.
        reference: Real crystals to compare with (the held-out set).
        train: Crystals of the training set, for novelty and the floors.
        unreadable: Generated crystals that could not even be read; they count as failures.
        workers: Processes; None is the number of processors this one may use.
        progress: Told about the long stages.

    Returns:
        The metrics; any number of crystals will do, also none.

    Raises:
        SciflowError: A site is partially occupied, or an object is no crystal.
    """
    tell = progress or (lambda stage, done, total: None)
    made = [Crystal.of(thing) for thing in objects]
    known = None if reference is None else [Crystal.of(thing) for thing in reference]
    learnt = None if train is None else [Crystal.of(thing) for thing in train]
    problems = []
    for k, crystal in enumerate(made, 1):
        problems.append(validity.problem(crystal))
        if k % 100 == 0 or k == len(made):
            tell("structures", k, len(made))
    neutral = [_neutral(crystal) for crystal in made]
    good = [
        k
        for k, (problem, ok) in enumerate(zip(problems, neutral, strict=True))
        if ok and not problem
    ]
    tell("uniqueness", 0, len(good))
    first = dict(zip(good, duplicates.unique([made[k] for k in good], workers), strict=True))
    tell("uniqueness", len(good), len(good))
    firsts = [k for k in good if first[k]]
    seen: dict[int, bool] = {}
    if learnt is not None:
        tell("novelty", 0, len(firsts))
        found = duplicates.known([made[k] for k in firsts], learnt, workers)
        seen = dict(zip(firsts, found, strict=True))
        tell("novelty", len(firsts), len(firsts))
    table = []
    for k, crystal in enumerate(made):
        novel = None if learnt is None else k in seen and not seen[k]
        table.append(_row(crystal, problems[k], neutral[k], first.get(k, False), novel))
    figures = _figures(table, len(made) + unreadable, known, learnt)
    valid = [made[k] for k in good]
    figures |= {name: _distance(name, valid, known, learnt) for name in distances.QUANTITIES}
    figures["rediscovered"] = _rediscovered(valid, known, workers)
    structures = [made[k] for k, problem in enumerate(problems) if not problem]
    return Metrics(
        table=table,
        figures={name: figures[name] for name in _FIGURES if name in figures},
        histograms=profile.histograms(
            structures, known, [row.system for row in table if row.system]
        ),
        generated=len(made) + unreadable,
        unreadable=unreadable,
        reference=None if known is None else len(known),
        train=None if learnt is None else len(learnt),
    )


def _neutral(crystal: Crystal) -> bool:
    known = ((crystal.species >= 1) & (crystal.species <= 118)).all()
    return bool(len(crystal) and known and validity.composition(crystal.composition))


def _row(crystal: Crystal, problem: str, neutral: bool, unique: bool, novel: bool | None) -> Row:
    sound = not problem
    group = symmetry.space_group(crystal) if sound else None
    return Row(
        formula="" if problem == "unknown element" else crystal.formula,
        sites=len(crystal),
        elements=len(crystal.composition),
        structure=sound,
        composition=neutral,
        valid=sound and neutral,
        unique=unique,
        novel=novel,
        space_group=group[0] if group else "",
        system=symmetry.system(group[1]) if group else "",
        density=crystal.density if sound else None,
        volume=crystal.volume / len(crystal) if sound else None,
        lengths=tuple(crystal.lengths.tolist()) if sound else None,
        angles=tuple(crystal.angles.tolist()) if sound else None,
        problem=problem or ("" if neutral else "charges do not balance"),
    )


def _share(count: int, over: int, none: str, reference: float | None = None) -> Figure:
    return Figure(count / over if over else None, over, reference, note="" if over else none)


def _figures(
    table: list[Row], n: int, known: list[Crystal] | None, learnt: list[Crystal] | None
) -> dict[str, Figure]:
    """Return the shares and the means."""
    none = "nothing was generated"
    own: dict[str, float] = {}
    if known:
        sound = [not validity.problem(crystal) for crystal in known]
        neutral = [_neutral(crystal) for crystal in known]
        own["structure"], own["composition"] = float(np.mean(sound)), float(np.mean(neutral))
        own["valid"] = float(np.mean(np.logical_and(sound, neutral)))
        own["atoms"] = float(np.mean([len(crystal) for crystal in known]))
        own["volume"] = float(np.mean([crystal.volume / len(crystal) for crystal in known]))
    good, unique = sum(row.valid for row in table), sum(row.unique for row in table)
    sound = [row for row in table if row.structure]
    figures = {
        name: _share(sum(getattr(row, name) for row in table), n, none, own.get(name))
        for name in ("structure", "composition", "valid")
    }
    figures["unique"] = _share(unique, good, "no valid crystal")
    if learnt is None:
        missing = Figure(None, unique, note="no training set was given")
        figures |= {"novel": missing, "valid_unique_novel": missing}
    else:
        new = sum(row.unique and bool(row.novel) for row in table)
        figures["novel"] = _share(new, unique, "no valid crystal")
        figures["valid_unique_novel"] = _share(new, n, none)
    for name, values in (
        ("atoms", [row.sites for row in sound]),
        ("volume", [row.volume for row in sound]),
    ):
        mean = float(np.mean(np.array(values, float))) if values else None
        figures[name] = Figure(
            mean, len(sound), own.get(name), note="" if values else "no valid structure"
        )
    return figures


def _distance(
    name: str, valid: list[Crystal], known: list[Crystal] | None, learnt: list[Crystal] | None
) -> Figure:
    if not known:
        return Figure(None, len(valid), note="no reference was given")
    value = distances.distance(name, valid, known)
    if value is None:
        return Figure(None, 0, note="no valid crystal")
    if not learnt:
        return Figure(value, len(valid), note="no floor: no training set was given")
    size = min(len(valid), len(learnt))
    chosen = np.random.default_rng(0).choice(len(learnt), size, replace=False)
    floor = distances.distance(name, [learnt[k] for k in chosen], known)
    return Figure(value, len(valid), None, floor, f"floor: {size:,} training crystals")


def _rediscovered(
    valid: list[Crystal], known: list[Crystal] | None, workers: int | None
) -> Figure:
    if not known:
        return Figure(None, 0, note="no reference was given")
    pools = matching.pools(valid)
    candidates = [pools.get(matching.key(crystal), []) for crystal in known]
    wanted = [k for k, own in enumerate(candidates) if own]
    if not wanted:
        return Figure(0.0, len(known))
    found = matching.match(
        [candidates[k] for k in wanted], [known[k] for k in wanted], workers=workers
    )
    return Figure(sum(row.matched for row in found.table) / len(known), len(known))
