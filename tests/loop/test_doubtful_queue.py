"""A queue that may be misread, through the whole loop: what is held, what is said, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.configuration import configure
from controller.core.reasons import Reason
from controller.doctor import postgres_server as postgres_reach
from controller.doctor.finding import Level
from controller.doctor.report import examine
from controller.loop.cycle import Outcome
from tests.support.scene import POLICY, WORKER, Scene

UNNAMED = "CREATE TABLE jobs (status text)"


@pytest.fixture
def jobs_policy(scene: Scene, tmp_path: Path) -> Path:
    """The shipped policy on a table of another name."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.read_text().replace("table: generation_job", "table: jobs"))
    scene.policy = path
    return path


async def test_unfinished_work_under_unknown_words_is_unavailable_and_takes_no_worker_away(
    scene: Scene, jobs_policy: Path
) -> None:
    await scene.queue.execute(UNNAMED)
    await scene.queue.execute("INSERT INTO jobs SELECT 'pending' FROM generate_series(1, 200)")
    async with scene.controller() as driven:
        await driven.tick_until(Outcome.APPLIED, Reason.TIER)
    # Somebody renames the statuses; a new controller on a journal that knows nothing of this table.
    await scene.redis.flushdb()
    await scene.queue.execute("UPDATE jobs SET status = 'queued'")
    async with scene.controller() as driven:
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.QUEUE_UNAVAILABLE)
        assert "write statuses: {pending: [queued]}" in cycle.message
        (status,) = driven.controller.status.failing.values()
        assert "PostgreSQL" in status
        explained, _ = await driven.explain()
        assert explained.reason is Reason.QUEUE_UNAVAILABLE


async def test_what_the_journal_saw_before_makes_an_empty_queue_empty(scene: Scene, jobs_policy: Path) -> None:
    """A restart forgets what this process saw, and the journal does not."""
    await scene.queue.execute(UNNAMED)
    await scene.queue.execute("INSERT INTO jobs VALUES ('pending')")
    async with scene.controller() as driven:
        assert (await driven.tick()).outcome in {Outcome.APPLIED, Outcome.HELD}
    await scene.queue.execute("UPDATE jobs SET status = 'queued'")
    async with scene.controller() as driven:
        cycle = await driven.tick()
        assert cycle.outcome is not Outcome.FAILED
        assert cycle.queue is not None
        assert cycle.queue.depth == 0
    # Another table under the same worker is another matter.
    text = jobs_policy.read_text()  # noqa: ASYNC240  # a test's own file
    jobs_policy.write_text(text.replace("table: jobs", "table: jobs\n      where: status <> 'x'"))  # noqa: ASYNC240  # as above
    async with scene.controller() as driven:
        assert (await driven.tick()).reason is Reason.QUEUE_UNAVAILABLE


async def test_a_remark_is_made_once_and_shown_in_the_status_all_the_time(scene: Scene, jobs_policy: Path) -> None:
    await scene.queue.execute("CREATE TABLE jobs (status text, locked_at timestamptz)")
    await scene.queue.execute(
        "INSERT INTO jobs SELECT 'processing', now() - interval '10 h' FROM generate_series(1, 4)"
    )
    await scene.queue.execute("INSERT INTO jobs VALUES ('odd')")
    async with scene.controller() as driven:
        for _ in range(3):
            await driven.tick()
        warnings = scene.events("queue_warning")
        assert [warning["about"] for warning in warnings] == ["statuses", "claims"]
        assert "write stale_after: 6h" in warnings[1]["message"]
        (status,) = driven.controller.status.workers.values()
        assert [remark.about for remark in status.remarks or ()] == ["statuses", "claims"]


async def test_a_wait_that_cannot_be_measured_says_so_at_the_start_and_in_its_reason(
    scene: Scene, tmp_path: Path
) -> None:
    await scene.queue.execute("CREATE VIEW jobs AS SELECT 'pending' AS status")
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(
        "interval: 10s\nworkers:\n  generation-worker:\n    service: ${RAILWAY_WORKER_SERVICE_ID}\n"
        "    queue: {table: jobs}\n    target_wait: 60s\n    max_replicas: 5\n"
    )
    async with scene.controller() as driven:
        cycle = await driven.tick()
        await driven.tick()
    (event,) = scene.events("service_time_unmeasurable")
    why = "because jobs has no time column started_at and no time column completed_at (or finished_at)"
    assert why in event["message"]
    assert event["message"].endswith("write service_time")
    assert Reason.SERVICE_TIME_UNKNOWN in [because.reason for because in cycle.because]
    assert f"cannot be measured, {why} (write service_time)" in cycle.message


async def test_doctor_asks_the_journal_too_whether_jobs_were_ever_seen(
    scene: Scene, jobs_policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_reach, "_QUIET_S", 0.05)  # which is not what this is about
    await scene.queue.execute(UNNAMED)
    await scene.queue.execute("INSERT INTO jobs VALUES ('queued')")

    async def levels() -> dict[str, Level]:
        found = (await examine(configure(jobs_policy, scene.environment))).workers[WORKER]
        return {finding.about: finding.level for finding in found}

    assert (await levels())["queue"] is Level.ERROR
    await scene.queue.execute("UPDATE jobs SET status = 'pending'")
    async with scene.controller() as driven:
        await driven.tick()
    await scene.queue.execute("UPDATE jobs SET status = 'queued'")
    assert ((await levels())["queue"], (await levels())["statuses"]) == (Level.OK, Level.WARNING)
