r"""Match rate and RMSE: how many crystals of a reference a model finds, and how closely.

For M references with k predictions each, and r_ij the displacement of prediction j from reference i (`alignment`;
none where they do not match):

    match rate  share of references with at least one match among their k predictions
    RMSE        mean over the **matched** references of min_j r_ij
    cRMSE       mean over **all** references of min_j r_ij, with stol where there is no match
    METRe       share of references matched by at least one prediction made for **any** reference
    METRe cRMSE the same as cRMSE, each reference against every prediction

RMSE alone rewards whoever misses the hard ones, the match rate alone rewards chance: at the usual tolerances a fifth
to a half of random structures of a small cell match. Read cRMSE, and the strict match rate.

Which pairs are compared at all differs between the published numbers; the rule is named:

    none       every pair (OMatG's "all")
    structure  predictions with two sites closer than .5 angstrom or a volume below .1 angstrom^3 fail (CrysBFN)
    full       so do those whose composition fails the test of charges, in prediction or reference (DiffCSP, FlowMM,
               CrystalFlow at k = 1)

The published codes also fail structures of which no CrystalNN fingerprint can be computed; that is rare, dear, and left
out here.

Reference: match rate and RMSE: Xie et al., arXiv:2110.06197; Jiao et al. (DiffCSP), arXiv:2309.04475, section 5.1;
cRMSE and METRe: Martirossyan et al., All that structure matches does not glitter, arXiv:2509.12178.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

from sciflow.errors import SciflowError, expected, unknown

from . import alignment, elements, validity
from .alignment import LOOSE, STRICT, Reduced, Tolerances
from .crystal import Crystal
from .workers import spread

Rule = Literal["none", "structure", "full"]
RULES = ("none", "structure", "full")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """What became of one reference.

    Attributes:
        formula: Its formula.
        sites: Its number of sites.
        matched: At least one of its predictions matches.
        rms: Least displacement; `None` without a match.
        strict: At least one matches under the strict tolerances.
        best: Number (from 0) of the prediction with the least displacement; `None` without a match.
        valid: Number of its predictions that were compared.
        predictions: Number of its predictions.
        reason: Why none was compared, or empty.
    """

    formula: str
    sites: int
    matched: bool
    rms: float | None
    strict: bool
    best: int | None
    valid: int
    predictions: int
    reason: str


@dataclass(frozen=True)
class Match:
    """Match rate and RMSE of a set of predictions.

    Attributes:
        table: One row per reference.
        tolerances: When two crystals counted as the same.
        rule: Which pairs were compared.
        metre: Share of references matched by any prediction; `None` where it was not asked for.
        metre_crmse: cRMSE over all predictions; `None` likewise.
    """

    table: list[Row]
    tolerances: Tolerances
    rule: str
    metre: float | None = None
    metre_crmse: float | None = None

    @property
    def rate(self) -> float:
        """Share of references with a match."""
        return sum(row.matched for row in self.table) / len(self.table)

    @property
    def strict(self) -> float:
        """Share of references with a match under the strict tolerances."""
        return sum(row.strict for row in self.table) / len(self.table)

    @property
    def rmse(self) -> float | None:
        """Mean displacement of the matched; `None` without one."""
        found = [row.rms for row in self.table if row.rms is not None]
        return math.fsum(found) / len(found) if found else None

    @property
    def crmse(self) -> float:
        """Mean displacement of all references, stol for those without a match."""
        stol = self.tolerances.stol
        return math.fsum(stol if row.rms is None else row.rms for row in self.table) / len(
            self.table
        )

    @property
    def errors(self) -> dict[str, float]:
        """Standard errors of the four figures over references: a second sample of references would differ so much."""
        n = len(self.table)
        stol = self.tolerances.stol
        rms = [row.rms for row in self.table if row.rms is not None]
        return {
            "rate": math.sqrt(self.rate * (1.0 - self.rate) / n),
            "strict": math.sqrt(self.strict * (1.0 - self.strict) / n),
            "rmse": _deviation(rms) / math.sqrt(max(len(rms), 1)),
            "crmse": _deviation([stol if row.rms is None else row.rms for row in self.table])
            / math.sqrt(n),
        }

    def summary(self) -> dict[str, Any]:
        """Return the totals, JSON-able."""
        return {
            "references": len(self.table),
            "match_rate": self.rate,
            "rmse": self.rmse,
            "crmse": self.crmse,
            "strict_match_rate": self.strict,
            "metre": self.metre,
            "metre_crmse": self.metre_crmse,
            "standard_errors": self.errors,
            "rule": self.rule,
            "tolerances": [self.tolerances.ltol, self.tolerances.stol, self.tolerances.angle_tol],
        }


def match(
    predictions: Sequence[Any] | Sequence[Sequence[Any]],
    references: Sequence[Any],
    *,
    tolerances: Tolerances = LOOSE,
    rule: Rule = "structure",
    metre: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Match:
    """Compare predictions with references.

    Args:
        predictions: For each reference a crystal, or a list of k crystals. `None` stands for one that failed.
        references: Crystals, pymatgen structures or ASE atoms.
        tolerances: When two count as the same.
        rule: Which pairs are compared (see the top of the module).
        metre: Also compare every prediction with every reference of its composition.
        workers: Processes; None is the number of processors this one may use.
        progress: Called with a stage, the references done and in all.

    Raises:
        SciflowError: The numbers differ, there are none, or a reference cannot be reduced.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    if len(predictions) != len(references) or not references:
        raise expected(
            "predictions",
            len(predictions),
            f"one for each of {len(references)} references, and at least one",
        )
    tasks: list[_Task] = [
        (_candidates(own), Crystal.of(reference), tolerances, rule)
        for own, reference in zip(predictions, references, strict=True)
    ]
    table: list[Row] = []
    for row in spread(_compare, tasks, workers):
        table.append(row)
        if progress is not None and (len(table) % 50 == 0 or len(table) == len(tasks)):
            progress("matching", len(table), len(tasks))
    result = Match(table, tolerances, rule)
    if metre:
        share, crmse = _metre(tasks, table, workers, progress)
        result = replace(result, metre=share, metre_crmse=crmse)
    return result


def _candidates(own: Any) -> list[Crystal | None]:
    if own is None or isinstance(own, Crystal) or not isinstance(own, (list, tuple)):
        own = [own]
    return [None if thing is None else Crystal.of(thing) for thing in own]


_Task = tuple[list[Crystal | None], Crystal, Tolerances, Rule]


def _compare(task: _Task) -> Row:
    """Return the row of one reference."""
    candidates, reference, tolerances, rule = task
    target = alignment.reduce(reference)
    best: int | None = None
    least: float | None = None
    strict = False
    wide = all(x >= y for x, y in zip(astuple(tolerances), astuple(STRICT), strict=True))
    compared = 0
    reason = _refused(reference) if rule == "full" else ""
    reason = f"reference: {reason}" if reason else ""
    for k, candidate in enumerate([] if reason else candidates):
        own = _reduced(candidate, target, rule)
        if isinstance(own, str):
            reason = reason or own
            continue
        compared += 1
        rms = alignment.displacement(own, target, tolerances)
        if rms is not None and (least is None or rms < least):
            best, least = k, rms
        # What does not match at the usual tolerances does not at stricter ones.
        if not strict and (rms is not None or not wide):
            strict = alignment.displacement(own, target, STRICT) is not None
    return Row(
        formula=reference.formula,
        sites=len(reference),
        matched=least is not None,
        rms=least,
        strict=strict,
        best=best,
        valid=compared,
        predictions=len(candidates),
        reason="" if compared else reason,
    )


def _refused(crystal: Crystal) -> str:
    return "" if validity.composition(crystal.composition) else "charges do not balance"


def _reduced(candidate: Crystal | None, target: Reduced | None, rule: Rule) -> Reduced | str:
    """Return a prediction ready to be compared, or why it is not."""
    if candidate is None:
        return "no prediction"
    if rule != "none" and (problem := validity.problem(candidate)):
        return problem
    if rule == "full" and (refused := _refused(candidate)):
        return refused
    try:
        return alignment.reduce(candidate)
    except SciflowError as error:
        return str(error)


def _metre(
    tasks: list[_Task], table: list[Row], workers: int | None, progress: Progress | None
) -> tuple[float, float]:
    """Return METRe and its cRMSE: every reference against the predictions of its composition, wherever made."""
    made = defaultdict(list)
    for k, (candidates, _, _, _) in enumerate(tasks):
        for composition, own in pools([c for c in candidates if c is not None]).items():
            made[composition] += [(k, candidate) for candidate in own]
    jobs: list[_Task] = []
    rows: list[Row] = []
    for k, ((_, reference, tolerances, rule), row) in enumerate(zip(tasks, table, strict=True)):
        others: list[Crystal | None] = [c for source, c in made[key(reference)] if source != k]
        jobs.append((others, reference, tolerances, rule))
        rows.append(row)
    found: Iterator[Row] = spread(_compare, jobs, workers)
    total, matched = 0.0, 0
    for k, (row, other) in enumerate(zip(rows, found, strict=True), 1):
        values = [r for r in (row.rms, other.rms) if r is not None]
        matched += bool(values)
        total += min(values, default=tasks[0][2].stol)
        if progress is not None and (k % 50 == 0 or k == len(jobs)):
            progress("METRe", k, len(jobs))
    return matched / len(jobs), total / len(jobs)


def key(crystal: Crystal) -> tuple[tuple[int, int], ...]:
    """Return the composition in lowest terms: crystals that differ in it cannot match."""
    return tuple(elements.reduced(crystal.composition).items())


def pools(crystals: Sequence[Crystal]) -> dict[tuple[tuple[int, int], ...], list[Crystal]]:
    """Return crystals by composition in lowest terms; those without sites are left out."""
    found = defaultdict(list)
    for crystal in crystals:
        if len(crystal):
            found[key(crystal)].append(crystal)
    return found


def _deviation(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1))
