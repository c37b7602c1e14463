"""`autoscaler cost`: from the samples that a leader wrote."""

from __future__ import annotations

import csv
import io
import time

import pytest

from controller.core.ports import Batch
from controller.core.timeline import Sample
from tests.support.processes import Ran, autoscaler
from tests.support.scene import WORKER, Scene


async def asked(scene: Scene, *words: str) -> Ran:
    return await autoscaler("cost", *words, "--policy", str(scene.policy), environment=scene.environment)


async def recorded(scene: Scene) -> None:
    """Two days: one of 10 h with 2 workers, the other of 2 h with 1."""
    today = time.time() // 86_400 * 86_400
    async with scene.controller() as driven:
        lease = driven.lease
        old = [today - 86_400 + 600 * (number + 1) for number in range(60)]
        tens = [(WORKER, Sample(600.0, 0, 0, 0, None, 2, 2, 2, at=at)) for at in old]
        older = [today - 2 * 86_400 + 600 * (number + 1) for number in range(12)]
        tens += [(WORKER, Sample(600.0, 0, 0, 0, None, 1, 1, 1, at=at)) for at in older]
        await driven.controller.recorder.timeline.append(Batch((), (), (), tens), lease)


@pytest.mark.costly
async def test_hours_and_dollars_stand_beside_always_on_and_a_fixed_count(scene: Scene) -> None:
    await recorded(scene)
    ran = await asked(scene, "--json")
    assert ran.code == 0
    older, old = ran.objects
    assert (older["worker_hours"], older["always_on_hours"], older["fixed_replicas"]) == (2.0, 10.0, 1)
    assert (old["worker_hours"], old["always_on_hours"], old["fixed_replicas"]) == (20.0, 50.0, 2)
    assert old["dollars"] == pytest.approx(old["always_on_dollars"] * 0.4, rel=0.01)
    dear = (await asked(scene, "--json", "--worker-memory", "1", "--worker-cpu", "0.5")).objects
    assert dear[1]["dollars"] == pytest.approx(2 * old["dollars"], rel=0.01)


@pytest.mark.costly
async def test_a_table_has_a_sum_and_csv_has_one_line_for_each_day(scene: Scene) -> None:
    await recorded(scene)
    lines = (await asked(scene)).out.splitlines()
    assert lines[0].split()[:3] == ["worker", "day", "hours"]
    assert lines[-1].split()[:2] == ["all", "22.0"]
    rows = list(csv.DictReader(io.StringIO((await asked(scene, "--csv")).out)))
    assert [row["worker_hours"] for row in rows] == ["2.0", "20.0"]


async def test_nothing_recorded_is_said_with_exit_code_1(scene: Scene) -> None:
    ran = await asked(scene)
    assert ran.code == 1
    assert "nothing is recorded since" in ran.err
    assert (await asked(scene, "--since", "2999-01-01")).code == 2
