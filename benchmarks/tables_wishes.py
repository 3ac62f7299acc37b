"""The tables of molecules on demand, made of results: properties asked for, scaffolds held, rewards climbed."""

from __future__ import annotations

from tables import NONE, lines, percent, read

DIGITS = {"gap": 4, "mu": 2, "logp": 2, "qed": 3}


def _spread(figure: dict[str, float | None], digits: int) -> str:
    mean, spread = figure["mean"], figure["spread"]
    text = NONE if mean is None else f"{mean:.{digits}f}"
    return text if spread is None else f"{text} ± {spread / 2:.{digits}f}"


def properties(name: str = "properties-qm9-properties") -> str:
    """Mean absolute error of each property against its targets, for each wish."""
    found = read(name)["results"]
    names = list(found["rows"][0]["figures"])
    head = ["asked for", "guidance", "samples", *(f"error of {k}" for k in names)]
    rows = []
    for row in found["rows"]:
        wish = " and ".join(row["asked"]) or "nothing"
        weight = NONE if row["guidance"] is None else f"{row['guidance']:g}"
        count = f"{row['seeds']} x {row['n']}"
        errors = [
            _spread(row["figures"][k]["error"], DIGITS[k])
            if k in row["asked"] or not row["asked"]
            else NONE
            for k in names
        ]
        valid = percent(row["valid_and_connected"]["mean"])
        rows.append([wish, weight, count, *errors, valid])
    main = next(r for r in found["rows"] if r["asked"] == ["gap"])
    shuffled = _spread(main["figures"]["gap"]["shuffled"], DIGITS["gap"])
    rows.append(["gap, against others' targets", "1", NONE, shuffled, *[NONE] * len(names)])
    floor = [f"{found['floor'][k]:.{DIGITS[k]}f}" if found["floor"][k] else "0" for k in names]
    rows.append(["floor: error of the judge", NONE, NONE, *floor, NONE])
    return lines([*head, "valid and connected"], rows)


def scaffolds(name: str = "steering-qm9") -> str:
    """Validity around scaffolds."""
    found = read(name)["results"]
    head = ["scaffold", "repeats", "holds it (kekulised)", "valid and connected", "unique"]
    rows = [
        [
            f"`{row['scaffold']}`",
            str(row["repeats"]),
            percent(row["kekulised"]),
            percent(row["valid_and_connected"]),
            percent(row["unique"]),
            percent(row["without"]),
        ]
        for row in found["scaffolds"]
    ]
    return lines([*head, "holds it, unasked"], rows)


def rewards(name: str = "steering-qm9") -> str:
    """Mean rewards by way of steering."""
    found = read(name)["results"]
    names = list(dict.fromkeys(row["reward"] for row in found["rewards"]))
    known = {(row["reward"], row["way"]): row for row in found["rewards"]}
    ways = dict.fromkeys(way for _, way in known if all((name, way) in known for name in names))
    rows = []
    for way in ways:
        own = [known[k, way] for k in names]
        valid = [run["valid_and_connected"] for run in own[0]["runs"]]
        rows.append(
            [
                way,
                str(own[0]["calls"]),
                *(_spread(row, 3) for row in own),
                percent(sum(valid) / len(valid)),
            ]
        )
    return lines(["", "times the calls", *names, "valid and connected"], rows)
