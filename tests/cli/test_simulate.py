"""simulate, plan, tune and check on the command line: what they print, and what they refuse."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from controller.adapters.postgres.queue import known_of
from controller.cli.main import main
from controller.demo.jobs import FULL_TABLE
from controller.fake_railway import FakeRailway
from controller.policy import load_policy
from tests.support.examples import some
from tests.support.processes import CLEAN
from tests.support.scene import POLICY
from tests.support.tuning import search_among_few


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in [name for name in os.environ if name.startswith("RAILWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", CLEAN["COLUMNS"])
    search_among_few(monkeypatch)

    def ran(*arguments: str | Path) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, out, err)

    return ran


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """One job a minute for two hours, 30 s each, and a burst in between."""
    jobs = sorted([60.0 * number for number in range(120)] + [3000.0] * 20)
    path = tmp_path / "jobs.csv"
    path.write_text("t,service\n" + "".join(f"{at},30\n" for at in jobs))
    return path


@pytest.fixture
def sooner(tmp_path: Path) -> Path:
    """The shipped policy, cut for shorter waits."""
    path = tmp_path / "sooner.yaml"
    path.write_text(POLICY.read_text().replace("up_to: 10 ", "up_to: 3 ").replace("up_to: 30", "up_to: 6"))
    return path


def test_simulate_puts_policies_beside_each_other(run: Run, trace: Path, sooner: Path) -> None:
    ran = run("simulate", POLICY, sooner, "balanced", "keda:target=3", "static:2", "oracle", "--trace", trace)
    assert (ran.code, ran.err) == (0, "")
    assert "jobs.csv: 140 jobs" in ran.out
    assert all(ran.out.count(f"\n{name} ") == 4 for name in (POLICY, sooner, "balanced", "static:2", "oracle"))
    assert "no policy pays less" in ran.out
    assert "simulated days/s" in ran.out


def test_simulate_gives_everything_as_json(run: Run, trace: Path) -> None:
    ran = run("simulate", POLICY, "oracle", "--trace", trace, "--json", "--slo", "90s", "--start-up", "10s")
    said = json.loads(ran.out)
    ours, oracle = said["policies"]
    assert (said["workload"]["jobs"], said["platform"]["start_up_s"]) == (140, 10.0)
    assert ours["jobs"] == oracle["jobs"] == 140
    assert ours["paid_s"] > said["limits"]["work_s"] == 140 * 30
    assert oracle["avoidable_wait"]["total_s"] == 0
    assert (ours["slo_s"], ours["unfinished_jobs"]) == (90.0, 0)


@pytest.mark.costly
def test_the_same_seed_makes_the_same_jobs_and_takes_the_same_workers(run: Run) -> None:
    asked = ("simulate", "balanced", "--workload", "bursts", "--span", "6h", "--json", "--seed")
    first, again, other = (json.loads(run(*asked, seed).out) for seed in ("7", "7", "8"))
    assert first["policies"] == again["policies"] != other["policies"]


def test_without_a_policy_it_is_the_one_of_this_folder_and_the_oracle(
    run: Run, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(POLICY.parent)
    ran = run("simulate", "--trace", trace, "--json")
    assert [policy["name"] for policy in json.loads(ran.out)["policies"]] == ["policy.yaml", "oracle"]


def test_pictures_are_written(run: Run, trace: Path, tmp_path: Path) -> None:
    picture, html = tmp_path / "out.svg", tmp_path / "out.html"
    ran = run("simulate", POLICY, "--trace", trace, "--plot", picture, "--html", html)
    assert ran.code == 0
    assert picture.stat().st_size > 5000
    assert "<html" in html.read_text()
    assert f"{picture} written" in ran.err


def test_a_trace_is_scaled_as_it_is_told_and_says_so(run: Run, trace: Path) -> None:
    ran = run("simulate", "static:3", "--trace", trace, "--load", "2", "--service-mean", "20s", "--json")
    workload = json.loads(ran.out)["workload"]
    assert (workload["load_workers"], workload["mean_service_s"]) == (pytest.approx(2.0), pytest.approx(20.0))
    assert "time axis" in workload["notes"][0]


def test_plan_says_what_changes_in_words_and_in_figures(run: Run, trace: Path, sooner: Path) -> None:
    ran = run("plan", POLICY, sooner, "--trace", trace)
    assert ran.code == 0
    assert "7 to 10 jobs: 3 workers instead of 1" in ran.out
    assert "cost a month" in ran.out
    assert ran.out.splitlines()[-1].startswith("verdict: ")
    markdown = run("plan", POLICY, sooner, "--trace", trace, "--markdown").out
    assert markdown.startswith("**Policy: ")
    assert "|---|---:|---:|---:|" in markdown
    said = json.loads(run("plan", POLICY, sooner, "--trace", trace, "--json").out)
    assert said["new"]["avoidable_wait"]["mean_s"] < said["old"]["avoidable_wait"]["mean_s"]


def test_another_maximum_is_judged_by_all_of_the_waits(run: Run, tmp_path: Path, trace: Path) -> None:
    """What a lower one forces is no merit of it."""
    few = tmp_path / "few.yaml"
    few.write_text(POLICY.read_text().replace("${MAX_WORKERS:-5}", "1"))
    lines = run("plan", "tests/none.yaml", few, "--trace", trace)
    assert lines.code == 2
    verdict = run("plan", POLICY, few, "--trace", trace, "--load", "1.5").out.splitlines()[-1]
    assert "better" not in verdict
    assert "beyond what max_replicas forces" not in verdict


def test_who_leaves_jobs_undone_has_no_figure_of_merit(run: Run, trace: Path) -> None:
    none = json.loads(run("simulate", "static:0", "tiers", "--trace", trace, "--json").out)["policies"][0]
    assert none["unfinished_jobs"] == 140
    assert set(none["J"].values()) == {None}


def test_built_in_policies_know_how_many_hands_a_worker_has(run: Run, tmp_path: Path) -> None:
    """So that one by name is the same as one in a file."""
    same = tmp_path / "same.yaml"
    same.write_text(
        "workers: {w: {service: s, queue: {table: jobs, wake_on: jobs}, max_replicas: 5, target_wait: 20s,"
        " jobs_per_worker: 4}}"
    )
    by_name, in_file = json.loads(run("simulate", "balanced", same, "--span", "3h", "--json").out)["policies"]
    assert by_name["paid_s"] == in_file["paid_s"]


@pytest.mark.costly
def test_tune_prints_a_policy_that_check_accepts(run: Run, tmp_path: Path) -> None:
    jobs = ("--workload", "poisson:rate=2/m,service=40s", "--span", "6h")
    ran = run("tune", POLICY, "--wait", "60s", *jobs, "--weeks", "2")
    assert (ran.code, ran.err) == (0, "")
    told = " ".join(ran.out.replace("\n# ", " ").split())
    assert all(words in told for words in ("searched on, ", "held out, ", "resampled from the jobs of the search"))
    policy, _ = load_policy(ran.out, {"RAILWAY_WORKER_SERVICE_ID": "s"})
    assert policy.workers["generation-worker"].only_queue.table == "generation_job"
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text(ran.out)
    found = json.loads(run("simulate", tuned, *jobs, "--seed", "5", "--json").out)
    assert found["policies"][0]["avoidable_wait"]["p95_s"] < 90


@pytest.mark.costly
def test_tune_says_where_nothing_meets_the_goal(run: Run) -> None:
    ran = run("tune", POLICY, "--budget", "1$/month", "--workload", "poisson:rate=2/m", "--span", "3h", "--weeks", "1")
    assert ran.code == 1
    assert "NOT MET" in ran.out


def test_check_says_what_each_tier_implies(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAILWAY_WORKER_SERVICE_ID", "s")
    out = run("check", POLICY, "--service-time", "20s").out
    waits = [
        "10  1  3 min",
        "30  2  4 min 40 s",
        "60  3  6 min 20 s",
        "100  4  8 min",
        "any  5  longer, as the depth grows",
    ]
    table = out[out.index("DEPTH UP TO") :].splitlines()[1:6]
    assert [" ".join(line.split()) for line in table] == [" ".join(wait.split()) for wait in waits]
    assert "assumed" in run("check", POLICY).out
    steps = json.loads(run("check", POLICY, "--service-time", "2s", "--json").out)["implied_waits"]
    assert steps["generation-worker"]["steps"][0] == {"up_to": 10, "replicas": 1, "wait_s": 18.0}


@pytest.mark.costly
@pytest.mark.usefixtures("as_many_steps_as_promised")
def test_check_proposes_a_stabilization_window_where_tiers_flap(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    tiers = "tiers: [{up_to: 0, replicas: 0}, {up_to: 10, replicas: 1}, {replicas: 2}]"
    text = f"workers: {{w: {{service: s, queue: {{table: jobs}}, max_replicas: 2, {tiers}, scale_down: {{DOWN}}}}}}"
    path.write_text(text.replace("DOWN", "cooldown: 2m"))
    ran = run("check", path, "--service-time", "20s")
    said = " ".join(ran.out.split())
    assert ran.code == 0
    assert "w: while jobs of 20 s arrive steadily, so that the depth stays near 0," in said
    found = json.loads(run("check", path, "--service-time", "20s", "--json").out)["flaps"]["w"]
    assert found["words"] in said
    assert found["flaps_a_day_with_it"] < found["flaps_a_day"]
    path.write_text(text.replace("DOWN", f"stabilization_window: {found['stabilization_window_s']}s"))
    assert "arrive steadily" not in run("check", path, "--service-time", "20s").out
    assert json.loads(run("check", path, "--service-time", "20s", "--json").out)["flaps"] == {}


def test_check_says_up_to_which_depth_each_count_of_jobs_per_worker_lasts(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "each.yaml"
    keys = "max_replicas: 3, per_worker: 5, activation: 3, tolerance: 10%"
    path.write_text(f"workers: {{w: {{service: s, queue: {{table: jobs}}, {keys}}}}}")
    out = run("check", path, "--service-time", "20s").out
    assert "w: 1 worker per 5 jobs, the first at 3; no change within 10% (tolerance); if a job takes 20 s" in out
    assert "up to 2 jobs wait without end while no worker runs; write max_wait" in " ".join(out.split())
    rows = [" ".join(line.split()) for line in out.splitlines()[-4:]]
    assert rows == ["2 0 for ever", "5 1 1 min 20 s", "10 2 1 min 20 s", "any 3 longer, as the depth grows"]
    path.write_text(path.read_text().replace("per_worker", "max_wait: 5m, per_worker"))
    assert "2 0 5 min (max_wait)" in [" ".join(line.split()) for line in run("check", path).out.splitlines()]


def test_check_says_where_max_wait_is_shorter_than_the_wait_that_a_tier_implies(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "tiers.yaml"
    tiers = "[{up_to: 0, replicas: 0}, {up_to: 10, replicas: 1}, {up_to: 30, replicas: 2}, {replicas: 4}]"
    path.write_text(
        f"workers: {{w: {{service: s, queue: {{table: jobs}}, max_replicas: 4, max_wait: 200s, tiers: {tiers}}}}}"
    )
    rows = [" ".join(line.split()) for line in run("check", path, "--service-time", "20s").out.splitlines()]
    assert {"10 1 3 min", "30 2 3 min 20 s (max_wait)"} <= set(rows)


@pytest.mark.costly
def test_tune_replaces_jobs_per_worker_and_keeps_max_wait(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "each.yaml"
    keys = "max_replicas: 3, per_worker: 5, activation: 3, tolerance: 10%, max_wait: 5m"
    path.write_text(f"workers: {{w: {{service: s, queue: {{table: jobs}}, {keys}}}}}")
    jobs = ("--workload", "poisson:rate=2/m,service=40s", "--span", "4h", "--form", "tiers", "--weeks", "1")
    policy, _ = load_policy(run("tune", path, "--wait", "4m", *jobs).out, {})
    worker = policy.workers["w"]
    assert (worker.per_worker, worker.activation, worker.tolerance, worker.max_wait) == (None, None, None, 300.0)
    assert worker.tiers


def test_check_says_where_a_target_wait_adds_workers(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "aim.yaml"
    path.write_text(
        "workers: {w: {service: s, queue: {table: jobs}, max_replicas: 3, target_wait: 60s, service_time: 20s}}"
    )
    out = run("check", path).out
    assert "aims at a wait of 1 min" in out
    assert [line.split()[:4] for line in out.splitlines()[-3:-1]] == [["4", "1", "1", "min"], ["8", "2", "1", "min"]]
    assert "wait ends when a worker begins the job" in " ".join(out.split())


def test_the_wait_that_check_prints_is_the_one_that_target_wait_limits(run: Run, tmp_path: Path) -> None:
    """Without the job's own time: a worker with a single job begins it at once, however long the job takes."""
    path = tmp_path / "aim.yaml"
    for wait_s, service_s, per_worker in ((60, 20, 1), (5, 20, 1), (1, 600, 4), (300, 7, 3)):
        path.write_text(
            "workers: {w: {service: s, queue: {table: jobs}, max_replicas: 6, "
            f"target_wait: {wait_s}s, service_time: {service_s}s, jobs_per_worker: {per_worker}}}}}"
        )
        *limited, last = json.loads(run("check", path, "--json").out)["implied_waits"]["w"]["steps"]
        assert last["wait_s"] is None
        for step in limited:
            at_once = step["replicas"] * per_worker
            assert step["wait_s"] == pytest.approx(max(0.0, step["up_to"] * service_s / at_once - service_s))
            assert step["wait_s"] <= wait_s
            assert (step["up_to"] + 1) * service_s / at_once - service_s > wait_s, "one more job wants one more worker"


def table_of_jobs(url: str, *, finished: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FULL_TABLE.format(table="generation_job", status="text"))
        connection.execute(
            "INSERT INTO generation_job (status, created_at, scheduled_for, started_at, completed_at) "
            "SELECT 'completed', at, at, at + interval '4 s', at + interval '14 s' "
            "FROM (SELECT now() - n * interval '1 min' - interval '1 min' AS at FROM generate_series(1, %s) n) jobs",
            (finished,),
        )


def test_a_policy_is_tried_on_the_jobs_of_its_own_table(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table_of_jobs(database_url, finished=300)
    monkeypatch.setenv("DATABASE_URL", database_url)
    ran = run("simulate", POLICY, "--from-database", "--since", "12h", "--json")
    workload = json.loads(ran.out)["workload"]
    assert (workload["jobs"], workload["mean_service_s"], workload["span_s"]) == (300, pytest.approx(10.0), 43_200.0)
    monkeypatch.setenv("RAILWAY_WORKER_SERVICE_ID", "s")
    assert (
        "if a job takes 10 s (measured, the mean of the newest 300 jobs" in run("check", POLICY, "--from-database").out
    )


def test_check_names_a_due_time_that_the_policy_does_not(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE mails (status text, send_after timestamptz)")
        connection.execute("INSERT INTO mails VALUES ('pending', now() + interval '1 day')")
    monkeypatch.setenv("DATABASE_URL", database_url)
    path = tmp_path / "policy.yaml"
    path.write_text("workers: {w: {service: s, queue: {table: mails}, max_replicas: 1, tiers: [{replicas: 1}]}}")
    warnings = json.loads(run("check", path, "--from-database", "--json").out)["warnings"]
    (due,) = [warning for warning in warnings if "in the future" in warning]
    assert due.startswith("workers.w.queue: 1 job of table mails counts as pending although its send_after")
    assert due.endswith("write columns: {scheduled_for: send_after}")


def test_check_names_a_table_that_makes_max_wait_ineffective(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE mails (status text)")
    monkeypatch.setenv("DATABASE_URL", database_url)
    path = tmp_path / "policy.yaml"
    keys = "max_replicas: 1, tiers: [{replicas: 1}]"
    path.write_text(f"workers: {{w: {{service: s, queue: {{table: mails}}, {keys}, max_wait: 5m}}}}")

    def said(*options: str) -> list[str]:
        warnings = json.loads(run("check", path, "--json", *options).out)["warnings"]
        return [warning for warning in warnings if "max_wait" in warning]

    (ageless,) = said("--from-database")
    assert ageless.startswith("workers.w.max_wait: has no effect, because no column of mails says since when a job")
    assert said() == [], "without the database it is unknown"


def test_check_names_a_preset_that_makes_max_wait_ineffective(run: Run, tmp_path: Path) -> None:
    preset, path = tmp_path / "own.toml", tmp_path / "policy.yaml"
    parts = "ready = [\"{job} j WHERE j.status = 'new'\"]\nprocessing = [\"{job} j WHERE j.status = 'busy'\"]\n"
    keys = "max_replicas: 1, tiers: [{replicas: 1}], max_wait: 5m"
    path.write_text(f"workers: {{w: {{service: s, queue: {{preset: {preset}}}, {keys}}}}}")
    for since, warned in (("", True), ('since = "j.created_at"\n', False)):
        preset.write_text(f'tables = {{job = "job"}}\n[[forms]]\n{parts}{since}')
        ran = run("check", path, "--json")
        assert ran.code == 0, ran.out
        warnings = json.loads(ran.out)["warnings"]
        assert any("does not say since when a job is ready" in one for one in warnings) == warned


def test_a_window_without_a_finished_job_is_refused(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table_of_jobs(database_url, finished=0)
    monkeypatch.setenv("DATABASE_URL", database_url)
    ran = run("simulate", POLICY, "--from-database")
    assert (ran.code, ran.out) == (2, "")
    assert "--since" in ran.err


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("t,service\n0,1\n5,1\n3,1\n", ":4"),
        ("t,service\n0,1\n-5,1\n", ":3"),
        ("t,service\n0,1\n,1\n", ":3"),
        ("t,service\n0,1\n7,\n", ":3"),
        ("t,service\n", ":1"),
        ("", ":1"),
        ("minute,count\n0,1.5\n", ":2"),
        ('{"jobs": []}\n', ":1"),
        ("t,service\n0;1\n", ":2"),
    ],
    ids=["unsorted", "negative", "no time", "no service", "no rows", "empty", "half a job", "no CSV", "semicolons"],
)
@pytest.mark.parametrize("command", ["simulate", "plan", "tune"])
def test_a_bad_trace_is_one_message_with_file_and_line(
    run: Run, tmp_path: Path, text: str, place: str, command: str
) -> None:
    path = tmp_path / "bad.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    shipped = str(POLICY)
    policies = {"simulate": [shipped], "plan": [shipped, shipped], "tune": [shipped, "--wait", "60s"]}[command]
    ran = run(command, *policies, "--trace", path)
    assert (ran.code, ran.out) == (2, "")
    assert "one thing is wrong; nothing was changed" in ran.err
    assert f"{path}{place}" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simulate", "nothing.yaml"), "there is no such file"),
        (("simulate", "kedda:target=3"), "did you mean keda?"),
        (("simulate", "x" * 5000), "is neither a file nor a built-in policy"),
        (
            ("simulate", "jobs.csv.gz"),
            "jobs.csv.gz: is a trace by its name, and not a policy; write --trace jobs.csv.gz",
        ),
        (("simulate", "static:" + "9" * 5000), "must be a whole number"),
        (("simulate", "keda:goal=3"), "there are max, target"),
        (("simulate", "static:many"), "must be a whole number"),
        (("simulate", "static:2", "--workload", "poisson:speed=3"), "poisson"),
        (("simulate", "static:2", "--workload", "lunar"), "poisson"),
        (("simulate", "static:2", "--trace", "nowhere.csv"), "nowhere.csv"),
        (("simulate", "static:2", "--from-database"), "no policy's file is among POLICY"),
        (("simulate", "--slo", "-1s"), "argument --slo: '-1s' is negative; write 500ms, 30s, 2m"),
        (("simulate", "--max-workers", "-1"), "argument --max-workers: '-1' is negative; write a whole number"),
        (("simulate", "--start-up", "-.5s"), "argument --start-up: '-.5s' is negative"),
        (("simulate", str(POLICY), "--from-database"), "DATABASE_URL: is not set"),
        (("simulate", "static:2", "--thin"), "write --load too"),
        (("simulate", "static:2", "--bound"), "unrecognized arguments: --bound"),
        (
            ("simulate", "static:2", "--plot", "out.png"),
            "out.png: pictures are written as SVG only; name the file out.svg",
        ),
        (("simulate", "static:2", "--html", "policy.yaml"), "must end in .html"),
        (("simulate", "static:2", "--html", "/nowhere/at/all.html"), "there is no folder"),
        (("simulate", "oracle", "--plot", "out.svg"), "cannot be drawn"),
        (("simulate", "static:2", "--since", "99999999d"), "is longer than 9,999 days"),
        (("simulate", "static:2", "--worker-memory", "1e300"), "is more than 1,000,000"),
        (("simulate", "static:2", "--drain", "for ever"), "is not a duration"),
        (("simulate", "static:2", "--span", "0s"), "must be above 0"),
        (("simulate", "static:2", "--span", "soon"), "is not a duration"),
        (("simulate", "static:2", "--workload", "poisson:rate=1/d", "--span", "1s"), "has no job in this span of time"),
        (("simulate", "static:2", "--load", "0"), "is not above 0"),
        (("plan", str(POLICY), "missing.yaml"), "there is no such file"),
        (("tune", str(POLICY)), "--wait"),
        (("tune", str(POLICY), "--wait", "60s", "--workload", "poisson", "--span", "5m"), "too few jobs"),
        (("tune", str(POLICY), "--wait", "0s", "--workload", "poisson"), "'0s' must be above 0"),
        (("check", str(POLICY), "--service-time", "long"), "is not a duration"),
    ],
)
def test_what_is_wrong_is_said_in_words_with_exit_2(run: Run, arguments: tuple[str, ...], words: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert "Traceback" not in ran.err


def test_all_policies_that_do_not_load_are_told_at_once_each_with_its_line(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(POLICY.read_text().replace("up_to: 30", "up_to: 3"))
    ran = run("simulate", bad, "nothing.yaml", "static:x")
    assert ran.code == 2
    assert "3 things are wrong" in ran.err
    assert "tiers[2].up_to" in ran.err
    assert f"{bad}:" in ran.err


def test_a_database_that_is_away_is_no_wrong_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:s3cret@127.0.0.1:1/x")
    ran = run("simulate", POLICY, "--from-database")
    assert ran.code == 1
    assert "PostgreSQL" in ran.err
    assert "s3cret" not in ran.err


class Asked:
    """What of the time to drain is said in JSON, and in words."""

    def __init__(self, run: Run, policy: Path, *arguments: str) -> None:
        asked = ("simulate", policy, "--span", "2h", *arguments)
        platform = json.loads(run(*asked, "--json").out)["platform"]
        self.seconds, self.source = platform["drain_s"], platform["drain_source"]
        self.words = " ".join(run(*asked).out.split())


@contextmanager
def on_railway(monkeypatch: pytest.MonkeyPatch, draining: int | None) -> Iterator[None]:
    """A fake Railway in a thread of its own, for the command has an event loop itself."""
    deploy = {} if draining is None else {"drainingSeconds": draining}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    creating = FakeRailway.create(1, deploy=deploy)
    fake = asyncio.run_coroutine_threadsafe(creating.__aenter__(), loop).result(30)
    try:
        for name, value in fake.environment_variables().items():
            monkeypatch.setenv(name, value)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(creating.__aexit__(None, None, None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_without_credentials_a_worker_has_railway_s_default_to_end_its_jobs(run: Run) -> None:
    asked = Asked(run, POLICY)
    assert (asked.seconds, asked.source) == (0.0, "Railway's default; --drain says otherwise")
    assert "has 0 s to finish its jobs (Railway's default; --drain says otherwise)" in asked.words


@pytest.mark.parametrize(
    ("target", "seconds", "source"),
    [
        ("kubernetes: {name: w}", 30.0, "Kubernetes' default; --drain says otherwise"),
        ("swarm: {service: w}", 10.0, "Docker Swarm's default; --drain says otherwise"),
        ("command: {url: 'https://scaler.test/w'}", 0.0, "assumed; --drain says otherwise"),
    ],
)
def test_a_worker_elsewhere_has_what_its_platform_gives(
    run: Run, tmp_path: Path, target: str, seconds: float, source: str
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"workers: {{w: {{{target}, queue: {{table: j}}, tiers: [{{replicas: 2}}], max_replicas: 2}}}}\n")
    asked = Asked(run, policy)
    assert (asked.seconds, asked.source) == (seconds, source)


@pytest.mark.parametrize(("draining", "seconds"), [(None, 0.0), (0, 0.0), (45, 45.0)])
def test_where_railway_can_be_asked_a_worker_has_what_the_service_says(
    run: Run, monkeypatch: pytest.MonkeyPatch, draining: int | None, seconds: float
) -> None:
    with on_railway(monkeypatch, draining):
        asked = Asked(run, POLICY)
    assert (asked.seconds, asked.source) == (seconds, "the service's drainingSeconds on Railway")


@pytest.mark.parametrize(("said", "seconds"), [("90s", 90.0), ("0s", 0.0), ("unlimited", None)])
def test_the_command_line_has_the_last_word_and_railway_is_not_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch, said: str, seconds: float | None
) -> None:
    with on_railway(monkeypatch, 45):
        monkeypatch.setenv("RAILWAY_API_URL", "http://127.0.0.1:1/graphql/v2")
        asked = Asked(run, POLICY, "--drain", said)
    assert (asked.seconds, asked.source) == (seconds, "--drain")


@pytest.mark.costly
@pytest.mark.parametrize("command", ["simulate", "plan", "tune"])
def test_a_railway_that_cannot_be_read_leaves_the_default_and_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("controller.cli.workload._RAILWAY_WITHIN_S", 0.5)
    with on_railway(monkeypatch, 45):
        monkeypatch.setenv("RAILWAY_API_URL", "http://127.0.0.1:1/graphql/v2")
        arguments: dict[str, list[str | Path]] = {
            "simulate": [POLICY],
            "plan": [POLICY, POLICY],
            "tune": [POLICY, "--budget", "1$", "--weeks", "1", "--form", "tiers"],
        }
        ran = run(command, *arguments[command], "--workload", "poisson:rate=4/m", "--span", "1h")
    words = " ".join(ran.out.replace("#", " ").split())
    assert "has 0 s to finish its jobs (Railway's default; --drain says otherwise. The service's own could not" in words


@pytest.mark.costly
def test_tune_knows_how_many_requests_the_token_has(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with on_railway(monkeypatch, None):
        ran = run(
            "tune",
            POLICY,
            "--wait",
            "5m",
            "--workload",
            "poisson:rate=4/m",
            "--span",
            "1h",
            "--weeks",
            "1",
            "--form",
            "tiers",
        )
    assert "requests an hour of this token" in " ".join(ran.out.replace("#", " ").split())


@pytest.mark.costly
def test_tune_warns_on_stderr_too(run: Run, tmp_path: Path) -> None:
    busy = tmp_path / "busy.yaml"
    busy.write_text(POLICY.read_text().replace("${POLL_INTERVAL_MS:-10000}ms", "3s"))
    ran = run(
        "tune",
        busy,
        "--wait",
        "60s",
        "--workload",
        "poisson:rate=4/m",
        "--span",
        "1h",
        "--weeks",
        "1",
        "--form",
        "tiers",
    )
    assert "autoscaler: warning: " in ran.err
    assert "scale actions a day" in ran.err
    assert "# WARNING: " in ran.out


@pytest.mark.costly
def test_tune_fails_where_what_was_held_out_misses_the_goal(run: Run, tmp_path: Path) -> None:
    """One job a minute, and in the last third bursts that no start-up is quick enough for."""
    calm, wild = ([(60.0 * n, 15.0) for n in range(400)], [(24_000.0 + 600.0 * n, 40.0) for n in range(20)])
    jobs = sorted([*calm, *(job for job in wild for _ in range(30))])
    path = tmp_path / "jobs.csv"
    path.write_text("t,service\n" + "".join(f"{at},{service}\n" for at, service in jobs))
    ran = run("tune", POLICY, "--wait", "10s", "--trace", path, "--weeks", "1", "--form", "target_wait")
    assert ran.code == 1
    assert "# NOT MET on the held-out jobs" in ran.out
    load_policy(ran.out, {"RAILWAY_WORKER_SERVICE_ID": "s"})


VIEW = "ALTER TABLE generation_job RENAME TO jobs; CREATE VIEW generation_job AS SELECT * FROM jobs"


@pytest.mark.costly
@pytest.mark.parametrize("change", some([VIEW, "SELECT 1"], every=2))
def test_only_what_can_be_measured_needs_no_service_time(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    table_of_jobs(database_url, finished=200)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(change)
    monkeypatch.setenv("DATABASE_URL", database_url)
    asked = ("--from-database", "--since", "4h", "--form", "target_wait", "--weeks", "1")
    ran = run("tune", POLICY, "--wait", "60s", *asked)
    worker = load_policy(ran.out, {"RAILWAY_WORKER_SERVICE_ID": "s"})[0].workers["generation-worker"]
    measured = asyncio.run(known_of(database_url, {"one": worker.only_queue}))["one"].service
    assert worker.target_wait
    assert worker.service_time == (None if measured is not None else 10.0)
    assert ("# assumed: the mean of" in ran.out) is (measured is None)
    assert measured is not None or change == VIEW


def test_whose_time_span_counts_is_said(run: Run, trace: Path) -> None:
    asked = ("simulate", "static:3", "--trace", trace, "--span", "1h", "--json")
    own, stretched = (json.loads(run(*asked, *more).out)["workload"] for more in ((), ("--load", "2")))
    assert own["notes"] == ["--span 1h: of the jobs' own time"]
    assert stretched["notes"][0] == "--span 1h: of the jobs' own time, before --load stretches it"
    assert own["jobs"] == stretched["jobs"]
    assert own["span_s"] == 3600 != stretched["span_s"]
    assert "their own time" in " ".join(run("simulate", "--help").out.split())


def test_each_j_says_what_it_counts(run: Run, trace: Path) -> None:
    said = json.loads(run("simulate", "tiers", "--trace", trace, "--json").out)
    (policy,) = said["policies"]
    names = {**policy, **{key: value for key, value in policy["wait"].items() if key not in policy}}
    for v in ("0.05", "0.2", "1"):
        j = (policy["paid_s"] + float(v) * policy["avoidable_wait"]["total_s"]) / policy["work_s"]
        all_waits = (policy["paid_s"] + float(v) * names["work_weighted_wait_s"] * names["jobs"]) / policy["work_s"]
        assert policy["J"][v] == pytest.approx(j, rel=1e-4)
        assert policy["J_of_all_waits"][v] == pytest.approx(all_waits, rel=1e-4)
    assert policy["J_counts"]["formula"] == "(paid_s + v * avoidable_wait.total_s) / work_s"
    assert policy["J_of_all_waits_counts"]["formula"] == "(paid_s + v * work_weighted_wait_s * jobs) / work_s"
    assert all("unit" in policy[one] for one in ("J_counts", "J_of_all_waits_counts"))


@pytest.mark.costly
@pytest.mark.parametrize("command", ["simulate", "plan", "tune"])
def test_what_is_printed_fits_a_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, trace: Path, sooner: Path, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(POLICY.parent)
    asked: dict[str, list[str | Path]] = {
        "simulate": ["policy.yaml", "balanced", "keda:target=3,window=60", "oracle"],
        "plan": ["policy.yaml", sooner],
        "tune": ["policy.yaml", "--wait", "60s", "--weeks", "1", "--form", "target_wait"],
    }
    lines = [
        *run(command, *asked[command], "--trace", trace).out.splitlines(),
        *run(command, "--help").out.splitlines(),
    ]
    assert [line for line in lines if len(line) > 80 and not line.startswith("verdict: ")] == []


def fleet(path: Path, **services: str) -> Path:
    entry = "  {}: {{service: {}, queue: {{table: t}}, max_replicas: 2, tiers: [{{replicas: 1}}]}}"
    path.write_text("\n".join(["workers:", *(entry.format(name, service) for name, service in services.items())]))
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            {"a": "s1", "b": "s2"},
            {"a": "s1"},
            ["b is dropped: service s2 is no longer scaled, its workers stay as they are"],
        ),
        (
            {"a": "s1"},
            {"b": "s1"},
            ["a is renamed to b: service s1 keeps its workers, cooldowns and history"],
        ),
        (
            {"a": "s1"},
            {"a": "s2"},
            [
                (
                    "a moves from service s1 to service s2, where its history starts again; service s1 is no longer "
                    "scaled: its workers"
                ),
            ],
        ),
        ({"a": "s1"}, {"a": "s1", "b": "s2"}, ["b is new: service s2 is scaled from now on"]),
    ],
    ids=["a worker is dropped", "a worker is renamed", "a worker moves to another service", "a worker is new"],
)
def test_plan_says_what_becomes_of_workers_that_one_policy_alone_has(  # noqa: PLR0917  # a table
    run: Run, tmp_path: Path, trace: Path, old: dict[str, str], new: dict[str, str], said: list[str]
) -> None:
    files = fleet(tmp_path / "old.yaml", **old), fleet(tmp_path / "new.yaml", **new)
    ran = run("plan", *files, "--trace", trace, "--json")
    assert ran.code == 0, ran.err
    changes = json.loads(ran.out)["changes"]
    assert [change for change in changes if any(change.startswith(one) for one in said)] == changes[: len(said)]
    assert changes


def test_plan_of_several_workers_that_both_have_asks_which_one(run: Run, tmp_path: Path, trace: Path) -> None:
    files = fleet(tmp_path / "old.yaml", a="s1", b="s2"), fleet(tmp_path / "new.yaml", a="s1", c="s2")
    ran = run("plan", *files, "--trace", trace)
    assert ran.code == 2
    assert "name one: --worker a, b" in ran.err
    named = run("plan", *files, "--trace", trace, "--worker", "b", "--json")
    assert json.loads(named.out)["changes"] == [
        "b is renamed to c: service s2 keeps its workers, cooldowns and history"
    ]


def test_the_documented_output_of_simulate_has_the_columns_and_policies_of_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(POLICY.parent)
    text = Path("docs/simulate.md").read_text()
    command, _, rest = text.split("```sh\nautoscaler simulate ")[1].partition(" --span 2d\n```\n\n```\n")
    policies = command.split()
    ran = run("simulate", *policies, "--span", "2h")
    assert ran.code == 0, ran.err
    assert _rows(rest.partition("```")[0], policies) == _rows(ran.out, policies)


def _rows(text: str, policies: list[str]) -> list[list[str]]:
    """The headings, and the policies below each."""
    rows = [line.split() for line in text.splitlines() if line]
    return [row if row[0] == "policy" else row[:1] for row in rows if row[0] in {"policy", *policies}]
