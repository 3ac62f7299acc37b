"""Samplers of three programs on an exact law: dpm-solver, UniPC and score_sde_pytorch, read from a folder of checkouts.

As in `core_rivals.py`: nothing of them is changed. UniPC and score_sde know pictures alone, so points go as pictures
of one pixel.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from core_laws import F64, Mixture, Start
from core_sampler import Outcome, Sampler
from torch import Tensor


@contextlib.contextmanager
def checkout(folder: Path) -> Iterator[None]:
    """Import from a folder; ImportError where there is none."""
    if not folder.is_dir():
        raise ImportError(folder.name)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def dpm_solver(sources: Path) -> Iterator[Sampler]:
    """The authors' DPM-Solver on the continuous VP diffusion."""
    with checkout(sources / "dpm-solver"):
        module = importlib.import_module("dpm_solver_pytorch")
    schedule = module.NoiseScheduleVP("linear", dtype=F64)
    kinds = (
        ("DPM++ 2M", "dpmsolver++", 2, "multistep", "dpm++2m"),
        ("DPM++ 3M", "dpmsolver++", 3, "multistep", "dpm++3m"),
        ("DPM++ single 2", "dpmsolver++", 2, "singlestep", "dpm++single"),
        ("DPM++ single 3", "dpmsolver++", 3, "singlestep", "dpm++single"),
        ("DPM-Solver 2M", "dpmsolver", 2, "multistep", "dpm-solver"),
        ("DPM-Solver 3M", "dpmsolver", 3, "multistep", "dpm-solver"),
        ("DPM-Solver-2", "dpmsolver", 2, "singlestep", "dpm-solver-single"),
        ("DPM-Solver-3", "dpmsolver", 3, "singlestep", "dpm-solver-single"),
    )
    grids = (("logSNR", 1e-3), ("logSNR", 1e-4), ("time_uniform", 1e-3), ("time_quadratic", 1e-3))
    for (name, kind, order, method, family), (skip, stop) in (
        (k, g) for k in kinds for g in grids
    ):

        def run(
            law: Mixture,
            noise: Tensor,
            count: int,
            kind: str = kind,
            order: int = order,
            method: str = method,
            skip: str = skip,
            stop: float = stop,
        ) -> Outcome:
            def model(x: Tensor, t: Tensor) -> Tensor:
                return law.noise(x, schedule.marginal_alpha(t), schedule.marginal_std(t))

            solver = module.DPM_Solver(model, schedule, algorithm_type=kind)
            one = torch.ones(1, dtype=F64)
            start = Start(
                noise, float(schedule.marginal_alpha(one)), float(schedule.marginal_std(one))
            )
            end = solver.sample(
                noise, steps=count, order=order, skip_type=skip, method=method, t_end=stop
            )
            return Outcome(end, start)

        yield Sampler("dpm-solver", name, f"VP, {skip} to {stop:g}", family, run)


def unipc(sources: Path) -> Iterator[Sampler]:
    """The authors' UniPC on the continuous VP diffusion."""
    with checkout(sources / "UniPC" / "example" / "score_sde_pytorch"):
        module = importlib.import_module("uni_pc")
    for order, variant, stop in ((o, v, e) for o in (2, 3) for v in ("bh1", "bh2") for e in (1e-3, 1e-4)):  # fmt: skip

        def run(
            law: Mixture, noise: Tensor, count: int, order: int = order, variant: str = variant, stop: float = stop
        ) -> Outcome:  # fmt: skip
            dtype = F64 if order == 2 else torch.float32  # the third order fails in float64
            schedule = module.NoiseScheduleVP("linear", dtype=dtype)

            def model(x: Tensor, t: Tensor) -> Tensor:
                a, s = schedule.marginal_alpha(t), schedule.marginal_std(t)
                return law.noise(x[:, :, 0, 0], a, s)[:, :, None, None]

            one = torch.ones(1, dtype=F64)
            start = Start(
                noise, float(schedule.marginal_alpha(one)), float(schedule.marginal_std(one))
            )
            solver = module.UniPC(model, schedule, variant=variant)
            pictures = noise[:, :, None, None].to(dtype)  # it knows no others
            with contextlib.redirect_stdout(io.StringIO()):
                end = solver.sample(
                    pictures, steps=count, order=order, skip_type="logSNR", t_end=stop
                )
            return Outcome(end[:, :, 0, 0].to(F64), start)

        yield Sampler("UniPC", f"UniPC {order} {variant}", f"VP, logSNR to {stop:g}", "unipc", run)


def score_sde(sources: Path) -> Iterator[Sampler]:
    """Predictor-corrector samplers of score_sde_pytorch."""
    # Its networks are not wanted; the sampler asks this module for the score alone.
    package, utils = types.ModuleType("models"), types.ModuleType("models.utils")
    utils.get_score_fn = lambda sde, model, **_: model  # type: ignore[attr-defined]
    utils.from_flattened_numpy = utils.to_flattened_numpy = None  # type: ignore[attr-defined]
    package.utils = utils  # type: ignore[attr-defined]
    sys.modules.update({"models": package, "models.utils": utils})
    with checkout(sources / "score_sde_pytorch"):
        sampling = importlib.import_module("sampling")
        laws = importlib.import_module("sde_lib")
    makes = {
        "VP": (lambda n: laws.VPSDE(N=n), 1e-3),
        "VE": (lambda n: laws.VESDE(0.01, 50, N=n), 1e-5),
    }
    kinds = (
        ("Euler-Maruyama", "EulerMaruyamaPredictor", None, "euler-maruyama", 1),
        ("reverse diffusion", "ReverseDiffusionPredictor", None, "reverse-diffusion", 1),
        ("reverse diffusion + Langevin", "ReverseDiffusionPredictor", "LangevinCorrector", "predictor-corrector", 2),
    )  # fmt: skip
    for (name, predictor, corrector, family, per), (label, (make, eps)) in (
        (k, m) for k in kinds for m in makes.items()
    ):

        def run(
            law: Mixture,
            noise: Tensor,
            count: int,
            predictor: str = predictor,
            corrector: str | None = corrector,
            per: int = per,
            make: Any = make,
            eps: float = eps,
        ) -> Outcome:
            sde = make(count // per)

            def score(x: Tensor, t: Tensor) -> Tensor:
                mean, std = sde.marginal_prob(torch.ones(len(x), 1, 1, 1, dtype=x.dtype), t)
                x0 = law.noise(x[:, :, 0, 0], mean[:, 0, 0, 0], std)
                return (-x0 / std[:, None])[:, :, None, None]

            sampler = sampling.get_pc_sampler(
                sde,
                (*noise.shape, 1, 1),  # it knows no others than pictures
                getattr(sampling, predictor),
                getattr(sampling, corrector) if corrector else None,
                inverse_scaler=lambda x: x,
                snr=0.16,
                n_steps=1 if corrector else 0,
                continuous=True,
                eps=eps,
                device="cpu",
            )
            x, _ = sampler(score)
            return Outcome(x[:, :, 0, 0].to(F64), Start(noise, 0.0, 1.0))

        yield Sampler("score_sde", name, label, family, run, True)


PROGRAMS: dict[str, Callable[[Path], Iterator[Sampler]]] = {
    "dpm-solver": dpm_solver,
    "UniPC": unipc,
    "score_sde": score_sde,
}
