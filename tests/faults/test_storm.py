"""What the seed decides, and what the command refuses."""

from __future__ import annotations

import pytest

from tests.faults.__main__ import main
from tests.faults.misfortunes import ALL
from tests.faults.storm import Blow, Weather, blows

WEATHER = Weather(seed=4)


def planned(weather: Weather, number: int = 0) -> list[Blow]:
    return list(blows(weather, number))


def test_a_seed_brings_the_same_storm_again_round_by_round() -> None:
    assert planned(WEATHER) == planned(Weather(seed=4))
    assert planned(WEATHER) != planned(Weather(seed=5))
    assert planned(WEATHER) != planned(WEATHER, 1)


def test_a_storm_comes_in_gusts_and_ends_in_time() -> None:
    times = [blow.after for blow in planned(WEATHER)]
    assert times == sorted(times)
    assert all(at % 20.0 <= 12.0 for at in times)
    assert 110 < len(times) < 220
    assert max(times) < WEATHER.length


def test_every_kind_comes_up_sooner_or_later() -> None:
    seen = {choice.name for number in range(60) for blow in planned(WEATHER, number) for choice in blow.choices}
    assert seen == set(ALL)


def test_only_the_chosen_kinds_come_where_some_were_chosen() -> None:
    seen = {choice.name for blow in planned(Weather(seed=4, only=("link-cut",))) for choice in blow.choices}
    assert seen == {"link-cut"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seconds", "0"], "'0' is not a number of seconds"),
        (["--every", "x"], "'x' is not a number of seconds"),
        (["--faults", "kill-leader,earthquake"], "there is no earthquake; there are: kill-leader"),
        (["--sequences", "none"], "there is no none"),
        (["--mutant", "none"], "invalid choice"),
        (["--replicas", "9"], "invalid choice"),
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
    text = " ".join(capsys.readouterr().out.split())
    assert [name for name in (*ALL, "late-intent", "stopped-leader-continues") if name not in text] == []
