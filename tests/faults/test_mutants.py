"""Controllers that lack one guard: the verdict has to say of each what it breaks."""

from __future__ import annotations

import pytest

from tests.faults import directed, mutants
from tests.faults.pace import Pace
from tests.faults.stage import set_stage
from tests.faults.verdict import judge

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", sorted(mutants.ALL))
async def test_a_controller_without_this_guard_is_caught(name: str) -> None:
    mutant = mutants.ALL[name]
    module, environment = mutants.as_module(name)
    async with set_stage(Pace(grace=4.0), module=module, environment=environment) as stage:
        await directed.play(stage, directed.BY_NAME[mutant.killer])
        broken = {violation.promise for violation in judge(stage.recorded())}
    assert broken.intersection(mutant.promises), f"it broke {broken or 'nothing'}"


@pytest.mark.parametrize("killer", sorted({mutant.killer for mutant in mutants.ALL.values()}))
async def test_and_the_same_sequence_finds_nothing_in_the_controller_as_it_is(killer: str) -> None:
    async with set_stage(Pace(grace=4.0)) as stage:
        await directed.play(stage, directed.BY_NAME[killer])
        assert judge(stage.recorded()) == []
