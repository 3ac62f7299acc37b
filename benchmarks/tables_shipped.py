"""The table of the README on the shipped models (see `tables`): one headline each, with what it has to beat."""

from __future__ import annotations

from typing import Any

from tables import RESULTS, lines, read


def table() -> str:
    """One row for each shipped model that has been measured."""
    rows = [
        row
        for name, row in (
            ("molecules-qm9", _qm9),
            ("molecules-zinc250k", _zinc250k),
            ("properties-qm9-properties", _properties),
            ("graphs-community-small", _graphs),
            ("crystals-mp20", _mp20),
            ("crystals-mp20-ab-initio", _ab_initio),
            ("crystals-properties", _crystal_properties),
            ("crystals-perov5", _perov5),
            ("crystals-carbon24", _carbon24),
            ("fields_burgers", _burgers),
            ("fields_control", _control),
            ("fields_superresolution", _superresolution),
            ("weather-eraint", _weather),
        )
        if (RESULTS / f"{name}.json").is_file()
        for row in [row(read(name)["results"])]
    ]
    return lines(["model", "what it does", "measured", "beside it"], rows)


def _qm9(found: Any) -> list[str]:
    figures = found["figures"]
    valid, fcd, reference = (
        figures["valid_and_connected"]["mean"],
        figures["fcd"]["mean"],
        figures["fcd"]["floor"],
    )
    return [
        "`qm9`",
        "molecules of up to 9 heavy atoms",
        f"valid and connected as generated {100 * valid:.1f} %, FCD {fcd:.3f}",
        f"data 99.9 %, floor {reference:.3f}; GDSS's weights 72.7 %, 2.62 (n = 1000)",
    ]


def _zinc250k(found: Any) -> list[str]:
    own, held = found["figures"], read("molecules-zinc250k-constrained")["results"]["figures"]
    told = [
        f"{100 * row['valid_and_connected']['mean']:.1f} %, FCD {row['gdss_fcd']['mean']:.1f}"
        for row in (held, own)
    ]
    return [
        "`zinc250k`",
        "drug-like molecules of up to 38 heavy atoms",
        f"`--rings 7 --connected true`: valid and connected {told[0]} (n = 1000); left alone {told[1]}, "
        f"and {100 * own['large_rings']['mean']:.0f} % have large rings",
        f"floor {held['gdss_fcd']['floor']:.1f}; FCD of GDSS 14.7, GruM 2.6, large rings 19 %",
    ]


def _properties(found: Any) -> list[str]:
    best = next(r for r in found["rows"] if r["asked"] == ["gap"] and r["guidance"] == 1)
    unasked = next(row for row in found["rows"] if not row["asked"])
    gap = [row["figures"]["gap"]["error"]["mean"] for row in (best, unasked)]
    return [
        "`qm9-properties`",
        "molecules with wanted gap, dipole, logP, QED",
        f"gap off by {gap[0]:.4f} Ha at guidance {best['guidance']:g}",
        f"unasked {gap[1]:.4f}, error of the judge {found['floor']['gap']:.4f}",
    ]


def _graphs(found: Any) -> list[str]:
    row = found["figures"]
    return [
        "`community-small`",
        "small community graphs",
        f"clustering MMD {row['clustering']['mean']:.3f}, copies {100 * row['copies']['mean']:.0f} %",
        f"floor {row['clustering']['floor']:.3f}; GDSS .09 to .11",
    ]


def _perov5(found: Any) -> list[str]:
    rows = [row for name, row in found.items() if name in ("30 steps", "30 steps, seed 1")]
    base = found["baselines, whole test set"]["prototype: cubic perovskite, a coin"]
    return [
        "`perov5`",
        "perovskites from their formula",
        f"two seeds: match {_each(rows, 'match_rate', 100, 1)} %, RMSE {_each(rows, 'rmse', 1, 3)}, "
        f"cRMSE {_each(rows, 'crmse', 1, 3)}",
        f"ideal perovskite {100 * base['match_rate']:.1f} %, {base['rmse']:.3f}, {base['crmse']:.3f}; "
        "CrysBFN 54.7 %, .064, .261",
    ]


def _mp20(found: Any) -> list[str]:
    row = found["20 steps"]
    base = found["baselines, whole test set"]["substitution, other compositions"]
    like = read("crystals-like-mp20")["results"]["test"]["all, and the model, best of 20"]
    return [
        "`mp20`",
        "crystals of up to 20 atoms from their formula",
        f"MP-20, one sample: match {100 * row['match_rate']:.1f} %, RMSE {row['rmse']:.3f}; "
        f"20 candidates, `--like` the training file: {100 * like['match_rate']:.0f} %, {like['rmse']:.3f}",
        f"substitution into the nearest known crystal, no training: "
        f"{100 * base['match_rate']:.1f} %, {base['rmse']:.3f}",
    ]


def _carbon24(found: Any) -> list[str]:
    row = found["20 steps"]
    base = found["baselines, whole test set"]["substitution"]
    return [
        "`carbon24`",
        "carbon from its number of atoms",
        f"Carbon-24, one sample: match {100 * row['match_rate']:.1f} %, RMSE {row['rmse']:.3f}",
        f"a known crystal of as many atoms: {100 * base['match_rate']:.1f} %, {base['rmse']:.3f}; DiffCSP 17.5 %, .276",
    ]


def _ab_initio(found: Any) -> list[str]:
    row = next(row for name, row in found.items() if name.endswith(" steps"))
    figures = row["figures"]
    structure, composition = (figures[k]["value"] for k in ("structure", "composition"))
    real, density = figures["composition"]["reference"], figures["density"]
    return [
        "`mp20-ab-initio`",
        "crystals from nothing, or of given elements",
        f"valid structures {100 * structure:.1f} %, compositions {100 * composition:.1f} %, "
        f"W1 of density {density['value']:.2f}",
        f"data 100 %, {100 * real:.1f} %, floor {density['floor']:.2f}",
    ]


def _crystal_properties(found: Any) -> list[str]:
    energy = "formation_energy_per_atom, by CHGNet"
    asked = next(r for r in found["rows"] if len(r["asked"]) == 1 and r["guidance"] == 2)
    whole = next(r for r in found["rows"] if len(r["asked"]) > 1 and r["guidance"] == 2)
    unasked = next(row for row in found["rows"] if not row["asked"])
    told = [row["figures"][energy]["error"] for row in (asked, unasked)]
    dense = [row["figures"]["density"]["error"] for row in (whole, unasked)]
    return [
        "`mp20-properties`",
        "crystals of wanted energy of formation, gap, density",
        f"energy off by {told[0]:.2f} eV, density by {dense[0]:.1f} g/cm3 at guidance 2",
        f"unasked {told[1]:.2f}, {dense[1]:.1f}; error of the judge {found['floor'][energy]['error']:.2f}, 0",
    ]


def _each(rows: Any, key: str, times: float, digits: int) -> str:
    return " / ".join(f"{times * row[key]:.{digits}f}" for row in rows)


def _burgers(found: Any) -> list[str]:
    row = found["10 steps"]
    linear = read("fields_burgers_linear")["results"]["linear"]
    return [
        "`burgers`",
        "trajectories of a PDE, ensembles",
        f"nRMSE {row['nrmse']:.3f}, mean of 8 {row['ensemble_nrmse']:.3f}, CRPS {row['crps']:.4f}, "
        f"spread-skill {row['spread_skill']:.2f} (1 is right)",
        f"linear regression {linear['nrmse']:.3f}, CRPS {linear['crps']:.3f}",
    ]


def _control(found: Any) -> list[str]:
    row = found["effort 0.01"]
    return [
        "`burgers-control`",
        "forces that reach a target, tried on the solver",
        f"J {row['model, guided']['one_answer']['J']:.4f}",
        f"no force {row['uncontrolled']['J']:.3f}, proportional feedback {row['proportional']['J']:.3f}",
    ]


def _superresolution(found: Any) -> list[str]:
    row = found["64 x 128"]
    return [
        "`burgers-superresolution`",
        "twice the steps and points, again and again",
        f"mean square error {row['model']['mse']:.4f} one level beyond training",
        f"linear interpolation {row['linear']['mse']:.4f}",
    ]


def _weather(found: Any) -> list[str]:
    row = next(r for r in found if r["variable"] == "z500" and r["lead_hours"] == 24)
    return [
        "`erainterim`",
        "ensembles of the weather, 1 to 5 days",
        f"z500 after a day: fair CRPS {row['model']['fair_crps']:.0f} m2 s-2",
        f"linear-Gaussian {row['linear_gaussian']['crps']:.0f} (shipped, `erainterim-linear`), "
        f"persistence {row['persistence']['mae']:.0f}",
    ]
