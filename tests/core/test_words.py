"""Words of the command line: wishes and choices."""

from __future__ import annotations

import pytest

from sciflow.errors import SciflowError
from sciflow.runtime.words import choice, wishes

FLAGS = ("--steps", "--seed", "--output", "--option")


def test_a_flag_that_is_not_the_commands_own_is_a_wish() -> None:
    words = ["--formula", "SrTiO3", "--gap=0.2", "--log-p", "-1.5", "--elements", "Li,Fe,O"]
    assert wishes(words, ["atoms=7"], FLAGS) == {
        "atoms": 7,
        "formula": "SrTiO3",
        "gap": 0.2,
        "log_p": -1.5,
        "elements": "Li,Fe,O",
    }


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--step", "50"], "did you mean '--steps'"),
        (["--formula"], "--formula: got 'no value'"),
        (["--formula", "--gap", "1"], "--formula: got 'no value'"),
        (["crystals"], "argument: got 'crystals'"),
        (["-x"], "argument: got '-x'"),
    ],
)
def test_what_is_no_wish_is_refused(words: list[str], named: str) -> None:
    with pytest.raises(SciflowError) as caught:
        wishes(words, (), FLAGS)
    assert named in str(caught.value)


def test_a_choice_is_a_name_with_options() -> None:
    assert choice(None) is None
    assert choice("ddim") == "ddim"
    assert choice("dpm++:order=3,x=a") == {"name": "dpm++", "order": 3, "x": "a"}
