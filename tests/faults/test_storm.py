"""What the seed decides, and what the command refuses."""

from __future__ import annotations

import pytest

from tests.faults.__main__ import main
from tests.faults.misfortunes import KINDS
from tests.faults.mutants import MUTANTS
from tests.faults.sequences import BY_NAME
from tests.faults.storm import Blow, Weather, blows


def planned(seed: int, number: int = 0, *, only: tuple[str, ...] = ()) -> list[Blow]:
    return list(blows(Weather(seed, only=only), number))


def test_a_seed_brings_the_same_storm_again_round_by_round() -> None:
    assert planned(4) == planned(4)
    assert planned(4) != planned(5)
    assert planned(4) != planned(4, 1)


def test_every_kind_comes_up_sooner_or_later_or_only_those_that_were_chosen() -> None:
    names = {blow.misfortune.name for number in range(60) for blow in planned(4, number)}
    assert names == set(KINDS)
    assert {blow.misfortune.name for blow in planned(4, only=("cut",))} == {"cut"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seconds", "0"], "'0' is not a number of seconds"),
        (["--only", "earthquake"], "choose from 'kill'"),
    ],
)
def test_wrong_arguments_are_refused_with_what_would_have_been_right(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_the_help_names_every_fault_and_every_mutant(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert [name for name in (*KINDS, *MUTANTS, *BY_NAME) if name not in text] == []
