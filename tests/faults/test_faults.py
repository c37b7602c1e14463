"""A short part of `make faults`, and that its verdict finds a missing guard: `make faults-mutants` runs them."""

from __future__ import annotations

import pytest

from tests.faults import sequences
from tests.faults.mutants import MUTANTS, as_module
from tests.faults.report import Report
from tests.faults.seen import record_of
from tests.faults.stage import set_stage
from tests.faults.storm import Weather, one_round
from tests.support.verdict import violations

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", sorted(MUTANTS))
async def test_a_controller_without_this_guard_is_caught(name: str) -> None:
    mutant = MUTANTS[name]
    module, environment = as_module(name)
    async with set_stage(module=module, environment=environment) as stage:
        await sequences.play(stage, sequences.BY_NAME[mutant.killer])
        broken = violations(record_of(stage.seen()))
    assert any(mutant.words in violation for violation in broken), broken


@pytest.mark.parametrize("name", sequences.BY_NAME)
async def test_a_controller_as_it_ships_breaks_no_promise(name: str) -> None:
    async with set_stage() as stage:
        await sequences.play(stage, sequences.BY_NAME[name])
        report = Report.of(stage.seen(), least=1)
    assert report.is_good, "\n".join(report.lines())


async def test_a_storm_of_every_kind_breaks_no_promise_and_ends_in_calm() -> None:
    async with set_stage() as stage:
        await one_round(stage, Weather(seed=9, length=8.0, every=0.4), 0)
        report = Report.of(stage.seen(), least=1, take_overs=1)
    assert report.is_good, "\n".join(report.lines())
