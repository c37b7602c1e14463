"""A preset of the user's own works in every command that reads a policy, and is shown as those that ship are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.processes import autoscaler
from tests.support.scene import Scene

POLICY = """\
workers:
  w:
    service: ${RAILWAY_WORKER_SERVICE_ID}
    max_replicas: 5
    tiers: [{up_to: 0, replicas: 0}, {replicas: 2}]
    queue: {preset: ./jobs.toml}
"""
PRESET = """\
library = "our queue"
wakes = ["new_generation_job"]
notes = ["It counts what waits."]

[tables]
jobs = "generation_job"

[[forms]]
ready = "{jobs} j WHERE j.status = 'pending'"
processing = "{jobs} j WHERE j.status = 'processing'"
since = "j.created_at"
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "jobs.toml").write_text(PRESET)
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


async def test_check_and_queues_show_it(policy: Path) -> None:
    preset = str(policy.parent / "jobs.toml")
    checked = await autoscaler("check", str(policy), environment={"RAILWAY_WORKER_SERVICE_ID": "s"})
    assert (checked.code, preset in checked.out) == (0, True)
    told = await autoscaler("queues", preset)
    assert "our queue" in told.out
    assert "It counts what waits." in told.out
    assert "tested with nothing here" in told.out
    as_json = await autoscaler("queues", preset, "--json")
    assert json.loads(as_json.out)[0]["preset"] == preset


async def test_check_and_queues_refuse_one_that_is_wrong_with_each_place(policy: Path) -> None:
    (policy.parent / "jobs.toml").write_text(PRESET.replace("processing =", "procesing ="))
    checked = await autoscaler("check", str(policy), environment={"RAILWAY_WORKER_SERVICE_ID": "s"})
    told = await autoscaler("queues", str(policy.parent / "jobs.toml"))
    for ran in (checked, told):
        assert ran.code == 2
        assert "jobs.toml:10: forms[0].procesing: is not a key; did you mean processing?" in ran.err
        assert "forms[0].processing: is missing" in ran.err
        assert "Traceback" not in ran.err


async def test_explain_counts_its_jobs(scene: Scene, policy: Path) -> None:
    await scene.jobs(3, processing=1)
    ran = await autoscaler("explain", "--policy", str(policy), environment=scene.environment)
    assert "4 jobs (3 pending, 1 processing) want 2 workers" in ran.out, ran.err


async def test_a_preset_that_announces_its_jobs_needs_no_trigger(policy: Path) -> None:
    ran = await autoscaler("queue-trigger", "--policy", str(policy), environment={"RAILWAY_WORKER_SERVICE_ID": "s"})
    assert ran.code == 0
    assert f"{policy.parent / 'jobs.toml'} announces its jobs by itself" in ran.out
