"""Relaxation: move sites and lattice down the energy of an interatomic potential until the forces are small.

Any ASE calculator serves. None takes CHGNet (the extra ``mlip``), a potential trained on relaxations of the Materials
Project, whose weights come with its package; nothing is downloaded.

    from sciflow.domains import crystals
    candidates = crystals.predict("SrTiO3")
    relaxed = crystals.relax(candidates[0])

The lattice moves through the logarithm of its deformation (Tadmor et al.), the steps are those of FIRE. What comes of
it is kept as it is: a run that has not converged says so, and one that broke down names the reason.

Reference: Deng et al., CHGNet, Nat. Mach. Intell. 5, 1031, 2023; Bitzek et al., FIRE, Phys. Rev. Lett. 97, 170201,
2006; Tadmor et al., Phys. Rev. B 59, 235, 1999; Larsen et al., The atomic simulation environment, 2017.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sciflow.errors import SciflowError, expected, need

from . import validity
from .crystal import Crystal

FORCE = 0.05
"""Largest force in eV/angstrom at which a crystal counts as relaxed."""
STEPS = 300
"""Most steps."""


@dataclass(frozen=True)
class Relaxed:
    """What came of a relaxation.

    Attributes:
        crystal: The crystal where it ended; where it began, if nothing could be done.
        energy: Energy there in eV per site, of the calculator's own zero; NaN if it could not be taken.
        start: Energy where it began.
        steps: Steps made.
        converged: Whether the forces, and the stress on the lattice, are small.
        problem: Why not; empty if it converged.
    """

    crystal: Crystal
    energy: float
    start: float
    steps: int
    converged: bool
    problem: str = ""

    def __repr__(self) -> str:
        state = "converged" if self.converged else self.problem
        energies = f"{self.start:.4f} to {self.energy:.4f} eV/atom"
        return f"Relaxed({self.crystal.formula}, {energies} in {self.steps} steps, {state})"


@lru_cache(maxsize=4)
def chgnet(device: str = "cpu") -> Any:
    """Return the ASE calculator of CHGNet.

    Raises:
        SciflowError: It is not installed.
    """
    dynamics = need("chgnet.model.dynamics", "mlip")
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dynamics.CHGNetCalculator(use_device=device, on_isolated_atoms="ignore")


def relax(
    thing: Any,
    calculator: Any = None,
    *,
    steps: int = STEPS,
    force: float = FORCE,
    lattice: bool = True,
) -> Relaxed:
    """Relax one crystal.

    Args:
        thing: A crystal, a pymatgen structure or ASE atoms.
        calculator: An ASE calculator; None takes `chgnet`.
        steps: Most steps.
        force: Largest force in eV/angstrom to stop at; a stress counts as a force on the lattice.
        lattice: Whether the lattice relaxes, too.

    Raises:
        SciflowError: The crystal is no valid structure, a setting is wrong, or no calculator is given or installed.
    """
    crystal = Crystal.of(thing)
    reason = validity.problem(crystal)
    if reason:
        raise expected(f"crystal {crystal.formula or ''}".strip(), reason, "a valid structure")
    if steps < 0 or not force > 0:
        raise expected("steps and force", (steps, force), "steps >= 0, force > 0")
    return _relax(crystal, calculator or chgnet(), steps, force, lattice)


def relax_all(
    things: Iterable[Any],
    calculator: Any = None,
    *,
    steps: int = STEPS,
    force: float = FORCE,
    lattice: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Relaxed]:
    """Relax crystals; what is no valid structure comes back as it is, with its problem.

    Args:
        things: Crystals.
        calculator: As for `relax`.
        steps: As for `relax`.
        force: As for `relax`.
        lattice: As for `relax`.
        progress: Told how far it is.
    """
    crystals = [Crystal.of(thing) for thing in things]
    calculator = calculator or chgnet()
    made = []
    for k, crystal in enumerate(crystals, 1):
        reason = validity.problem(crystal)
        if reason:
            made.append(Relaxed(crystal, math.nan, math.nan, 0, False, reason))
        else:
            made.append(_relax(crystal, calculator, steps, force, lattice))
        if progress is not None:
            progress("relaxation", k, len(crystals))
    return made


def energies(
    things: Iterable[Any],
    calculator: Any = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[float]:
    """Return energies in eV per site of crystals as they are; NaN where there is none.

    Args:
        things: Crystals.
        calculator: As for `relax`.
        progress: Told how far it is.
    """
    return [result.energy for result in relax_all(things, calculator, steps=0, progress=progress)]


def _relax(crystal: Crystal, calculator: Any, steps: int, force: float, lattice: bool) -> Relaxed:
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE

    atoms = crystal.to_ase()
    atoms.calc = calculator
    n, start, done, converged = len(crystal), math.nan, 0, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = float(atoms.get_potential_energy()) / n
            if not math.isfinite(start):
                raise SciflowError("the energy is not finite")
            if steps == 0:
                return Relaxed(crystal, start, start, 0, False, "no step was asked for")
            free: Any = FrechetCellFilter(atoms) if lattice else atoms
            quiet: Any = None
            optimizer = FIRE(free, logfile=quiet)
            for found in optimizer.irun(fmax=force, steps=steps):
                converged = bool(found)
                done = int(optimizer.nsteps)
                cell = np.asarray(atoms.cell)
                small = abs(float(np.linalg.det(cell))) / n < 1.0
                if small or not np.isfinite(cell).all():
                    raise SciflowError("the lattice collapsed")
            energy = float(atoms.get_potential_energy()) / n
    except Exception as error:  # whatever a calculator raises on a strange structure
        text = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        return Relaxed(crystal, math.nan, start, done, False, f"broke down: {text}")
    if not math.isfinite(energy):
        return Relaxed(crystal, math.nan, start, done, False, "the energy is not finite")
    ended = Crystal.of(atoms)
    problem = "" if converged else f"not converged in {steps} steps"
    return Relaxed(ended, energy, start, done, converged, problem)


__all__ = ["FORCE", "STEPS", "Relaxed", "chgnet", "energies", "relax", "relax_all"]
