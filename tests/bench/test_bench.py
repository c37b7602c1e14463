"""That the bench measures what it says, on a small table and a few jobs; never how fast anything is."""

from __future__ import annotations

import pytest

from tests.bench import depth, report
from tests.bench.__main__ import LEAST_ROWS, main
from tests.bench.figures import percentile
from tests.bench.reaction import WOKEN, reactions


def test_a_percentile_is_a_value_that_was_measured() -> None:
    hundred = [float(value) for value in range(100, 0, -1)]
    assert [percentile(hundred, percent) for percent in (50, 90, 99, 100)] == [50.0, 90.0, 99.0, 100.0]
    assert percentile([3.0], 99) == 3.0


def test_the_backlogs_are_those_that_were_asked_for_in_ten_million_rows() -> None:
    assert depth.backlogs(10_000_000) == (0, 100, 10_000, 1_000_000)
    assert depth.backlogs(LEAST_ROWS) == (0, 100, 200)


@pytest.mark.costly
def test_every_reading_of_a_small_table_shows_the_jobs_that_are_pending(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth, "_TIMES", 3)
    monkeypatch.setattr(depth, "_TURNS", 1)
    with depth.opened(database_url, LEAST_ROWS, lambda _: None) as bench:
        readings = list(bench.by_backlog(LEAST_ROWS))
        churned = list(bench.after_churn(LEAST_ROWS))
    both = ("plain", "recommended")
    assert [(one.indexes, one.shown) for one in readings] == [(name, n) for n in ("0", "100", "200") for name in both]
    assert [(one.reading.indexes, one.reading.shown) for one in churned] == [
        (name, "100") for name in both for _ in "123"
    ]
    assert len(list(report.by_backlog(LEAST_ROWS, readings))) == 2 + len(readings) + 4
    assert len(list(report.after_churn(LEAST_ROWS, churned))) == 2 + len(churned)


@pytest.mark.costly
async def test_a_wake_is_measured_from_its_commit(database_url: str, redis_url: str) -> None:
    (took,) = await reactions(WOKEN, database_url, redis_url, 1, lambda _: None)
    assert took > 0
    assert len(list(report.reactions({WOKEN: [took]}))) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "many"], "'many' is not a whole number"),
        (["--rows", "10"], "2000 to"),
        (["--wakes", "0"], "1 to 10000"),
        (["--only", "sleep"], "invalid choice"),
    ],
)
def test_bad_arguments_are_one_message(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
