"""The tables of crystals on demand, made of results: properties asked for, space groups held."""

from __future__ import annotations

from typing import Any

from tables import NONE, lines, percent, read

WORDS = {
    "formation_energy_per_atom, by CHGNet": ("energy by CHGNet, eV", 2),
    "formation_energy_per_atom, by composition": ("by composition, eV", 2),
    "band_gap, by composition": ("gap by composition, eV", 2),
    "density": ("density, g/cm3", 2),
    "kinds": ("number of elements", 2),
}
SHORT = {
    "formation_energy_per_atom": "energy of formation",
    "band_gap": "band gap",
    "kinds": "number of elements",
}


def _error(figure: dict[str, Any], digits: int) -> str:
    return f"{figure['error']:.{digits}f} ± {figure['standard_error']:.{digits}f}"


def properties(name: str = "crystals-properties") -> str:
    """Mean absolute error of each property against its targets, for each wish."""
    found = read(name)["results"]
    head = ["asked for", "guidance", *(word for word, _ in WORDS.values()), "valid structure"]
    rows = []
    for row in found["rows"]:
        wish = "all of them" if len(row["asked"]) > 1 else "nothing"
        wish = SHORT.get(row["asked"][0], row["asked"][0]) if len(row["asked"]) == 1 else wish
        weight = NONE if row["guidance"] is None else f"{row['guidance']:g}"
        errors = [_error(row["figures"][k], digits) for k, (_, digits) in WORDS.items()]
        rows.append([wish, weight, *errors, percent(row["valid structure"])])
    main = next(row for row in found["rows"] if len(row["asked"]) > 1)
    other = [f"{main['figures'][k]['shuffled']:.{digits}f}" for k, (_, digits) in WORDS.items()]
    rows.append(["all, against others' targets", f"{main['guidance']:g}", *other, NONE])
    floor = [
        f"{found['floor'][k]['error']:.{digits}f}" if found["floor"][k]["error"] else "0"
        for k, (_, digits) in WORDS.items()
    ]
    rows.append(["floor: error of the judge", NONE, *floor, NONE])
    return lines(head, rows)


def symmetry(name: str = "crystals-symmetry") -> str:
    """Match rates with and without the space group."""
    head = ["given", "match (.3, .5, 10)", "RMSE", "strict (.2, .3, 5)", "found exactly", "higher"]
    rows = []
    for label, row in read(name)["results"].items():
        if "match_rate" not in row:
            continue
        rmse = NONE if row["rmse"] is None else f"{row['rmse']:.4f}"
        rows.append(
            [
                label.removesuffix(", seed 0"),
                percent(row["match_rate"]),
                rmse,
                percent(row["strict_match_rate"]),
                percent(row.get("exact")),
                percent(row.get("higher")),
                str(row["references"]),
            ]
        )
    return lines([*head, "structures"], rows)


def generation(name: str = "crystals-symmetry") -> str:
    """Figures of generation from nothing with and without the space group."""
    found = {k: row for k, row in read(name)["results"].items() if "match_rate" not in row}
    head = ["", "valid structure", "charges balance", "W1 of number of elements"]
    rows = []
    for label, row in found.items():
        value = {k: figure["value"] for k, figure in row["figures"].items()}
        asked = label.endswith("space group")
        rows.append(
            [
                label,
                percent(value["structure"]),
                percent(value["composition"]),
                f"{value['elements']:.2f}",
                f"{value['density']:.2f}",
                percent(row["exact"]) if asked else NONE,
                str(row["asked"]),
            ]
        )
    return lines([*head, "W1 of density", "group found exactly", "crystals"], rows)
