"""Samplers of other libraries on an exact law, each behind a few lines: they see the same field, noise and calls.

Every library is optional: what cannot be imported is left out and named. Programs that are no packages stand in
`core_programs.py`. Nothing of a library is changed, but k-diffusion's sampling file is loaded without its package,
whose other files want picture libraries.

Deterministic samplers start from `noise`, scaled as the library does; an `Outcome` says from where, so that each is
compared with the exact end point of its own start. Settings are each library's own schedules and grids; which of them
is shown is decided on other noise than is shown (see `core.py`).
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import types
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from core_integrators import diffrax, flow_matching, torchdiffeq, torchsde
from core_laws import F64, Mixture, Start
from core_programs import PROGRAMS
from core_sampler import TOLERANCES, Outcome, Sampler
from torch import Tensor


# ---- azula
def azula() -> Iterator[Sampler]:
    """Samplers of azula on its schedules, with its even times."""
    from azula import noise as schedules
    from azula import sample as samplers
    from azula.denoise import Denoiser, DiracPosterior

    class Exact(Denoiser):
        def __init__(self, law: Mixture, schedule: Any) -> None:
            super().__init__()
            self.law, self.schedule = law, schedule

        def forward(self, x_t: Tensor, t: Tensor, **_: Any) -> DiracPosterior:
            return DiracPosterior(self.law.data(x_t, *self.schedule(t)))

    chosen = {
        "VP": schedules.VPSchedule(),
        "cosine": schedules.CosineSchedule(),
        "rectified": schedules.RectifiedSchedule(),
        "decay": schedules.DecaySchedule(),
        "VE": schedules.VESchedule(2e-3, 80.0),
    }
    kinds = (
        ("DDIM", "DDIMSampler", {}, "ddim", 1, False),
        ("Heun", "HeunSampler", {}, "heun", 2, False),
        *((f"zAB{k}", "zABSampler", {"order": k}, "adams", 1, False) for k in (2, 3)),
        *((f"vAB{k}", "vABSampler", {"order": k}, "adams", 1, False) for k in (2, 3, 4)),
        *((f"zEAB{k}", "zEABSampler", {"order": k}, "dpm-solver", 1, False) for k in (2, 3)),
        *((f"xEAB{k}", "xEABSampler", {"order": k}, f"dpm++{k}m", 1, False) for k in (2, 3)),
        *((f"REAB{k}", "REABSampler", {"order": k}, f"dpm++{k}m", 1, False) for k in (2, 3)),
        ("DDPM", "DDPMSampler", {}, "ancestral", 1, True),
        ("Ito", "ItoSampler", {}, "euler-maruyama", 1, True),
        ("PC", "PCSampler", {}, "predictor-corrector", 2, True),
    )
    for (name, kind, options, family, calls, drawn), (label, schedule) in (
        (k, s) for k in kinds for s in chosen.items()
    ):

        def run(
            law: Mixture,
            noise: Tensor,
            count: int,
            kind: str = kind,
            options: dict[str, Any] = options,
            per: int = calls,
            schedule: Any = schedule,
        ) -> Outcome:
            make = getattr(samplers, kind)
            sampler = make(
                Exact(law, schedule), steps=count // per, silent=True, dtype=F64, **options
            )
            a, s = (float(v) for v in schedule(torch.tensor(1.0, dtype=F64)))
            start = Start(noise * s, a, s)
            return Outcome(sampler(start.x), start)

        yield Sampler("azula", name, f"{label}, even times", family, run, drawn)


# ---- k-diffusion
def k_sampling() -> Any:
    """The sampling file of k-diffusion, without the picture libraries that its package wants."""
    if "k_diffusion" not in sys.modules:
        spec = importlib.util.find_spec("k_diffusion")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("k_diffusion")
        package = types.ModuleType("k_diffusion")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["k_diffusion"] = package
        names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
        wanted = [name for name in names if name not in sys.modules]
        for name in wanted:
            sys.modules[name] = types.ModuleType(name)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, sys.modules[name])
        try:
            return importlib.import_module("k_diffusion.sampling")
        finally:
            for name in wanted:
                del sys.modules[name]
    return importlib.import_module("k_diffusion.sampling")


def k_diffusion() -> Iterator[Sampler]:
    """Samplers of k-diffusion from sigma 80 to .002."""
    k = k_sampling()
    low, high = 2e-3, 80.0
    grids = {
        "Karras grid": lambda n: k.get_sigmas_karras(n, low, high).to(F64),
        "Karras grid to .01": lambda n: k.get_sigmas_karras(n, 0.01, high).to(F64),
        "log-sigma grid": lambda n: k.get_sigmas_exponential(n, low, high).to(F64),
        "log-sigma grid to .02": lambda n: k.get_sigmas_exponential(n, 0.02, high).to(F64),
        "VP grid": lambda n: k.get_sigmas_vp(n).to(F64),
    }

    def normal(x: Tensor) -> Callable[[Any, Any], Tensor]:
        # Independent increments: the law of the tree's, where the asked intervals do not overlap.
        return lambda *_: torch.randn_like(x)

    kinds = (
        ("Euler", k.sample_euler, {}, "ddim", lambda n: n, False),
        ("Heun", k.sample_heun, {}, "heun", lambda n: (n + 1) // 2, False),
        ("DPM-2", k.sample_dpm_2, {}, "dpm-solver", lambda n: (n + 1) // 2, False),
        ("LMS 4", k.sample_lms, {}, "adams", lambda n: n, False),
        ("LMS 3", k.sample_lms, {"order": 3}, "adams", lambda n: n, False),
        ("DPM++ 2M", k.sample_dpmpp_2m, {}, "dpm++2m", lambda n: n, False),
        ("Euler ancestral", k.sample_euler_ancestral, {}, "ancestral", lambda n: n, True),
        ("DPM++ 2S ancestral", k.sample_dpmpp_2s_ancestral, {}, "ancestral", lambda n: (n + 1) // 2, True),
        ("DPM++ SDE", k.sample_dpmpp_sde, {}, "dpm++sde", lambda n: (n + 1) // 2, True),
        ("DPM++ 2M SDE", k.sample_dpmpp_2m_sde, {"draw": normal}, "dpm++sde", lambda n: n, True),
        ("DPM++ 3M SDE", k.sample_dpmpp_3m_sde, {"draw": normal}, "dpm++sde", lambda n: n, True),
        ("Heun, churn 40", k.sample_heun, {"s_churn": 40.0}, "euler-maruyama", lambda n: (n + 1) // 2, True),
    )  # fmt: skip
    for (name, sample, options, family, steps, drawn), (label, grid) in (
        (kind, g) for kind in kinds for g in grids.items()
    ):

        def run(
            law: Mixture,
            noise: Tensor,
            count: int,
            sample: Any = sample,
            options: dict[str, Any] = options,
            steps: Any = steps,
            grid: Any = grid,
        ) -> Outcome:
            sigmas = grid(steps(count))
            start = Start(noise * float(sigmas[0]), 1.0, float(sigmas[0]))
            given = dict(options)
            if "draw" in given:
                given["noise_sampler"] = given.pop("draw")(start.x)
            model = lambda x, sigma: law.data(x, 1.0, sigma)  # noqa: E731
            return Outcome(sample(model, start.x, sigmas, disable=True, **given), start)

        yield Sampler("k-diffusion", name, label, family, run, drawn)

    def fast(law: Mixture, noise: Tensor, count: int) -> Outcome:
        start = Start(noise * high, 1.0, high)
        model = lambda x, sigma: law.data(x, 1.0, sigma)  # noqa: E731
        return Outcome(k.sample_dpm_fast(model, start.x, low, high, count, disable=True), start)

    def adaptive(law: Mixture, noise: Tensor, count: int) -> Outcome:
        start = Start(noise * high, 1.0, high)
        model = lambda x, sigma: law.data(x, 1.0, sigma)  # noqa: E731
        tolerance = TOLERANCES[count]
        options = {"rtol": tolerance, "atol": tolerance / 6, "disable": True}
        return Outcome(k.sample_dpm_adaptive(model, start.x, low, high, **options), start)

    yield Sampler("k-diffusion", "DPM fast", "log-sigma", "dpm-solver-single", fast)
    yield Sampler("k-diffusion", "DPM adaptive", "log-sigma", "adaptive", adaptive, adaptive=True)


# ---- diffusers
def diffusers() -> Iterator[Sampler]:
    """Schedulers of diffusers: VP with its thousand times, and its linear path."""
    import diffusers as d

    dpm, uni = d.DPMSolverMultistepScheduler, d.UniPCMultistepScheduler
    grids = {
        "even times": {},
        "log-SNR": {"use_lu_lambdas": True},
        "Karras grid": {"use_karras_sigmas": True},
    }
    noise = {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}
    kinds: list[tuple[str, Any, dict[str, Any], str, bool]] = [
        ("DPM++ 2M", dpm, {"solver_order": 2}, "dpm++2m", False),
        ("DPM++ 3M", dpm, {"solver_order": 3}, "dpm++3m", False),
        ("DPM-Solver 2M", dpm, {"solver_order": 2, **noise}, "dpm-solver", False),
        ("DPM++ 2M SDE", dpm, {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"}, "dpm++sde", True),
        ("DPM++ single 2", d.DPMSolverSinglestepScheduler, {"solver_order": 2}, "dpm++single", False),
        ("DPM++ single 3", d.DPMSolverSinglestepScheduler, {"solver_order": 3}, "dpm++single", False),
        ("UniPC 2", uni, {"solver_order": 2}, "unipc", False),
        ("UniPC 3", uni, {"solver_order": 3}, "unipc", False),
        ("DEIS 2", d.DEISMultistepScheduler, {"solver_order": 2}, "adams", False),
        ("DEIS 3", d.DEISMultistepScheduler, {"solver_order": 3}, "adams", False),
        ("SA-Solver", d.SASolverScheduler, {}, "dpm++sde", True),
        ("LMS", d.LMSDiscreteScheduler, {}, "adams", False),
    ]  # fmt: skip
    for name, kind, options, family, drawn in kinds:
        known = kind.__init__.__wrapped__.__code__.co_varnames
        for label, grid in grids.items():
            if not set(grid) <= set(known):
                continue

            def run(
                law: Mixture,
                noise: Tensor,
                count: int,
                kind: Any = kind,
                options: dict[str, Any] = {**options, **grid},  # noqa: B006
            ) -> Outcome:
                scheduler = kind(**options)
                scheduler.set_timesteps(count)
                # UniPC fails in float64.
                dtype = torch.float32 if kind is uni else F64
                sigmas = [float(v) for v in scheduler.sigmas]
                variance = kind is d.LMSDiscreteScheduler  # sigma there is s / a, x is x / a
                first = 1 / math.hypot(1, sigmas[0])
                x = noise.to(dtype)
                start = Start(noise, first, first * sigmas[0])
                if variance:
                    x = x * sigmas[0]
                    start = Start(noise * sigmas[0], 1.0, sigmas[0])
                for i, t in enumerate(scheduler.timesteps):
                    a = 1.0 if variance else 1 / math.hypot(1, sigmas[i])
                    x0 = law.noise(x, a, a * sigmas[i])
                    if variance:
                        scheduler.is_scale_input_called = True
                    x = scheduler.step(x0, t, x).prev_sample
                return Outcome(x.to(F64), start)

            yield Sampler("diffusers", name, f"VP, {label}", family, run, drawn)

    def ddim(law: Mixture, noise: Tensor, count: int) -> Outcome:
        scheduler = d.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
        scheduler.set_timesteps(count)
        levels = scheduler.alphas_cumprod.to(F64)
        x = noise
        for t in scheduler.timesteps:
            a, s = float(levels[t].sqrt()), float((1 - levels[t]).sqrt())
            x = scheduler.step(law.noise(x, a, s), t, x).prev_sample
        first = levels[scheduler.timesteps[0]]
        return Outcome(x, Start(noise, float(first.sqrt()), float((1 - first).sqrt())))

    def flow(law: Mixture, noise: Tensor, count: int) -> Outcome:
        scheduler = d.FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(count)
        s = [float(v) for v in scheduler.sigmas]
        x = noise
        for i, t in enumerate(scheduler.timesteps):
            x1, x0 = law.ends(x, 1 - s[i], s[i])
            x = scheduler.step(x0 - x1, t, x).prev_sample
        return Outcome(x, Start(noise, 1 - s[0], s[0]))

    yield Sampler("diffusers", "DDIM", "VP, trailing times", "ddim", ddim)
    yield Sampler("diffusers", "flow-match Euler", "linear", "ddim", flow)


LIBRARIES: dict[str, Callable[[], Iterator[Sampler]]] = {
    "azula": azula,
    "k-diffusion": k_diffusion,
    "diffusers": diffusers,
    "flow_matching": flow_matching,
    "torchdiffeq": torchdiffeq,
    "torchsde": torchsde,
    "diffrax": diffrax,
}


def rivals(sources: Path | None, only: list[str] | None = None) -> tuple[list[Sampler], dict[str, str]]:  # fmt: skip
    """Return every sampler that can be loaded, and for each library that cannot, why.

    Args:
        sources: Folder with the checkouts ``dpm-solver``, ``UniPC`` and ``score_sde_pytorch``, or None.
        only: Names of the libraries that are wanted; None wants all.
    """
    found, missing = [], {}
    makers = dict(LIBRARIES)
    if sources is not None:
        makers |= {k: (lambda make=make: make(sources)) for k, make in PROGRAMS.items()}
    for name, make in makers.items():
        if only is not None and name not in only:
            continue
        try:
            found += list(make())
        except ImportError as error:
            missing[name] = f"not installed ({error.name or error})"
    return found, missing


def installed(samplers: list[Sampler]) -> dict[str, str]:
    """Versions of the libraries that the samplers come from; programs have none."""
    versions = {}
    for library in dict.fromkeys(sampler.library for sampler in samplers):
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "checkout"
    return versions
