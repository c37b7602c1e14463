"""How long a job takes, which a controller finds out; and what is measured, in a whole controller."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.cli import explain_text
from controller.cli.explain import Explanation
from controller.core.model import QueueDepth, ServiceTime
from controller.core.ports import DepthRequest, NotMeasurable, Unavailable
from controller.core.reasons import Reason
from controller.loop.cycle import Cycle, Outcome
from controller.loop.measurements import JobTime
from controller.loop.reconciler import Explained
from controller.policy import Queue, WorkerPolicy
from tests.support.patience import until
from tests.support.scene import WORKER, Driven, Scene, set_scene
from tests.support.sources import POSTGRESQL, RAILWAY

AIM = {"service": "svc", "queue": {"table": "job"}, "target_wait": "60s", "max_replicas": 5}
TEXT = """
workers:
  generation-worker:
    service: ${RAILWAY_WORKER_SERVICE_ID}
    queue: {table: generation_job}
    target_wait: 60s
    max_replicas: 5
"""


@dataclass
class Watch:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@dataclass
class Jobs:
    """Says one after the other how long a job takes; a text: why it cannot be read."""

    source = POSTGRESQL

    answers: list[ServiceTime | str | None]
    events: list[str] = field(default_factory=list)

    async def service_time(self, queue: Queue) -> ServiceTime | None:
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise Unavailable(POSTGRESQL, answer)
        return answer

    def depths(self, requests: Mapping[str, DepthRequest]) -> AsyncIterator[tuple[str, QueueDepth | Unavailable]]:
        raise AssertionError("not used here")

    async def close(self) -> None: ...

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append(event)


def job_time(jobs: Jobs, clock: Watch, **changes: object) -> JobTime:
    return JobTime("w", WorkerPolicy.model_validate({**AIM, **changes}), jobs, clock, jobs.report)


def of(seconds: float) -> ServiceTime:
    return ServiceTime(seconds, seconds, 500)


# --- how long a job takes ---


async def test_the_log_says_once_why_a_promise_cannot_be_measured() -> None:
    promised = {key: value for key, value in AIM.items() if key != "target_wait"}
    policy = WorkerPolicy.model_validate({**promised, "slo": {"wait": "60s", "share": "99%"}})
    blind = ServiceTime(20.0, 20.0, 9, no_waits="job has no time column created_at")
    jobs, clock = Jobs([None, blind, blind, of(20), blind]), Watch()
    known = JobTime("w", policy, jobs, clock, jobs.report)
    said = []
    for _ in range(5):
        await known.read()
        said.append(len(jobs.events))
        clock.now += 60
    assert jobs.events == ["slo_unmeasurable", "slo_unmeasurable"]
    assert said == [0, 1, 1, 1, 2]


async def test_a_table_without_times_is_reported_as_what_a_promise_lacks() -> None:
    class Blind(Jobs):
        async def service_time(self, queue: Queue) -> ServiceTime | None:
            raise NotMeasurable(POSTGRESQL, "job has no time column started_at")

    promised = {key: value for key, value in AIM.items() if key != "target_wait"}
    policy = WorkerPolicy.model_validate({**promised, "slo": {"wait": "60s", "share": "99%"}})
    jobs, clock = Blind([]), Watch()
    await JobTime("w", policy, jobs, clock, jobs.report).read()
    assert jobs.events == ["slo_unmeasurable"]


async def test_how_long_a_job_takes_is_read_once_a_minute() -> None:
    jobs, clock = Jobs([of(20), of(30)]), Watch()
    known = job_time(jobs, clock)
    assert known.known is None
    assert [await known.read() for _ in range(3)] == [of(20)] * 3
    clock.now += 59.9
    assert await known.read() == of(20)
    clock.now += 0.1
    assert await known.read() == known.known == of(30)


async def test_what_cannot_be_read_stays_as_it_was_known_and_the_log_says_so_once_a_minute() -> None:
    jobs, clock = Jobs(["is away", of(20), "is away", "is away", None]), Watch()
    known = job_time(jobs, clock)
    assert await known.read() is None
    for _ in range(4):
        clock.now += 60
        assert await known.read() == of(20)
    assert jobs.events == ["service_time_unreadable"] * 3
    assert jobs.answers == []


async def test_what_the_policy_says_overrides_and_nothing_is_read() -> None:
    assert await job_time(Jobs([]), Watch(), service_time="12s").read() == ServiceTime(12, 12, 0)


async def test_by_tiers_the_time_per_job_is_not_read() -> None:
    assert await job_time(Jobs([]), Watch(), target_wait=None, tiers=[{"replicas": 1}]).read() is None


# --- in a whole controller ---


@pytest.fixture
async def aiming(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A tenth of Railway's pace: slow enough for a reading to show workers that start."""
    async with set_scene(database_url, redis_url, pace=0.1) as scene:
        scene.policy = tmp_path / "policy.yaml"
        scene.policy.write_text(TEXT)
        yield scene


async def done(scene: Scene, count: int, seconds: float) -> None:
    await scene.queue.execute(
        "INSERT INTO generation_job (status, started_at, completed_at) "
        "SELECT 'completed', now() - %s * interval '1 s', now() FROM generate_series(1, %s)",
        (seconds, count),
    )


async def all_run(scene: Scene, driven: Driven) -> None:
    """Ticks until all requested workers run."""

    async def run() -> bool:
        replicas = (await driven.tick()).replicas
        return replicas is not None and 0 < replicas.configured <= replicas.running

    await until(run, "all requested workers to run")


@pytest.mark.costly
async def test_one_worker_finds_out_how_long_a_job_takes_and_then_the_wait_is_aimed_at(
    aiming: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await aiming.jobs(13)
    async with aiming.controller() as driven:
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.SERVICE_TIME_UNKNOWN)
        assert (cycle.line()["service_time_s"], cycle.line()["target_wait_s"]) == (None, 60)
        await done(aiming, 3, 20)
        await all_run(aiming, driven)
        assert (await driven.tick()).reason is Reason.SERVICE_TIME_UNKNOWN, "it is read once a minute"
        monkeypatch.setattr("controller.loop.measurements._READ_AGAIN_S", 0)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason, cycle.line()["service_time_s"]) == (
            Outcome.APPLIED,
            Reason.TARGET_WAIT,
            20,
        )
        assert cycle.message.startswith("13 jobs (13 pending, 0 processing) of 20 s each want 4 workers for a wait of")
    assert aiming.asked_for == [4], "the first comes by a restart"


async def test_a_service_time_that_cannot_be_read_fails_no_cycle(
    aiming: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: Queue) -> ServiceTime | None:
        raise Unavailable(POSTGRESQL, "took too long")

    await aiming.jobs(13)
    async with aiming.controller() as driven:
        monkeypatch.setattr(driven.controller.queue, "service_time", away)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.SERVICE_TIME_UNKNOWN)
    (event,) = aiming.events("service_time_unreadable")
    assert (event["worker"], event["message"]) == (WORKER, "PostgreSQL: took too long")


async def test_how_long_a_start_takes_outlasts_a_restart_and_says_when_a_worker_goes(aiming: Scene) -> None:
    aiming.policy.write_text(TEXT.replace("target_wait: 60s", "target_wait: 60s\n    service_time: 20s"))
    await aiming.jobs(13)
    began = time.monotonic()
    async with aiming.controller() as driven:
        assert (await driven.tick()).outcome is Outcome.APPLIED
        await all_run(aiming, driven)
        await driven.tick()
    key = await aiming.journal_key()
    took = int(await aiming.redis.hget(key, "start_up") or 0)
    assert 100 < took < 1000 * (time.monotonic() - began)
    assert await aiming.redis.hget(key, "start_ups") == str(took)
    await aiming.redis.hset(key, "start_ups", "10000 30000 40000")
    async with aiming.controller() as driven:
        recalled = await driven.controller.ports.journal.recall(WORKER)
        assert recalled.history.start_up_s == 30
        await aiming.let_time_pass(1)
        await aiming.redis.hset(key, "unbroken_since", str(round((recalled.now - 40) * 1000)))
        await aiming.jobs(0)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.IDLE_OFF)
        # 30 s, and the waits of a wrong stop: 30 s · 4 s / 60 s.
        assert "4 workers were needed within the last 32 s, and are kept so long because a stop" in cycle.message


async def test_a_quick_check_goes_by_what_is_known_and_reads_the_queue_alone(
    aiming: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done(aiming, 3, 20)
    async with aiming.controller() as driven:
        assert (await driven.tick()).outcome is Outcome.HELD
        monkeypatch.setattr("controller.loop.measurements._READ_AGAIN_S", 0)
        monkeypatch.setattr(driven.controller.queue, "service_time", None)
        seen = await driven.quick_check()
        assert getattr(seen, "service", None) == ServiceTime(pytest.approx(20), pytest.approx(20), 3)  # type: ignore[arg-type]
        await aiming.jobs(5)
        assert await driven.quick_check() is None, "two workers are wanted: a pass of its own"


async def test_what_quick_checks_saw_is_written_by_the_next_pass(aiming: Scene) -> None:
    """Jobs shorter than the interval are seen only by quick checks, and their worker has to stay."""
    text = TEXT.replace("target_wait: 60s", "target_wait: 60s\n    service_time: 20s\n    min_replicas: 1")
    aiming.policy.write_text(text)
    async with aiming.controller() as driven:
        await driven.tick()
        await all_run(aiming, driven)
        for jobs in (1, 3, 0):
            await aiming.jobs(jobs)
            assert isinstance(await driven.quick_check(), Cycle)
        key = await aiming.journal_key()
        before = str(await aiming.redis.hget(key, "wants"))
        await driven.tick()
        recalled = await driven.controller.ports.journal.recall(WORKER)
    assert [one.replicas for one in recalled.history.recommendations] == [1, 0]
    assert before.endswith(":0"), "a quick check writes nothing"


async def test_what_quick_checks_saw_outlasts_a_pass_that_cannot_read_the_platform(
    aiming: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> object:
        raise Unavailable(RAILWAY, "is away")

    text = TEXT.replace("target_wait: 60s", "target_wait: 60s\n    service_time: 20s\n    min_replicas: 1")
    aiming.policy.write_text(text)
    async with aiming.controller() as driven:
        await driven.tick()
        await all_run(aiming, driven)
        await driven.tick()
        await aiming.jobs(1)
        assert isinstance(await driven.quick_check(), Cycle)
        await aiming.jobs(0)
        with monkeypatch.context() as patch:
            patch.setattr(driven.controller.platforms.opened("service"), "observe", away)
            assert (await driven.tick()).outcome is Outcome.FAILED
        await driven.tick()
        recalled = await driven.controller.ports.journal.recall(WORKER)
    assert [one.replicas for one in recalled.history.recommendations] == [1, 0]


async def test_explain_says_what_is_aimed_at_and_by_what(aiming: Scene) -> None:
    await aiming.jobs(13)
    await done(aiming, 3, 20)
    async with aiming.controller() as driven:
        cycle, steps = await driven.explain()
    assert ("aim", "a wait of 1 min; a job takes 20 s, by the newest 3 (median 20 s)") in explain_text.seen(
        Explanation(Explained(cycle, steps), {"": None}, "Railway")
    )
    assert any(rule == "tier or target wait" for rule, _, _ in explain_text.turns(steps))
