"""One worker that serves several queues, through the whole loop: what is read, decided, shown, and not known."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.postgres.queue import PostgresQueue
from controller.cli import explain_text
from controller.cli.check import claims_without_end
from controller.cli.explain import Explanation, explain
from controller.cli.queue_trigger import triggers
from controller.configuration import configure
from controller.core.model import QueueDepth, Remark, ServiceTime
from controller.core.ports import DepthRequest, NotMeasurable, Unavailable
from controller.core.reasons import Reason
from controller.doctor import postgres_server as postgres_reach
from controller.doctor.finding import Level
from controller.doctor.report import examine
from controller.loop.cycle import Outcome
from controller.loop.readings import QueueReader
from controller.loop.reconciler import Explained
from controller.policy import Policy, Queue, WorkerPolicy
from controller.web.health import status_body, status_report
from controller.web.metrics import prometheus_text
from controller.web.page import page
from tests.support.exposition import value_of
from tests.support.scene import WORKER, Scene
from tests.support.sources import POSTGRESQL
from tests.support.unhurried import PATIENT_S

SEVERAL = """
interval: 10s
workers:
  generation-worker:
    service: ${RAILWAY_WORKER_SERVICE_ID}
    queues:
      urgent: {table: urgent_job, target_wait: 5s, service_time: 5s, wake_on: new_urgent, stale_after: 1h}
      bulk: {table: bulk_job, wake_on: new_bulk}
    target_wait: 60s
    service_time: 20s
    max_replicas: 5
"""


@pytest.fixture
async def several(scene: Scene, tmp_path: Path) -> Scene:
    """A worker with two queues, each a table of its own, and both empty."""
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(SEVERAL)
    for table in ("urgent_job", "bulk_job"):
        await scene.queue.execute(f"CREATE TABLE {table} (LIKE generation_job INCLUDING ALL)".encode())
    return scene


async def fill(scene: Scene, **pending: int) -> None:
    for name, count in pending.items():
        await scene.jobs(count, table=f"{name}_job")


# --- what is asked, and what is made of the answers ---


@dataclass
class Asked:
    """The port of a queue: which queues were asked for their time per job, and what is reported."""

    source = POSTGRESQL

    services: Mapping[str, ServiceTime | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def service_time(self, queue: Queue) -> ServiceTime | None:
        table = str(queue.table)
        self.asked.append(table)
        if table not in self.services:
            raise NotMeasurable(POSTGRESQL, "it has no times")
        return self.services[table]

    def depths(self, requests: Mapping[str, DepthRequest]) -> AsyncIterator[tuple[str, QueueDepth | Unavailable]]:
        raise AssertionError("not used here")

    async def close(self) -> None: ...

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))


def reader(asked: Asked, **changes: Any) -> QueueReader:
    queues = {"a": {"table": "a", "target_wait": "5s"}, "b": {"table": "b"}}
    fields = {"service": "w", "max_replicas": 5, "target_wait": "60s", "queues": queues, **changes}
    return QueueReader("mail", WorkerPolicy.model_validate(fields), asked, asked, asked.report)


def test_each_queue_has_a_request_under_the_name_of_its_worker_and_its_own() -> None:
    assert list(reader(Asked()).requests) == ["mail/a", "mail/b"]
    one = reader(Asked(), queues=None, queue={"table": "t"})
    assert list(one.requests) == ["mail"]


async def test_each_queue_has_its_own_time_per_job_read_once_a_minute() -> None:
    asked = Asked({"a": ServiceTime(5, 5, 100), "b": ServiceTime(20, 20, 100)})
    known, answers = reader(asked), {"mail/a": QueueDepth(1, 0), "mail/b": QueueDepth(2, 0)}
    for _ in range(3):
        reading = await known.completed(answers)
    assert asked.asked == ["a", "b"]
    assert [(part.name, part.service and part.service.mean_s) for part in reading.parts] == [("a", 5), ("b", 20)]
    assert reading.service == ServiceTime(20, 20, 100)
    assert known.requests["mail/a"].enough == 9, "4 · (5 + 5) / 5 + 1"
    assert known.requests["mail/b"].enough == 17, "4 · (60 + 20) / 20 + 1"


async def test_a_time_per_job_that_cannot_be_measured_is_reported_of_its_queue() -> None:
    asked = Asked({"a": ServiceTime(5, 5, 100)})
    reading = await reader(asked).completed({"mail/a": QueueDepth(1, 0), "mail/b": QueueDepth(2, 0)})
    ((event, fields),) = asked.events
    assert (event, fields["worker"], fields["queue"]) == ("service_time_unmeasurable", "mail", "b")
    assert [part.unmeasured for part in reading.parts] == ["", "it has no times"]
    assert reading.service is None


async def test_what_could_be_read_is_kept_beside_the_queue_that_could_not() -> None:
    gone = Unavailable(POSTGRESQL, "the table is gone")
    reading = await reader(Asked({"a": None})).completed({"mail/a": QueueDepth(3, 1), "mail/b": gone})
    assert isinstance(reading.depth, Unavailable)
    assert reading.depth.text == "queue b: the table is gone"
    assert [(part.depth, part.why) for part in reading.parts] == [(QueueDepth(3, 1), ""), (None, "the table is gone")]


def test_by_tiers_each_queue_keeps_its_weight_and_needs_no_time_per_job() -> None:
    queues = {"a": {"table": "a", "weight": 0.2}, "b": {"table": "b"}}
    known = reader(Asked(), target_wait=None, tiers=[{"up_to": 10, "replicas": 1}, {"replicas": 2}], queues=queues)
    depth = known.with_known({"mail/a": QueueDepth(50, 0), "mail/b": QueueDepth(3, 0)}).depth
    assert isinstance(depth, QueueDepth)
    assert (depth.depth, depth.weighted) == (53, 13)
    assert [request.enough for request in known.requests.values()] == [51, 11]


def test_a_remark_of_each_queue_is_logged_once_with_its_name() -> None:
    asked = Asked()
    known = reader(asked)
    remark = Remark("statuses", "5 rows have other statuses")
    both = {name: QueueDepth(0, 0, remarks=(remark,)) for name in ("mail/a", "mail/b")}
    for _ in range(2):
        depth = known.with_known(both).depth
        assert isinstance(depth, QueueDepth)
        known.report_remarks(depth)
    assert [(event, fields["queue"], fields["message"]) for event, fields in asked.events] == [
        ("queue_warning", "a", remark.text),
        ("queue_warning", "b", remark.text),
    ]


@pytest.mark.parametrize("count", [1, 2, 8])
async def test_more_queues_of_a_worker_need_no_more_round_trips(
    several: Scene, database_url: str, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    queues = {f"q{n}": {"table": "urgent_job", "where": f"attempts < {n + 1}"} for n in range(count)}
    fields = {"service": "w", "max_replicas": 5, "tiers": [{"replicas": 1}], "queues": queues}
    postgres = PostgresQueue(database_url, timeout_s=PATIENT_S)
    known = QueueReader("mail", WorkerPolicy.model_validate(fields), postgres, Asked(), Asked().report)
    try:
        _ = [one async for one in postgres.depths(known.requests)]  # looks the tables up
        kept = postgres._lanes.main.kept
        assert kept is not None
        sent: list[str] = []
        sync = kept._pipeline.sync

        async def round_trip() -> None:
            sent.append("a round trip")
            await sync()

        monkeypatch.setattr(kept._pipeline, "sync", round_trip)
        await fill(several, urgent=3)
        answers = dict([one async for one in postgres.depths(known.requests)])
    finally:
        await postgres.close()
    assert len(sent) == 1
    depth = known.with_known(answers).depth
    assert isinstance(depth, QueueDepth)
    assert depth.pending == 3 * count


# --- a whole controller ---


async def test_the_needs_of_both_queues_add_up_and_the_log_has_each_one_s_part(several: Scene) -> None:
    await fill(several, urgent=3, bulk=2)
    async with several.controller() as driven:
        cycle = await driven.tick()
    assert cycle.decision is not None
    assert (cycle.outcome, cycle.decision.recommended) == (Outcome.APPLIED, 2), "3 · 5 / 10 + 2 · 20 / 80 = 2"
    (line,) = several.events("reconcile")
    assert (line["pending"], line["depth"], line["target_wait_s"], line["service_time_s"]) == (5, 5, 5.0, 20.0)
    assert line["reason"] == "TargetWait"
    assert (
        "5 jobs (5 pending, 0 processing) in 2 queues want 2 workers: urgent asks for most, 1.5 (3 jobs"
        in (line["message"])
    )
    assert [
        (one["queue"], one["pending"], one["processing"], one["depth"], one["wants"]) for one in line["queues"]
    ] == [("urgent", 3, 0, 3, 1.5), ("bulk", 2, 0, 2, 0.5)]
    assert all(one["oldest_age_s"] is not None for one in line["queues"])
    assert line["queues"][0]["message"] == "asks for 1.5 workers, jobs of 5 s for a wait of 5 s"


async def test_status_page_and_metrics_show_each_queue(several: Scene) -> None:
    await fill(several, urgent=3, bulk=2)
    async with several.controller() as driven:
        await driven.tick()
        shown = driven.controller.shown
        body = json.loads(json.dumps(status_body(shown)))
        assert [one["queue"] for one in body["workers"][WORKER]["queues"]] == ["urgent", "bulk"]
        text = prometheus_text(shown)
        assert value_of(text, "autoscaler_each_queue_jobs", worker=WORKER, queue="urgent", state="pending") == 3
        assert value_of(text, "autoscaler_queue_jobs", worker=WORKER, state="pending") == 5
        assert "queue bulk: 2 pending, 0 processing" in page(status_report(shown))
        published = driven.controller.status.to_publish()[WORKER]
        driven.controller.status.take_over({WORKER: published}, 0.0)
        assert (
            json.loads(json.dumps(status_body(shown)))["workers"][WORKER]["queues"]
            == (body["workers"][WORKER]["queues"])
        ), "a standby shows what the leader published"


async def test_one_queue_that_cannot_be_read_takes_no_worker_away_and_the_other_one_is_shown(several: Scene) -> None:
    await fill(several, urgent=3, bulk=40)
    async with several.controller() as driven:
        assert (await driven.tick()).outcome is Outcome.APPLIED
        await several.queue.execute("ALTER TABLE bulk_job RENAME TO hidden_job")
        await fill(several, urgent=0)
        await several.let_time_pass(3600, looking=True)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason, cycle.queue) == (Outcome.FAILED, Reason.QUEUE_UNAVAILABLE, None)
        assert "queue bulk: " in cycle.message
        line = several.events("reconcile")[-1]
        assert (line["pending"], line["depth"]) == (None, None)
        urgent, bulk = line["queues"]
        assert (urgent["depth"], urgent["wants"]) == (0, 0.0)
        assert (bulk["depth"], bulk["wants"], bulk["oldest_age_s"]) == (None, None, None)
        assert "bulk_job" in bulk["message"]
        (failing,) = driven.controller.status.failing.values()
        assert "PostgreSQL" in failing
    assert several.asked_for == [5]


async def test_a_worker_with_one_queue_has_no_key_of_several_in_log_status_and_metrics(scene: Scene) -> None:
    await scene.jobs(3)
    async with scene.controller() as driven:
        await driven.tick()
        assert "queues" not in scene.events("reconcile")[0]
        assert "queues" not in status_body(driven.controller.shown)["workers"][WORKER]
        assert "each_queue" not in prometheus_text(driven.controller.shown)


async def test_explain_shows_each_queue_and_what_it_asks_for(several: Scene) -> None:
    await fill(several, urgent=3, bulk=2)
    (explanation,) = await explain(configure(several.policy, several.environment))
    seen = list(explain_text.seen(explanation))
    assert ("aim", "a wait of 5 s, the strictest of its queues") in seen
    said = [words for label, words in seen if not label]
    assert said[0].startswith("queue urgent: 3 jobs (3 pending, 0 processing); the oldest ready job has waited ")
    assert said[0].endswith("; asks for 1.5 workers, jobs of 5 s for a wait of 5 s")
    assert [words for label, words in seen if label == "also"] == [
        "queue urgent: 0 scheduled for later, 0 failed",
        "queue bulk: 0 scheduled for later, 0 failed",
    ]
    shown = explain_text.as_object(explanation)
    assert (shown["scheduled"], shown["failed"], len(shown["queues"])) == (0, 0, 2)
    unknown = Explanation(explanation.explained, {"urgent": None, "bulk": explanation.rests["bulk"]}, "Railway")
    assert explain_text.as_object(unknown)["scheduled"] is None, "a part of a sum is no sum"


async def test_explain_shows_what_could_be_read_beside_a_queue_that_could_not(several: Scene) -> None:
    await fill(several, urgent=3)
    await several.queue.execute("ALTER TABLE bulk_job RENAME TO hidden_job")
    async with several.controller() as driven:
        cycle, rules = await driven.explain()
    said = [words for label, words in explain_text.seen(Explanation(Explained(cycle, rules), {}, "R")) if not label]
    assert said[0].startswith("queue urgent: 3 jobs")
    assert said[1].startswith("queue bulk: cannot be read; ")


async def test_doctor_examines_each_queue_by_itself(several: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_reach, "_QUIET_S", 0.05)  # which is not what this is about
    await several.queue.execute("ALTER TABLE bulk_job RENAME TO hidden_job")
    await fill(several, urgent=3)
    found = (await examine(configure(several.policy, several.environment))).workers[WORKER]
    levels = {finding.about: finding.level for finding in found}
    assert (levels["queue urgent"], levels["queue bulk"]) == (Level.OK, Level.ERROR)
    assert {"plan urgent", "wake-up urgent", "service time urgent"} <= set(levels)


async def test_doctor_believes_an_empty_queue_only_if_jobs_were_seen_in_that_one(
    several: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_reach, "_QUIET_S", 0.05)  # which is not what this is about
    for table in ("urgent_job", "bulk_job"):
        await several.queue.execute(f"DROP TABLE {table}".encode())
        await several.queue.execute(f"CREATE TABLE {table} (status text, locked_at timestamptz)".encode())
    await several.queue.execute("INSERT INTO urgent_job VALUES ('pending')")
    async with several.controller() as driven:
        await driven.tick()
    for table in ("urgent_job", "bulk_job"):
        await several.queue.execute(f"INSERT INTO {table} VALUES ('queued')".encode())
    await several.queue.execute("DELETE FROM urgent_job WHERE status = 'pending'")
    found = (await examine(configure(several.policy, several.environment))).workers[WORKER]
    levels = {finding.about: finding.level for finding in found}
    assert (levels["queue urgent"], levels["queue bulk"]) == (Level.OK, Level.ERROR)
    await several.queue.execute("INSERT INTO bulk_job VALUES ('pending')")
    async with several.controller() as driven:
        assert (await driven.tick()).outcome is not Outcome.FAILED
    await several.queue.execute("DELETE FROM bulk_job WHERE status = 'pending'")
    found = (await examine(configure(several.policy, several.environment))).workers[WORKER]
    assert {finding.about: finding.level for finding in found}["queue bulk"] is Level.OK


async def test_a_notification_of_each_queue_wakes_the_worker(several: Scene) -> None:
    async with several.controller() as driven:
        (worker,) = driven.controller.policy.workers.values()
        channels = await driven.controller.queue.every_channel(worker.each_queue.values())
        assert channels == {"new_urgent", "new_bulk"}
        assert (await driven.tick()).outcome is Outcome.HELD
        await fill(several, bulk=1)
        assert await driven.quick_check() is None, "a worker is wanted: a pass of its own"


def test_check_and_queue_trigger_name_the_queue_in_the_policy(several: Scene) -> None:
    policy = configure(several.policy, several.environment).policy
    assert isinstance(policy, Policy)
    (claims,) = claims_without_end(policy)
    assert claims.startswith(f"workers.{WORKER}.queues.bulk: nothing limits how long a claim counts")
    text = "\n".join(triggers(policy))
    assert f"-- {WORKER}/urgent: jobs are inserted into" in text
    assert "new_bulk" in text
