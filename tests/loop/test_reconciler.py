"""One tick at a time, with everything real but Railway: what is sent, what is not, and what the log says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from controller.core.history import recorded
from controller.core.model import Change, RateUsage, ServiceState
from controller.core.reasons import Reason
from controller.fake_railway import FakeRailway, Mode, NoProcesses, Place, Timings
from controller.fake_railway.processes import SimulatedProcess
from controller.loop.cycle import Outcome
from tests.support.examples import examples, some
from tests.support.patience import until, until_equal
from tests.support.scene import LEASE_S, POLICY, WORKER, Driven, LaterClock, Scene

NEARLY_A_LEASE_S = LEASE_S - 40
"""So long after it was got, a lease still holds, and does not outlast another request."""
SHORT = {"SCALE_UP_COOLDOWN_MS": "0", "SCALE_DOWN_COOLDOWN_MS": "0"}


Write = Callable[[], Awaitable[Any]]


@contextmanager
def writing(driven: Driven, otherwise: Callable[[Write], Awaitable[Any]]) -> Iterator[None]:
    """Meanwhile `otherwise` decides what becomes of each write of the journal, and of its answer."""
    journal = driven.controller.journal
    write = journal._write

    async def instead(**arguments: Any) -> Any:
        return await otherwise(lambda: write(**arguments))

    journal._write = instead  # type: ignore[assignment]  # a script, but for this
    try:
        yield
    finally:
        journal._write = write


async def settled(scene: Scene, configured: int) -> None:
    """Until the fake shows this many running."""
    await until_equal(lambda: scene.fake.worker.running, configured)


@pytest.fixture
async def driven(scene: Scene) -> AsyncIterator[Driven]:
    async with scene.controller() as controller:
        yield controller


async def test_a_first_start_on_an_empty_redis_scales_up_in_its_first_cycle(scene: Scene, driven: Driven) -> None:
    await scene.jobs(10, processing=5)
    cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.TIER)
    assert scene.asked_for == [2]
    await settled(scene, 2)


@pytest.mark.parametrize(
    ("depth", "replicas"),
    # The rule at each bound: tests/core/test_decide.py.
    some(
        [(0, 0), (1, 1), (10, 1), (30, 2), (11, 2), (60, 3), (31, 3), (100, 4), (61, 4), (1000, 5), (101, 5)], every=2
    ),
)
async def test_the_depth_of_a_real_table_becomes_replicas(
    scene: Scene, driven: Driven, depth: int, replicas: int
) -> None:
    await scene.jobs(depth - depth // 3, processing=depth // 3)
    cycle = await driven.tick()
    assert cycle.decision is not None
    assert cycle.decision.desired == replicas
    await settled(scene, replicas)


async def test_an_emptied_queue_goes_to_zero_by_a_stop_and_comes_back_by_a_restart(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        await driven.tick()
        await settled(scene, 2)
        await scene.jobs(0)
        await driven.tick()
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        await settled(scene, 0)
        await scene.jobs(5)
        await driven.tick()
        await settled(scene, 1)
    assert scene.sent == [
        *("serviceInstanceUpdate", "deploymentRestart"),
        "deploymentStop",
        *("serviceInstanceUpdate", "deploymentRestart"),
    ]
    assert 0 not in scene.asked_for


async def test_idle_cycles_send_nothing_however_many(scene: Scene, driven: Driven) -> None:
    for _ in range(examples(8, 600)):
        assert (await driven.tick()).outcome is Outcome.HELD
    assert scene.sent == []


async def test_a_restart_in_the_middle_of_a_cooldown_changes_nothing(scene: Scene) -> None:
    await scene.jobs(20)
    async with scene.controller() as first:
        await first.tick()
        await settled(scene, 2)
    await scene.jobs(200)
    async with scene.controller() as second:
        await second.tick()
        cycle = await second.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.SCALE_UP_COOLDOWN)
        await scene.let_time_pass(30)
        assert (await second.tick()).outcome is Outcome.APPLIED
    assert scene.asked_for == [2, 5]


async def test_going_down_waits_for_the_last_scale_up(scene: Scene, driven: Driven) -> None:
    await scene.jobs(20)
    await driven.tick()
    await settled(scene, 2)
    await scene.jobs(1)
    await scene.let_time_pass(115)
    assert (await driven.tick()).reason is Reason.SCALE_DOWN_COOLDOWN
    await scene.let_time_pass(10)
    assert (await driven.tick()).outcome is Outcome.APPLIED
    assert scene.asked_for == [2, 1]


async def test_a_count_outside_the_limits_is_corrected_at_once(scene: Scene) -> None:
    async with scene.controller() as driven:
        await scene.jobs(20)
        await driven.tick()
        await settled(scene, 2)
        await driven.tick()
    async with scene.controller({"MAX_WORKERS": "1"}) as driven:
        cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.ABOVE_MAXIMUM)
    assert scene.asked_for == [2, 1]


@pytest.mark.parametrize("fault", ["502", "cloudflare", "problem", "null", "not_authorized"])
async def test_a_reading_of_railway_that_fails_changes_nothing(scene: Scene, driven: Driven, fault: str) -> None:
    scene.fake.inject(fault, times=99, on="query", retry_after=60)
    await scene.jobs(500)
    cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.PLATFORM_UNAVAILABLE)
    assert cycle.queue is not None
    assert cycle.line()["configured"] is None
    assert scene.sent == []


async def test_a_passing_fault_of_a_reading_is_tried_again(scene: Scene, driven: Driven) -> None:
    scene.fake.inject("502", times=2, on="query")
    await scene.jobs(5)
    assert (await driven.tick()).outcome is Outcome.APPLIED


async def test_a_queue_that_cannot_be_read_is_not_an_empty_queue(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        await driven.tick()
        await settled(scene, 2)
        await driven.tick()
        sent = list(scene.sent)
        await scene.queue.execute("ALTER TABLE generation_job RENAME TO elsewhere")
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.QUEUE_UNAVAILABLE)
        assert cycle.line()["depth"] is None
        await scene.queue.execute("ALTER TABLE elsewhere RENAME TO generation_job")
        assert (await driven.tick()).outcome is Outcome.HELD
    assert scene.sent == sent


async def test_an_answer_that_was_lost_is_not_asked_again_and_the_next_reading_tells(scene: Scene) -> None:
    scene.fake.by_hand(replicas=1)
    await settled(scene, 1)
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        scene.fake.inject("lost", on="mutation")
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNKNOWN)
        await settled(scene, 2)
        assert (await driven.tick()).outcome is Outcome.HELD
    (event,) = scene.events("intent_settled")
    assert event["message"].endswith("Railway shows 2 workers, so the change was made")
    assert scene.asked_for == [2]


async def test_a_true_that_is_not_honoured_is_reported_and_not_sent_in_a_loop(scene: Scene) -> None:
    scene.fake.by_hand(replicas=1)
    await settled(scene, 1)
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        scene.fake.inject("not_honoured", on="mutation")
        assert (await driven.tick()).message.endswith("1 → 2 (accepted, and not visible yet)")
        for _ in range(5):
            assert (await driven.tick()).reason is Reason.INTENT_OPEN
        assert scene.asked_for == [2]
        await scene.let_time_pass(61)
        assert (await driven.tick()).reason is Reason.BACKING_OFF
        await scene.let_time_pass(31)
        assert (await driven.tick()).outcome is Outcome.APPLIED
    assert scene.asked_for == [2, 2]
    (event,) = scene.events("not_honoured")
    assert "1 → 2 was accepted" in event["message"]


async def test_replicas_that_were_accepted_and_do_not_run_are_reported_once_and_not_asked_again(scene: Scene) -> None:
    scene.fake.by_hand(replicas=1)
    await settled(scene, 1)
    scene.fake.worker.switches.mode = Mode.ACCEPTED_NOT_HONOURED
    async with scene.controller(SHORT) as driven:
        await scene.jobs(200)
        await driven.tick()
        await driven.tick_until(Outcome.HELD, Reason.TIER)

        async def shows() -> bool:
            return "(1 crashed)" in (await driven.tick()).message

        await until(shows, "the crash of the one that was started")
        await scene.let_time_pass(61)
        for _ in range(3):
            await driven.tick()
    (event,) = scene.events("not_honoured")
    assert event["message"].startswith("1 of 5 workers run (1 crashed) for ")
    line = scene.events("reconcile")[-1]
    assert "1 of 5 workers run (1 crashed)" in line["message"]
    assert line["reasons"] == ["Tier", "WorkersMissing"]
    assert scene.asked_for == [5]


@pytest.mark.parametrize("environment", [{}, {"MIN_WORKERS": "1"}], ids=["by the tier", "by a correction"])
async def test_a_refused_change_names_the_variable_and_is_asked_again_only_after_a_pause(
    scene: Scene, environment: dict[str, str]
) -> None:
    async with scene.controller(environment) as driven:
        await scene.jobs(11)
        scene.fake.inject("not_authorized", on="mutation")
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.SCALE_FAILED)
        assert "RAILWAY_API_TOKEN" in cycle.message
        for _ in range(3):
            cycle = await driven.tick()
            assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.BACKING_OFF)
        assert len(scene.sent) == 1
        await scene.let_time_pass(31)
        assert (await driven.tick()).outcome is Outcome.APPLIED


async def test_a_change_that_was_turned_away_by_429_costs_no_cooldown(scene: Scene) -> None:
    scene.fake.by_hand(replicas=1)
    await settled(scene, 1)
    async with scene.controller() as driven:
        await scene.jobs(20)
        scene.fake.inject("429", on="mutation", retry_after=1)
        assert (await driven.tick()).reason is Reason.SCALE_FAILED
        assert (await driven.tick()).outcome is Outcome.APPLIED  # after the second that Railway asked for
    assert scene.asked_for[-1] == 2


async def test_an_external_change_is_noticed_and_starts_the_cooldowns(scene: Scene, driven: Driven) -> None:
    await driven.tick()
    await scene.let_time_pass(500)
    scene.fake.by_hand(replicas=4)
    await settled(scene, 4)
    cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.SCALE_DOWN_COOLDOWN)
    (event,) = scene.events("external_change")
    assert (event["before"], event["after"]) == (0, 4)
    await driven.tick()
    assert len(scene.events("external_change")) == 1


async def test_a_person_s_scale_down_is_not_undone_in_the_same_breath(scene: Scene, driven: Driven) -> None:
    await scene.jobs(500)
    await driven.tick()
    await settled(scene, 5)
    await driven.tick()
    await scene.let_time_pass(500)
    scene.fake.by_hand(replicas=2)
    await settled(scene, 2)
    explained, _ = await driven.explain()
    assert explained.reason is Reason.SCALE_UP_COOLDOWN
    assert (await driven.tick()).reason is Reason.SCALE_UP_COOLDOWN


async def test_a_deployment_in_progress_is_not_stopped_and_nothing_fails(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        await driven.tick()
        await settled(scene, 2)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        sent = len(scene.sent)
        scene.fake.by_hand(deploy=True)
        await scene.jobs(0)
        assert (await driven.tick()).reason is Reason.DEPLOYING
        assert len(scene.sent) == sent
        await driven.tick_until(Outcome.APPLIED, Reason.TIER)
    assert scene.sent[-1] == "deploymentStop"


async def test_a_usage_that_cannot_be_read_adds_no_worker_and_stops_nothing_else(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        await scene.jobs(5)
        await driven.tick()
        await settled(scene, 1)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        await scene.count_requests("many")
        await scene.jobs(500)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason, cycle.rate) == (Outcome.HELD, Reason.RATE_UNKNOWN, None)
        assert "does not hold a number; workers must count with INCR" in cycle.message
        assert scene.events("rate_unreadable")
        await scene.jobs(0)
        assert (await driven.tick()).outcome is Outcome.APPLIED
        await settled(scene, 0)
        await scene.jobs(5)
    async with scene.controller({**SHORT, "MIN_WORKERS": "1"}) as driven:
        cycle = await driven.tick_until(Outcome.APPLIED, Reason.BELOW_MINIMUM)
        assert cycle.rate is None
        await settled(scene, 1)


async def test_a_minute_whose_requests_are_used_up_adds_no_worker_and_stops_nothing_else(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        await scene.jobs(5)
        await driven.tick()
        await settled(scene, 1)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        await scene.jobs(15)
        await scene.count_requests(60)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason, cycle.rate) == (Outcome.HELD, Reason.RATE_LIMIT, RateUsage(60, 60))
        assert cycle.message.endswith("60 of 60 requests are used in this minute, so more workers could not go faster")
        explained, steps = await driven.explain()
        assert (explained.message, explained.rate) == (cycle.message, cycle.rate)
        assert [(step.rule, step.desired) for step in steps if step.because] == [
            ("tier or target wait", 2),
            ("rate limit", 1),
        ]
        await scene.count_requests(59)
        assert (await driven.tick()).outcome is Outcome.APPLIED
        await settled(scene, 2)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        await scene.count_requests(60)
        await scene.jobs(0)
        assert (await driven.tick()).outcome is Outcome.APPLIED
        await settled(scene, 0)


async def test_workers_that_the_work_needs_stay_until_it_is_done(scene: Scene, tmp_path: Path) -> None:
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(POLICY.read_text().replace("    rate_limit:", "    jobs_per_worker: 3\n    rate_limit:"))
    async with scene.controller(SHORT) as driven:
        await scene.jobs(100)
        await driven.tick()
        await settled(scene, 4)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        await scene.jobs(0, processing=10)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.BUSY)
        explained, steps = await driven.explain()
        assert (explained.message, [step.rule for step in steps if step.because][-1]) == (
            cycle.message,
            "busy workers",
        )
        await scene.jobs(0, processing=4)
        assert (await driven.tick()).reason is Reason.BUSY
        await settled(scene, 2)
        await driven.tick_until(Outcome.HELD, Reason.BUSY)
        await scene.jobs(0)
        await driven.tick()
        await settled(scene, 0)
    assert scene.asked_for == [4, 2], "the last was a stop"


async def test_an_intent_that_was_written_down_and_never_sent_holds_for_the_landing_bound_and_no_longer(
    scene: Scene, driven: Driven
) -> None:
    """As a kill -9 between the two would leave it; the restart comes an hour later."""
    await driven.tick()
    journal = driven.controller.journal
    recalled = await journal.recall(WORKER)
    change = Change("of a leader that died", driven.lease.epoch, 0, 3, recalled.now)
    after = recorded(recalled.history, change, recalled.now)
    await journal.write(WORKER, recalled, after, driven.lease, now=recalled.now)
    await scene.jobs(50)
    assert (await driven.tick()).reason is Reason.INTENT_OPEN
    await scene.let_time_pass(3600)
    assert (await driven.tick()).reason is Reason.SCALE_UP_COOLDOWN  # it may have been sent, and have landed just now
    await scene.let_time_pass(31)
    assert (await driven.tick()).outcome is Outcome.APPLIED


async def test_nothing_more_is_sent_once_the_lease_has_run_out_between_two_steps(scene: Scene) -> None:
    """The lease is not renewed here: after the first of two requests, too little of it is left for the second."""
    await scene.jobs(20)
    async with scene.controller(clock=LaterClock(lambda: NEARLY_A_LEASE_S if scene.sent else 0.0)) as driven:
        cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNKNOWN)
    assert "received only a part of the change: the lease expired before DeploymentRestart" in cycle.message
    assert scene.sent == ["serviceInstanceUpdate"]


async def test_a_lease_with_too_little_left_sends_nothing_and_gives_the_cooldown_back(scene: Scene) -> None:
    await scene.jobs(20)
    gone_by = 0.0
    async with scene.controller(clock=LaterClock(lambda: gone_by)) as driven:
        gone_by = NEARLY_A_LEASE_S
        driven.controller.status.turned()  # the loop has not stood still meanwhile
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.FENCED, Reason.LEASE_LOST)
        await driven.controller.leadership.turn()
        assert (await driven.tick()).outcome is Outcome.APPLIED


async def test_a_new_deployment_never_comes_up_with_another_count_than_was_wanted(scene: Scene, driven: Driven) -> None:
    """The count is set again just before it, even where the service seems to have it already."""
    scene.fake.worker.switches.not_restartable = True
    scene.fake.worker.switches.deploy_resets_replicas = True
    await scene.jobs(5)
    assert (await driven.tick()).outcome is Outcome.APPLIED
    assert scene.sent == ["deploymentRestart", "serviceInstanceUpdate", "serviceInstanceDeployV2"]


async def test_nothing_is_sent_once_the_lease_is_another_replica_s(scene: Scene, driven: Driven) -> None:
    await scene.jobs(20)
    key = (await scene.journal_key()).replace(f"worker:{WORKER}", "lease")
    await scene.redis.set(key, "another", px=600_000)
    cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.FENCED, Reason.LEASE_LOST)
    assert scene.sent == []


async def test_without_redis_it_looks_on_and_changes_nothing(scene: Scene, driven: Driven) -> None:
    await scene.jobs(20)
    (cycle,) = await driven.controller.runner.tick(None)
    assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.JOURNAL_UNAVAILABLE)
    assert (cycle.line()["depth"], cycle.line()["configured"]) == (20, 0)
    assert scene.sent == []


async def test_a_restart_that_is_refused_becomes_a_new_deployment(scene: Scene, driven: Driven) -> None:
    await scene.jobs(5)
    scene.fake.worker.switches.not_restartable = True
    assert (await driven.tick()).outcome is Outcome.APPLIED
    assert (scene.sent[0], scene.sent[-1]) == ("deploymentRestart", "serviceInstanceDeployV2")
    await settled(scene, 1)


async def test_a_restart_that_met_a_failure_of_railway_s_own_becomes_a_new_deployment(
    scene: Scene, driven: Driven
) -> None:
    await scene.jobs(5)
    scene.fake.inject("problem", on="deploymentRestart")
    assert (await driven.tick()).outcome is Outcome.APPLIED
    assert (scene.sent[0], scene.sent[-1]) == ("deploymentRestart", "serviceInstanceDeployV2")
    await settled(scene, 1)


async def test_a_change_that_met_a_failure_of_railway_s_own_may_have_happened(scene: Scene, driven: Driven) -> None:
    await scene.jobs(50)
    scene.fake.inject("problem", on="serviceInstanceUpdate")
    assert (await driven.tick()).outcome is Outcome.UNKNOWN
    assert (await driven.tick()).reason is Reason.INTENT_OPEN
    assert scene.sent == ["serviceInstanceUpdate"]


async def test_a_dry_run_says_what_it_would_do_and_leaves_no_trace(scene: Scene) -> None:
    await scene.jobs(20)
    async with scene.controller(dry_run=True) as driven:
        cycle = await driven.tick()
        await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.DRY_RUN)
    assert "would scale: 20 jobs (20 pending, 0 processing) want 2 workers: 0 → 2" in cycle.message
    assert scene.sent == []
    assert await scene.redis.keys("*") == []


async def test_a_dry_run_beside_a_running_controller_counts_from_its_cooldowns(scene: Scene, driven: Driven) -> None:
    await scene.jobs(20)
    await driven.tick()
    await settled(scene, 2)
    await scene.jobs(200)
    async with scene.controller(dry_run=True) as dry:
        assert (await dry.tick()).reason is Reason.SCALE_UP_COOLDOWN


async def test_a_service_that_was_never_deployed_fails_with_what_to_do(scene: Scene, driven: Driven) -> None:
    scene.fake.by_hand(never_deployed=True)
    await scene.jobs(5)
    cycle = await driven.tick()
    assert cycle.outcome is Outcome.FAILED
    assert "service worker was never deployed; deploy it once" in cycle.message
    assert scene.sent == []


async def test_a_service_that_is_not_there_fails_with_the_ids_that_are(scene: Scene) -> None:
    await scene.jobs(5)
    async with scene.controller({"RAILWAY_WORKER_SERVICE_ID": "nope"}) as driven:
        cycle = await driven.tick()
    assert cycle.outcome is Outcome.FAILED
    assert f"worker is {scene.fake.worker.id}" in cycle.message
    assert scene.sent == []


async def test_a_sleeping_service_is_woken_by_a_new_deployment(scene: Scene, driven: Driven) -> None:
    scene.fake.by_hand(sleeping=True)
    await scene.jobs(20)
    cycle = await driven.tick()
    assert cycle.replicas is not None
    assert (cycle.replicas.state, cycle.replicas.configured) == (ServiceState.SLEEPING, 0)
    assert scene.sent[-1] == "serviceInstanceDeployV2"
    await settled(scene, 2)


async def test_the_log_line_has_exactly_the_keys_that_people_were_promised(scene: Scene, driven: Driven) -> None:
    await scene.jobs(10, processing=5)
    await driven.tick()
    (line,) = scene.events("reconcile")
    took = line.pop("took_ms")
    assert took >= 0
    assert line.pop("at").endswith("Z")
    assert line.pop("oldest_age_s") >= 0
    assert line.pop("message").startswith("15 jobs (10 pending, 5 processing) want 2 workers: 0 → 2")
    assert line == {
        "level": "info",
        "event": "reconcile",
        "worker": WORKER,
        "outcome": "applied",
        "epoch": driven.lease.epoch,
        "pending": 10,
        "processing": 5,
        "depth": 15,
        "configured": 0,
        "running": 0,
        "recommended": 2,
        "desired": 2,
        "direction": "up",
        "reason": "Tier",
        "reasons": ["Tier"],
        "rpm_used": 0,
        "rpm_limit": 60,
    }


class ShareWatch(NoProcesses):
    """Notes, whenever an instance starts, what its share says; those that are told to end do so at finish()."""

    def __init__(self) -> None:
        super().__init__(stubborn=True)
        self.read: list[int] = []
        self.share: Callable[[], int] = lambda: 0

    async def start(self, place: Place) -> SimulatedProcess:
        self.read.append(self.share())
        return await super().start(place)

    def finish(self) -> None:
        for process in self.started.values():
            if process.signals:
                process.exit(0)


@pytest.mark.costly
async def test_shares_never_add_up_to_more_than_the_limit(scene: Scene, redis_url: str) -> None:
    """Each reading of the share, at any moment, times the instances that may use it, stays within the limit."""
    import redis

    launcher = ShareWatch()
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        launcher.share = lambda: int(str(client.get("worker:config:per_worker_rpm")))
        async with FakeRailway.create(
            0, launcher=launcher, timings=Timings().scaled(0.01), deploy={"drainingSeconds": 360_000}
        ) as fake:
            drawn = Scene(fake, scene.queue, scene.redis, {**scene.environment, **fake.environment_variables()})
            async with drawn.controller(SHORT) as driven:
                for depth, share in ((0, 60), (20, 30), (200, 12)):
                    await drawn.jobs(depth)
                    await driven.tick()
                    assert launcher.share() == share  # before the first new instance could read it
                    await driven.tick_until(Outcome.HELD, Reason.TIER)
                await settled(drawn, 5)
                await drawn.jobs(40)
                await driven.tick()
                await driven.tick_until(Outcome.HELD, Reason.TIER)
                assert launcher.share() == 12  # three are configured, and five still work
                launcher.finish()
                while (await driven.tick()).replicas.alive > 3:  # type: ignore[union-attr]  # it was read
                    assert launcher.share() == 12
                assert launcher.share() == 20
    assert launcher.read == [30, 30, 12, 12, 12]
    assert [await scene.redis.get(f"worker:config:{name}") for name in ("rpm_limit", "max_workers")] == ["60", "5"]


async def test_a_stop_that_is_never_shown_leaves_no_job_waiting_for_ever(scene: Scene) -> None:
    """Railway accepts the stop and goes on showing one replica that runs, while no worker runs."""
    scene.fake.by_hand(replicas=1)
    await settled(scene, 1)
    scene.fake.worker.switches.never_report_stop = True
    async with scene.controller(SHORT) as driven:
        assert (await driven.tick()).message.endswith("1 → 0 (accepted, and not visible yet)")
        assert (await driven.tick()).reason is Reason.INTENT_OPEN
        await scene.let_time_pass(61)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.BACKING_OFF)
        await scene.let_time_pass(61)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.NOT_HONOURED)
        assert scene.sent == ["deploymentStop"], "it has most likely happened: asked for again only now and then"
        await scene.jobs(1)
        assert (await driven.tick()).message == "1 job (1 pending, 0 processing) wants 1 worker: 0 → 1"
        assert scene.sent == ["deploymentStop", "deploymentRestart"]
        for _ in range(3):
            assert (await driven.tick()).outcome is Outcome.HELD
        assert scene.sent == ["deploymentStop", "deploymentRestart"], "the restart is given the time to work"
        await scene.jobs(1, processing=1)
        await driven.tick()
        await scene.let_time_pass(61)
        await scene.jobs(1)
        await driven.tick()
        assert scene.sent == ["deploymentStop", "deploymentRestart"], "a job was in progress: no stop is sent any more"


async def test_a_stop_that_is_never_shown_is_asked_for_again_after_a_long_while(scene: Scene) -> None:
    scene.fake.by_hand(replicas=1)
    await settled(scene, 1)
    scene.fake.worker.switches.never_report_stop = True
    async with scene.controller(SHORT) as driven:
        await driven.tick()
        await scene.let_time_pass(61)
        await driven.tick()
        await scene.let_time_pass(601)
        await driven.tick()
    assert scene.sent == ["deploymentStop", "deploymentStop"]


async def test_an_intent_whose_writing_down_was_not_answered_is_known_to_be_unsent(
    scene: Scene, driven: Driven
) -> None:
    """Redis took it and the answer was lost: no wait is needed for a change that was never sent."""
    await scene.jobs(20)
    times: list[Any] = []

    async def write_and_lose_the_answer(write: Write) -> Any:
        times.append(await write())
        raise RedisTimeoutError("the answer was lost")

    with writing(driven, write_and_lose_the_answer):
        cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason, scene.sent) == (Outcome.FAILED, Reason.JOURNAL_UNAVAILABLE, [])
    assert len(times) == 1
    assert (await driven.tick()).outcome is Outcome.APPLIED
    (event,) = scene.events("intent_settled")
    assert event["message"].endswith("nothing of it was sent")


async def test_a_change_that_is_known_to_be_unsent_stays_so_while_redis_takes_no_write(
    scene: Scene, driven: Driven
) -> None:
    """The answer to the first write is lost, the second is not executed: the third closes the first change at once."""
    await scene.jobs(20)
    executed = iter((True, False))

    async def fail(write: Write) -> Any:
        if next(executed):
            await write()
        raise RedisTimeoutError("no answer")

    with writing(driven, fail):
        for _ in range(2):
            assert (await driven.tick()).reason is Reason.JOURNAL_UNAVAILABLE
    assert (await driven.tick()).outcome is Outcome.APPLIED
    assert all(event["message"].endswith("nothing of it was sent") for event in scene.events("intent_settled"))


async def test_a_change_that_railway_refused_and_that_could_not_be_closed_is_closed_as_unsent_later(
    scene: Scene, driven: Driven
) -> None:
    await scene.jobs(20)
    written: list[bool] = []

    async def only_the_first(write: Write) -> Any:
        written.append(True)
        if len(written) > 1:
            raise RedisTimeoutError("no answer")
        return await write()

    scene.fake.inject("not_authorized", on="mutation")
    with writing(driven, only_the_first):
        assert (await driven.tick()).outcome is Outcome.FAILED
    assert len(written) == 2
    await driven.tick()
    (event,) = scene.events("intent_settled")
    assert event["message"].endswith("nothing of it was sent")


async def test_an_external_change_whose_recording_was_not_answered_is_reported(scene: Scene, driven: Driven) -> None:
    await driven.tick()
    scene.fake.by_hand(replicas=2)
    await settled(scene, 2)

    async def write_and_lose_the_answer(write: Write) -> Any:
        await write()
        raise RedisTimeoutError("the answer was lost")

    with writing(driven, write_and_lose_the_answer):
        cycle = await driven.tick()
    assert (cycle.outcome, cycle.decision) == (Outcome.FAILED, None)
    await driven.tick()
    assert [event["after"] for event in scene.events("external_change")] == [2]


async def test_a_new_leader_finds_what_the_old_one_had_asked_for_and_says_what_became_of_it(scene: Scene) -> None:
    await scene.jobs(20)
    async with scene.controller() as first:
        scene.fake.inject("lost", on="deploymentRestart")
        assert (await first.tick()).outcome is Outcome.UNKNOWN
        first_epoch = first.lease.epoch
    await settled(scene, 2)
    await scene.jobs(500)
    async with scene.controller() as second:
        cycle = await second.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.SCALE_UP_COOLDOWN)
    (event,) = scene.events("intent_settled")
    assert (event["intent_epoch"], event["epoch"]) == (first_epoch, first_epoch + 1)
    assert "so the change was made" in event["message"]


BLIND = """
    on_unavailable:
      after: 5m
      at_least: 3
"""


async def test_a_queue_that_cannot_be_read_for_long_gets_the_workers_that_the_policy_says(
    scene: Scene, tmp_path: Path
) -> None:
    scene.policy = tmp_path / "policy.yaml"
    text = POLICY.read_text()
    scene.policy.write_text(text.replace("    rate_limit:", f"{BLIND.strip(chr(10))}\n    rate_limit:"))
    await scene.jobs(5)
    async with scene.controller() as driven:
        await driven.tick()
        await settled(scene, 1)
        await driven.tick()
        await scene.queue.execute("ALTER TABLE generation_job RENAME TO hidden")
        for _ in range(5):
            cycle = await driven.tick()
            assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.QUEUE_UNAVAILABLE)
        await scene.let_time_pass(301)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.FALLBACK)
        assert cycle.message.endswith("so at least 3 workers: 1 → 3")
        assert cycle.queue is None
        await settled(scene, 3)
        assert (await driven.tick()).outcome is Outcome.FAILED
        await scene.queue.execute("ALTER TABLE hidden RENAME TO generation_job")
        assert (await driven.tick()).reason is Reason.SCALE_DOWN_COOLDOWN
    assert scene.asked_for == [3], "the first was a restart"


@pytest.mark.parametrize("used", [60, "many"])
async def test_without_a_reading_of_the_queue_no_worker_is_added_either_where_no_request_is_known_to_be_left(
    scene: Scene, tmp_path: Path, used: int | str
) -> None:
    scene.policy = tmp_path / "policy.yaml"
    text = POLICY.read_text()
    scene.policy.write_text(text.replace("    rate_limit:", f"{BLIND.strip(chr(10))}\n    rate_limit:"))
    async with scene.controller() as driven:
        await driven.tick()
        await scene.queue.execute("ALTER TABLE generation_job RENAME TO hidden")
        await scene.let_time_pass(301)
        await scene.count_requests(used)
        for _ in range(5):
            assert (await driven.tick()).reason is Reason.QUEUE_UNAVAILABLE
        await scene.count_requests(59)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason, cycle.rate) == (Outcome.APPLIED, Reason.FALLBACK, RateUsage(59, 60))
    assert scene.asked_for == [3]


async def test_one_failed_reading_adds_no_worker_though_none_was_read_for_hours(scene: Scene, tmp_path: Path) -> None:
    scene.policy = tmp_path / "policy.yaml"
    text = POLICY.read_text()
    scene.policy.write_text(text.replace("    rate_limit:", f"{BLIND.strip(chr(10))}\n    rate_limit:"))
    async with scene.controller() as driven:
        await driven.tick()
    await scene.let_time_pass(86_400)
    await scene.queue.execute("ALTER TABLE generation_job RENAME TO hidden")
    async with scene.controller() as driven:
        assert (await driven.tick()).reason is Reason.QUEUE_UNAVAILABLE
    assert scene.sent == []


async def test_explain_says_of_a_change_that_waits_what_it_waits_for(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        await driven.tick()
        await settled(scene, 2)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        scene.fake.by_hand(deploy=True)
        await scene.jobs(0)
        cycle, _ = await driven.explain()
        assert cycle.reason is Reason.DEPLOYING
        await driven.tick_until(Outcome.APPLIED, Reason.TIER)
        scene.fake.inject("not_authorized", on="mutation")
        await settled(scene, 0)
        await scene.jobs(20)
        await driven.tick_until(Outcome.FAILED, Reason.SCALE_FAILED)
        cycle, _ = await driven.explain()
        assert cycle.reason is Reason.BACKING_OFF
