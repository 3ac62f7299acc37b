"""The metrics of generated molecules: per molecule and in total, each with its denominator.

n graphs were generated (rows of a file that could not be read as a graph count among them and fail
everything). Of the graphs **as generated**, nothing repaired:

    figure               value                                                taken over
    valid                RDKit sanitises the graph as it is                   n
    connected            the graph is one piece                               n
    valid_and_connected  both                                                 n
    unique               distinct canonical SMILES, free of stereo            valid and connected
    novel                of these, not in the training set                    unique
    valid_unique_novel   all of it at once                                    n
    nspdk                biased squared NSPDK MMD to the reference            valid and connected
    fcd                  Frechet ChemNet Distance to the reference            valid and connected
    aromatic             has an aromatic ring                                 valid and connected
    large_rings          has a ring of eight atoms or more                    graphs
    charged              has a charged atom                                   graphs
    atoms, rings         mean number per graph                                graphs

Here the two distances drop every failure, which flatters: read them with the share they were taken
over. The **protocol of GDSS** (`validity.gdss_protocol`) repairs first and loses next to nothing:

    gdss_valid           "validity without correction"                        molecules left
    gdss_unique          distinct SMILES after correction                     molecules left
    gdss_novel           of these, not in the training set                    distinct ones
    gdss_nspdk, gdss_fcd the distances after correction                       molecules left

where "molecules left" are the graphs of which the correction leaves a molecule. Both NSPDK figures
see aromatic bonds as the reference does: the authors read corrected molecules and test set alike
from SMILES, so do we.

Beside a figure stands the reference's own, and beside a distance its *floor*: the same distance
for as many training molecules, drawn at random, in the place of the generated ones. Without a
training set NSPDK's floor is the value expected of the reference's own distribution. A figure that
cannot be taken is `None` and says why. `ceiling`, on request, is the share of the reference that
stays strictly valid without its charges: the most a charge-free vocabulary can learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from sciflow.errors import need

from . import validity
from .distances import Distance, Distances, Progress, embeddings
from .profile import Histogram, Profile, Shape, histograms
from .reference import Reference

if TYPE_CHECKING:
    import pandas


# The order of the report.
_ORDER = (
    "valid",
    "connected",
    "valid_and_connected",
    "unique",
    "novel",
    "valid_unique_novel",
    "nspdk",
    "fcd",
    "aromatic",
    "large_rings",
    "charged",
    "atoms",
    "rings",
    "ceiling",
    "gdss_valid",
    "gdss_unique",
    "gdss_novel",
    "gdss_nspdk",
    "gdss_fcd",
)


# What a page lists of each molecule.
_COLUMNS = ("smiles", "valid", "connected", "unique", "novel", "atoms", "rings", "aromatic_rings")


@dataclass(frozen=True)
class Row:
    """The metrics of one generated molecule.

    Attributes:
        smiles: Canonical SMILES if valid, otherwise the kekulised SMILES of the graph.
        valid: RDKit sanitises the graph as generated.
        connected: The graph is one piece.
        valid_and_connected: Both.
        unique: The first of its kind among the valid and connected; `False` for a failure.
        novel: Not in the training set; `None` without one, `False` for a failure.
        gdss_valid: Valid without correction under the protocol of GDSS.
        gdss_smiles: The molecule its protocol makes of the graph; `None` where it makes none.
        atoms: Number of atoms.
        rings: Number of rings.
        largest_ring: Atoms of the largest ring, 0 without rings.
        aromatic_rings: Number of aromatic rings; `None` for an invalid graph.
    """

    smiles: str
    valid: bool
    connected: bool
    valid_and_connected: bool
    unique: bool
    novel: bool | None
    gdss_valid: bool
    gdss_smiles: str | None
    atoms: int
    rings: int
    largest_ring: int
    aromatic_rings: int | None


@dataclass(frozen=True)
class Figure:
    """One figure of the whole set.

    Attributes:
        value: The figure; `None` where it cannot be taken, see `note`.
        over: Number of graphs or molecules it was taken over (the denominator of a share).
        reference: The same figure of the reference itself.
        floor: For a distance: its value for real molecules in the place of the generated ones.
        note: Why there is no value, or how the floor was taken.
    """

    value: float | None
    over: int
    reference: float | None = None
    floor: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Metrics:
    """All metrics of a set of generated molecules.

    Attributes:
        table: One row per graph, in the order given.
        figures: The totals, by name; the names and their denominators stand at the top of the
            module.
        histograms: Atoms, bonds, rings and sizes, each beside the reference's.
        generated: Number of graphs generated, unreadable ones included.
        unreadable: Number of rows that were no graph.
        reference: Number of molecules in the reference; `None` without one.
        train: Number of molecules in the training set; `None` without one.
    """

    table: list[Row]
    figures: dict[str, Figure]
    histograms: tuple[Histogram, ...]
    generated: int
    unreadable: int
    reference: int | None
    train: int | None

    def __getitem__(self, name: str) -> float | None:
        return self.figures[name].value

    def summary(self) -> dict[str, Any]:
        """Return the totals as plain dictionaries, lists and numbers, ready for JSON."""
        from .report import described

        return {
            "generated": self.generated,
            "unreadable": self.unreadable,
            "reference": self.reference,
            "train": self.train,
            "columns": list(_COLUMNS),
            "figures": {
                name: {**described(name), **asdict(figure)}
                for name, figure in self.figures.items()
            },
            "histograms": {
                h.name: {
                    "unit": h.unit,
                    "kind": "mean" if h.name == "rings" else "share",
                    "bins": list(h.bins),
                    "generated": list(h.generated),
                    "reference": None if h.reference is None else list(h.reference),
                    "distance": h.distance,
                }
                for h in self.histograms
            },
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a data frame."""
        return need("pandas", "molecules").DataFrame([asdict(row) for row in self.table])

    def to_text(self) -> str:
        """Return the totals as an aligned table for a terminal."""
        from .report import lines

        return "\n".join(lines(self))


def evaluate(
    mols: Sequence[Chem.Mol],
    reference: Sequence[Chem.Mol] | Reference | None = None,
    train: Sequence[Chem.Mol] | Reference | None = None,
    *,
    unreadable: int = 0,
    distances: bool = True,
    ceiling: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Metrics:
    """Measure generated molecules.

    Args:
        mols: Raw molecules, exactly as generated.
        reference: Real molecules to compare with (the held-out set); no distances without.
        train: Molecules of the training set, for novelty and the floors.
        unreadable: Generated rows that are no graph at all; they count as failures.
        distances: Take NSPDK and FCD (a ChemNet run: 4 ms per molecule on one core).
        ceiling: Add the share of the reference that stays strictly valid without its charges: the
            most that a model with a charge-free vocabulary can learn from it.
        device: Torch device for ChemNet.
        progress: Told about the long stages.

    Returns:
        The metrics; any number of molecules will do, also none.

    Raises:
        SciflowError: The reference or the training set is empty.
    """
    known, learnt = Reference.of(reference), Reference.of(train)
    tell = progress or (lambda stage, done, total: None)
    for name, data in (("reference", known), ("training set", learnt)):
        if data is not None:
            data.perceive(lambda done, total, name=name: tell(name, done, total))
    shapes: list[Shape] = []
    table: list[Row] = []
    seen: set[str] = set()
    for k, mol in enumerate(mols, 1):
        shapes.append(Shape.of(mol))
        table.append(_row(mol, shapes[-1], seen, learnt))
        if k % 100 == 0 or k == len(mols):
            tell("molecules", k, len(mols))
    profile = Profile.of(shapes)
    figures = _strict(table, len(mols) + unreadable, known, learnt)
    figures |= _shapes(table, profile, known)
    figures |= _protocol(table, learnt)
    if ceiling:
        note = "" if known is not None else "no reference was given"
        value = None if known is None else known.ceiling
        figures["ceiling"] = Figure(value, 0 if known is None else len(known), note=note)
    if distances:
        figures |= _distances(mols, table, Distances(known, learnt, device, progress))
    return Metrics(
        table=table,
        figures={name: figures[name] for name in _ORDER if name in figures},
        histograms=histograms(profile, None if known is None else known.profile),
        generated=len(mols) + unreadable,
        unreadable=unreadable,
        reference=None if known is None else len(known),
        train=None if learnt is None else len(learnt),
    )


def _row(mol: Chem.Mol, shape: Shape, seen: set[str], train: Reference | None) -> Row:
    """Return the row of one graph, and note its SMILES among those seen."""
    clean = validity.sanitized(mol)
    protocol = validity.gdss_protocol(mol)
    connected = shape.fragments == 1
    good = clean is not None and connected
    if clean is None:
        smiles, aromatic = validity.raw_smiles(mol), None
    else:
        smiles = Chem.MolToSmiles(clean, isomericSmiles=False)
        aromatic = rdMolDescriptors.CalcNumAromaticRings(clean)
    unique = good and smiles not in seen
    if unique:
        seen.add(smiles)
    return Row(
        smiles=smiles,
        valid=clean is not None,
        connected=connected,
        valid_and_connected=good,
        unique=unique,
        novel=None if train is None else good and smiles not in train.distinct,
        gdss_valid=protocol.passed,
        gdss_smiles=protocol.smiles,
        atoms=len(shape.atoms),
        rings=len(shape.rings),
        largest_ring=max(shape.rings, default=0),
        aromatic_rings=aromatic,
    )


def _share(count: float, over: int, none: str, reference: float | None = None) -> Figure:
    """Return count / over, or no value and the reason `none` where `over` is 0."""
    value = count / over if over else None
    return Figure(value, over, reference, note="" if over else none)


def _strict(
    table: list[Row], n: int, known: Reference | None, train: Reference | None
) -> dict[str, Figure]:
    """Return the shares of the graphs as generated."""
    none = "nothing was generated"
    good = sum(row.valid_and_connected for row in table)
    unique = sum(row.unique for row in table)
    new = sum(row.unique and bool(row.novel) for row in table)
    own: dict[str, float | None] = {}
    if known is not None:
        seen = known.perceive()
        both = len(known.smiles)
        own["valid"] = sum(p.smiles is not None for p in seen) / len(seen)
        own["connected"] = sum(p.connected for p in seen) / len(seen)
        own["valid_and_connected"] = both / len(seen)
        if both:
            own["unique"] = len(known.distinct) / both
            if train is not None:
                own["novel"] = len(known.distinct - train.distinct) / len(known.distinct)
    figures = {
        "valid": _share(sum(row.valid for row in table), n, none),
        "connected": _share(sum(row.connected for row in table), n, none),
        "valid_and_connected": _share(good, n, none),
        "unique": _share(unique, good, "no valid and connected molecule"),
    }
    if train is None:
        missing = Figure(None, unique, note="no training set was given")
        figures |= {"novel": missing, "valid_unique_novel": missing}
    else:
        figures["novel"] = _share(new, unique, "no valid and connected molecule")
        figures["valid_unique_novel"] = _share(new, n, none)
    return {name: replace(figure, reference=own.get(name)) for name, figure in figures.items()}


def _shapes(table: list[Row], profile: Profile, known: Reference | None) -> dict[str, Figure]:
    """Return what the graphs look like."""
    none = "no graph"
    good = [row for row in table if row.valid_and_connected]
    aromatic = None
    if known is not None and known.smiles:
        aromatic = sum(p.aromatic and p.connected for p in known.perceive()) / len(known.smiles)
    figures = {
        "aromatic": _share(
            sum(bool(row.aromatic_rings) for row in good),
            len(good),
            "no valid and connected molecule",
            aromatic,
        )
    }
    own = None if known is None else known.profile
    for name in ("large_rings", "charged", "atoms", "rings"):
        reference = None if own is None else _count(own, name) / own.count
        figures[name] = _share(_count(profile, name), profile.count, none, reference)
    return figures


def _count(profile: Profile, name: str) -> int:
    if name in ("atoms", "rings"):
        return getattr(profile, name).total()
    return {"large_rings": profile.large, "charged": profile.charged}[name]


def _protocol(table: list[Row], train: Reference | None) -> dict[str, Figure]:
    """Return the shares under the protocol of GDSS."""
    none = "no molecule after correction"
    left = [row.gdss_smiles for row in table if row.gdss_smiles is not None]
    # An empty text is the molecule of a graph without atoms: the authors count it as valid, and
    # drop it from all that follows.
    texts = [text for text in left if text]
    distinct = set(texts)
    if train is None:
        novel = Figure(None, len(distinct), note="no training set was given")
    else:
        novel = _share(len(distinct - train.distinct), len(distinct), none)
    return {
        "gdss_valid": _share(sum(row.gdss_valid for row in table), len(left), none),
        "gdss_unique": _share(len(distinct), len(texts), none),
        "gdss_novel": novel,
    }


def _distances(
    mols: Sequence[Chem.Mol], table: list[Row], distances: Distances
) -> dict[str, Figure]:
    """Return NSPDK and FCD of the molecules as generated and after correction."""
    if distances.reference is None:
        missing = Figure(None, 0, note="no reference was given")
        return dict.fromkeys(("nspdk", "fcd", "gdss_nspdk", "gdss_fcd"), missing)
    strict = {k: mols[k] for k, row in enumerate(table) if row.valid_and_connected}
    corrected = {k: row.gdss_smiles for k, row in enumerate(table) if row.gdss_smiles}
    same = {k for k in strict if corrected.get(k) == table[k].smiles}
    fixed = {
        k: mols[k] if k in same else Chem.MolFromSmiles(text) for k, text in corrected.items()
    }
    plain, repaired = embeddings(strict, fixed, same)
    found = {
        "nspdk": distances.nspdk(plain),
        "fcd": distances.fcd([table[k].smiles for k in strict]),
        "gdss_nspdk": distances.nspdk(repaired),
        "gdss_fcd": distances.fcd(list(corrected.values())),
    }
    return {name: _figure(distance) for name, distance in found.items()}


def _figure(distance: Distance) -> Figure:
    return Figure(distance.value, distance.over, None, distance.floor, distance.note)
