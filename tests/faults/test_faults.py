"""A short part of `make faults`: two sequences and one storm, on real processes, judged by the real clock.

`make faults-mutants` runs them. `make test` has the same promises in virtual time (tests/virtual).
"""

from __future__ import annotations

import pytest

from tests.faults import directed
from tests.faults.pace import Pace
from tests.faults.report import Least, Report
from tests.faults.stage import Stage, set_stage
from tests.faults.storm import Weather, clean_hand_over, one_round

pytestmark = pytest.mark.slow
BUSY = Pace(grace=4.0)
"""Other tests run beside this one; how quick a take-over is, is for `make faults` to measure."""


def proven(stage: Stage, least: Least) -> None:
    report = Report.of(stage.recorded(), least)
    assert report.is_good, "\n".join(report.lines(began=0.0))


async def test_a_leader_that_was_stopped_for_three_leases_sends_nothing_under_its_old_epoch() -> None:
    async with set_stage(BUSY) as stage:
        await directed.stopped_leader_continues(stage)
        await stage.quiet()
        await clean_hand_over(stage, "kill-leader")
        proven(stage, Least(scales=1, take_overs=1))


async def test_a_hand_over_within_a_cooldown_forgets_nothing() -> None:
    async with set_stage(BUSY) as stage:
        await directed.hand_over_within_a_cooldown(stage)
        proven(stage, Least(scales=2, take_overs=1))


async def test_a_storm_of_every_kind_breaks_no_promise_and_ends_in_calm() -> None:
    async with set_stage(BUSY) as stage:
        await one_round(stage, Weather(seed=9, length=8.0, every=0.4), 0)
        proven(stage, Least(scales=1, take_overs=1))
