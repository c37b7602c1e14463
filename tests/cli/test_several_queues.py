"""A policy whose worker serves several queues, in the commands that simulate it or check it."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from controller.demo.jobs import FULL_TABLE
from controller.simulation import candidates
from controller.simulation.workload.jobs import Workload
from controller.simulation.workload.several import together
from tests.cli.test_simulate import Run, run, trace
from tests.support.tuning import search_among_few

__all__ = ["run", "trace"]

HEAD = "workers: {w: {service: s, max_replicas: 3, "
BY_WAIT = (
    "target_wait: 60s, queues: {urgent: {table: urgent_job, target_wait: 5s}, "
    "bulk: {preset: oban, service_time: 20s}}}}"
)
BY_TIERS = (
    "tiers: [{up_to: 0, replicas: 0}, {up_to: 6, replicas: 1}, {replicas: 3}], "
    "queues: {light: {table: a, weight: 0.5}, heavy: {table: b, weight: 3}}}}"
)
EQUAL = "tiers: [{up_to: 0, replicas: 0}, {up_to: 6, replicas: 1}, {replicas: 3}], queues: [{table: a}, {table: b}]}}"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "several.yaml"


@pytest.mark.costly
def test_simulate_draws_the_queue_of_each_job_and_shows_the_waits_of_each(run: Run, policy: Path, trace: Path) -> None:
    policy.write_text(HEAD + BY_WAIT)
    ran = run("simulate", policy, "oracle", "--trace", trace)
    assert (ran.code, ran.err) == (0, "")
    words = " ".join(ran.out.split())
    names = list(json.loads(run("simulate", policy, "--trace", trace, "--json").out)["policies"][0]["queues"])
    note = (
        f"{policy}: each job is in one of its queues ({', '.join(one['name'] for one in names)}), drawn at random in "
        "equal shares; workers take the oldest job of all queues"
    )
    assert note in words
    assert "queue jobs wait mean p50 p95 p99 max" in words
    shown = json.loads(run("simulate", policy, "--trace", trace, "--json").out)
    assert shown["workload"]["notes"] == [note]
    assert sum(one["jobs"] for one in names) == shown["policies"][0]["jobs"]
    assert set(names[0]["wait"]) == set(shown["policies"][0]["wait"])


def test_the_jobs_are_split_by_the_shares_that_are_given(run: Run, policy: Path, trace: Path) -> None:
    policy.write_text(HEAD + BY_WAIT)
    shown = json.loads(run("simulate", policy, "--trace", trace, "--queue-shares", "urgent=0", "--json").out)
    each = {one["name"]: one["jobs"] for one in shown["policies"][0]["queues"]}
    assert each == {"urgent": 0, "bulk": shown["policies"][0]["jobs"]}
    assert "(urgent 0, bulk 1), drawn at random in these shares" in shown["workload"]["notes"][0]


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ("slow=1", "'slow' is not a queue of"),
        ("urgent", "'urgent' must be the name of a queue, =, and a number, such as urgent=3"),
        ("urgent=-1", "'urgent=-1' must be the name of a queue"),
        ("urgent=0,bulk=0", "has a share above 0"),
    ],
    ids=["an unknown queue", "a share without a number", "a share below 0", "no share at all"],
)
def test_shares_that_cannot_be_are_refused(run: Run, policy: Path, trace: Path, shares: str, words: str) -> None:
    policy.write_text(HEAD + BY_WAIT)
    ran = run("simulate", policy, "--trace", trace, "--queue-shares", shares)
    assert ran.code == 2
    assert "--queue-shares" in ran.err
    assert words in " ".join(ran.err.split())


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A trace with 30 urgent jobs and 10 of the queue bulk."""
    path = tmp_path / "named.csv"
    path.write_text("t,service,queue\n" + "".join(f"{9 * n},5,{'urgent' if n % 4 else 'bulk'}\n" for n in range(40)))
    return path


def test_a_trace_names_the_queue_of_each_job(run: Run, policy: Path, named: Path, tmp_path: Path) -> None:
    policy.write_text(HEAD + BY_WAIT)
    other = tmp_path / "other.yaml"
    other.write_text(HEAD + EQUAL)
    shown = json.loads(run("simulate", "economy", policy, other, "--trace", named, "--json").out)
    jobs = {one["name"]: {q["name"]: q["jobs"] for q in one.get("queues", [])} for one in shown["policies"]}
    assert jobs["economy"] == {}
    assert jobs[str(policy)] == {"urgent": 30, "bulk": 10}
    assert sum(jobs[str(other)].values()) == 40
    notes = shown["workload"]["notes"]
    assert f"{policy}: each job is in one of its queues (urgent, bulk), as the jobs name it" in notes[0]
    assert "in equal shares, because the jobs are in the queues urgent, bulk; workers take" in notes[1]


def test_a_queue_of_a_trace_that_the_policy_does_not_have_is_refused_with_its_line(
    run: Run, policy: Path, named: Path
) -> None:
    policy.write_text(HEAD + EQUAL)
    ran = run("simulate", policy, "--trace", named)
    assert ran.code == 2
    words = "named.csv:2: queue is 'bulk'; the policy has the queues a, b; write one of them, or leave the column out"
    assert words in " ".join(ran.err.split())


def test_shares_beside_jobs_that_name_their_queues_are_refused(run: Run, policy: Path, named: Path) -> None:
    policy.write_text(HEAD + BY_WAIT)
    ran = run("plan", policy, policy, "--trace", named, "--queue-shares", "urgent=2")
    assert ran.code == 2
    assert "--queue-shares: has no effect, because the jobs name their queues; leave it out" in " ".join(
        ran.err.split()
    )


@pytest.mark.costly
def test_plan_splits_the_jobs_by_the_shares_that_are_given(run: Run, policy: Path, trace: Path) -> None:
    policy.write_text(HEAD + BY_WAIT)
    out = " ".join(run("plan", policy, policy, "--trace", trace, "--queue-shares", "urgent=3").out.split())
    assert "(urgent 3, bulk 1), drawn at random in these shares" in out


def test_the_help_of_simulate_says_how_several_queues_are_simulated(run: Run) -> None:
    said = " ".join(run("simulate", "--help").out.split())
    assert "in one that is drawn at random, in equal shares or by --queue-shares" in said


def test_a_policy_with_one_queue_shows_no_table_of_queues(run: Run, policy: Path, trace: Path) -> None:
    policy.write_text(HEAD + "target_wait: 5s, queue: {table: jobs, wake_on: jobs}}}")
    assert "queues" not in json.loads(run("simulate", policy, "--trace", trace, "--json").out)["policies"][0]
    assert "drawn at random" not in run("simulate", policy, "--trace", trace).out


@pytest.mark.costly
def test_plan_tells_what_a_queue_asks_for_from_where_its_jobs_are(
    run: Run, policy: Path, trace: Path, tmp_path: Path
) -> None:
    policy.write_text(HEAD + BY_WAIT)
    other = tmp_path / "other.yaml"
    other.write_text(HEAD + BY_WAIT.replace("5s}", "9s}"))
    out = run("plan", policy, other, "--trace", trace).out
    assert "queues.urgent.target_wait: 5s → 9s" in out
    assert "the queue or the service changes" not in out
    other.write_text(HEAD + BY_WAIT.replace("urgent_job", "other_job"))
    assert "the queue or the service changes" in run("plan", policy, other, "--trace", trace).out


@pytest.mark.costly
def test_tune_keeps_the_queues_and_refuses_a_promise_for_them(
    run: Run, policy: Path, named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_among_few(monkeypatch)
    monkeypatch.setattr(candidates, "_WAITS", (30.0,))
    policy.write_text(HEAD + BY_WAIT)
    rows = "".join(f"{9 * n},5,{'urgent' if n % 4 else 'bulk'}\n" for n in range(190))
    named.write_text(f"t,service,queue\n{rows}")
    asked = ("tune", policy, "--wait", "30s", "--trace", named, "--weeks", "1")
    ran = run(*asked, "--form", "per_worker")
    assert ran.code in {0, 1}, ran.err
    assert "queues:" in ran.out
    assert "each job is in one of its queues (urgent, bulk), as the jobs name it" in ran.out.replace("\n# ", " ")
    ran = run(*asked, "--form", "slo")
    assert ran.code == 2
    assert "--form: slo works with one queue only, and the worker has several" in " ".join(ran.err.split())


def test_check_shows_the_waits_of_each_queue_alone(run: Run, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy.write_text(HEAD + BY_WAIT)
    ran = run("check", policy)
    assert ran.code == 0
    words = " ".join(ran.out.split())
    assert "w/urgent: aims at a wait of 5 s" in words
    assert "w/bulk: aims at a wait of 1 min; if a job takes 20 s (from the policy's service_time)" in words
    assert "queues.urgent.target_wait 5s line 1" in words
    policy.write_text(HEAD + BY_TIERS)
    steps = json.loads(run("check", policy, "--json").out)["implied_waits"]
    assert {name: [step["up_to"] for step in one["steps"]] for name, one in steps.items()} == {
        "w/light": [12, None],
        "w/heavy": [2, None],
    }


@pytest.fixture
def tables(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two tables of finished jobs, one each minute for the last hour: of 10 s in a, of 30 s in b."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name, seconds in (("a", 10), ("b", 30)):
            connection.execute(FULL_TABLE.format(table=name, status="text").encode())
            connection.execute(
                f"INSERT INTO {name} (status, created_at, scheduled_for, started_at, completed_at) "
                f"SELECT 'completed', at, at, at, at + interval '{seconds} s' "
                "FROM (SELECT now() - (n + 1) * interval '1 min' AS at FROM generate_series(1, 60) n) x".encode()
            )
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


def test_the_jobs_of_all_tables_are_simulated_together(run: Run, policy: Path, tables: str) -> None:
    policy.write_text(HEAD + EQUAL)
    shown = json.loads(run("simulate", policy, "--from-database", "--since", "2h", "--json").out)
    workload = shown["workload"]
    assert (workload["jobs"], workload["mean_service_s"]) == (120, pytest.approx(20.0))
    assert {one["name"]: one["jobs"] for one in shown["policies"][0]["queues"]} == {"a": 60, "b": 60}
    assert "each job is in one of its queues (a, b), as the jobs name it" in workload["notes"][-1]


def test_a_queue_whose_jobs_cannot_be_read_back_is_named(run: Run, policy: Path, tables: str) -> None:
    policy.write_text(HEAD + EQUAL.replace("{table: b}", "{table: c}"))
    ran = run("simulate", policy, "--from-database", "--since", "2h")
    assert ran.code == 2
    assert "queues.c, queue.table: " in ran.err


def test_check_measures_each_queue(run: Run, policy: Path, tables: str) -> None:
    policy.write_text(HEAD + "target_wait: 60s, queues: [{table: a}, {table: b}]}}")
    words = " ".join(run("check", policy, "--from-database").out.split())
    assert "w/a: aims at a wait of 1 min; if a job takes 10 s (measured, the mean of the newest 60 jobs" in words
    assert "w/b: aims at a wait of 1 min; if a job takes 30 s (measured, the mean of the newest 60 jobs" in words


def jobs(*arrivals: float, span_s: float) -> Workload:
    return Workload("jobs", lambda: iter([(at, 1.0) for at in arrivals]), span_s, 1000.0 - span_s)


def test_the_window_of_several_queues_is_the_shortest_and_the_jobs_are_in_order() -> None:
    both = together({"a": jobs(10, 60, 95, span_s=100), "b": jobs(0, 5, 49, span_s=50)})
    assert (both.span_s, both.began) == (50, 950)
    assert [(at, *queue) for at, _, *queue in both.jobs()] == [(0, "b"), (5, "b"), (10, "a"), (45, "a"), (49, "b")]
    assert both.queues == ("a", "b")
    assert list(both.jobs()) == list(both.jobs()), "each call starts again"
    one = jobs(1, span_s=2)
    assert together({"a": one}) is one
