"""simulate, plan, tune and check on the command line: what they print, and what they refuse."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from controller.cli import main
from controller.demo.jobs import FULL_TABLE
from controller.policy import load_policy
from tests.scene import POLICY


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("RAILWAY_WORKER_SERVICE_ID", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)

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
    assert all(ran.out.count(f"\n{name} ") == 3 for name in (POLICY, sooner, "balanced", "static:2", "oracle"))
    assert "nobody pays less" in ran.out
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


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_pictures_are_written(run: Run, trace: Path, tmp_path: Path, suffix: str) -> None:
    picture, html = tmp_path / f"out{suffix}", tmp_path / "out.html"
    ran = run("simulate", POLICY, "--trace", trace, "--plot", picture, "--html", html)
    assert ran.code == 0
    assert picture.stat().st_size > 5000
    assert "<html" in html.read_text()
    assert f"{picture} written" in ran.err


def test_the_bound_is_below_everybody(run: Run, trace: Path) -> None:
    ran = run("simulate", POLICY, "static:5", "oracle", "--trace", trace, "--bound", "--json")
    policies = json.loads(ran.out)["policies"]
    assert all(ratio >= 1 for policy in policies for ratio in policy["over_least_J"].values())


def test_a_trace_is_scaled_as_it_is_told_and_says_so(run: Run, trace: Path) -> None:
    ran = run("simulate", "static:3", "--trace", trace, "--load", "2", "--service-mean", "20s", "--json")
    workload = json.loads(ran.out)["workload"]
    assert (workload["load_workers"], workload["mean_service_s"]) == (pytest.approx(2.0), pytest.approx(20.0))
    assert "time axis" in workload["notes"][0]


def test_plan_says_what_changes_in_words_and_in_figures(run: Run, trace: Path, sooner: Path) -> None:
    ran = run("plan", POLICY, sooner, "--trace", trace)
    assert ran.code == 0
    assert "7 to 10 jobs: 3 workers instead of 1" in ran.out
    assert "dollars a month" in ran.out
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
    nobody = json.loads(run("simulate", "static:0", "tiers", "--trace", trace, "--json").out)["policies"][0]
    assert nobody["unfinished_jobs"] == 140
    assert set(nobody["J"].values()) == {None}


def test_built_in_policies_know_how_many_hands_a_worker_has(run: Run, tmp_path: Path) -> None:
    """So that one by name is the same as one in a file."""
    same = tmp_path / "same.yaml"
    same.write_text(
        "workers: {w: {service: s, queue: {table: jobs, wake_on: jobs}, max_replicas: 5, target_wait: 20s,"
        " jobs_per_worker: 4, scale_down: {idle_off: 10s}}}"
    )
    by_name, in_file = json.loads(run("simulate", "balanced", same, "--span", "3h", "--json").out)["policies"]
    assert by_name["paid_s"] == in_file["paid_s"]


def test_tune_prints_a_policy_that_check_accepts(run: Run, tmp_path: Path) -> None:
    ran = run("tune", POLICY, "--wait", "60s", "--workload", "poisson", "--span", "6h", "--weeks", "2")
    assert (ran.code, ran.err) == (0, "")
    assert all(words in ran.out for words in ("# searched on", "# held out", "over 2 weeks drawn anew"))
    policy, _ = load_policy(ran.out, {"RAILWAY_WORKER_SERVICE_ID": "s"})
    assert policy.workers["generation-worker"].queue.table == "generation_job"
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text(ran.out)
    found = json.loads(run("simulate", tuned, "--workload", "poisson", "--span", "6h", "--seed", "5", "--json").out)
    assert found["policies"][0]["avoidable_wait"]["p95_s"] < 90


def test_tune_says_where_nothing_meets_the_goal(run: Run) -> None:
    ran = run("tune", POLICY, "--budget", "1$/month", "--workload", "poisson", "--span", "3h", "--weeks", "1")
    assert ran.code == 1
    assert "NOT MET" in ran.out


def test_check_says_what_each_tier_implies(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAILWAY_WORKER_SERVICE_ID", "s")
    out = run("check", POLICY, "--service-time", "20s").out
    waits = ["10  1  200 s", "30  2  300 s", "60  3  400 s", "100  4  500 s", "any  5  longer, as the depth grows"]
    assert [" ".join(line.split()) for line in out.splitlines()[-5:]] == [" ".join(wait.split()) for wait in waits]
    assert "assumed" in run("check", POLICY).out
    steps = json.loads(run("check", POLICY, "--service-time", "2s", "--json").out)["implied_waits"]
    assert steps["generation-worker"]["steps"][0] == {"up_to": 10, "replicas": 1, "wait_s": 20.0}


def test_check_says_where_a_target_wait_adds_workers(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "aim.yaml"
    path.write_text(
        "workers: {w: {service: s, queue: {table: jobs}, max_replicas: 3, target_wait: 60s, service_time: 20s}}"
    )
    out = run("check", path).out
    assert "aims at a wait of 1m" in out
    assert [line.split()[:4] for line in out.splitlines()[-3:-1]] == [["4", "1", "80", "s"], ["8", "2", "80", "s"]]


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
        (("simulate", "keda:goal=3"), "there are max, target"),
        (("simulate", "static:many"), "must be a whole number"),
        (("simulate", "static:2", "--workload", "poisson:speed=3"), "poisson"),
        (("simulate", "static:2", "--workload", "lunar"), "poisson"),
        (("simulate", "static:2", "--trace", "nowhere.csv"), "nowhere.csv"),
        (("simulate", "static:2", "--from-database"), "no policy's file is among POLICY"),
        (("simulate", str(POLICY), "--from-database"), "DATABASE_URL: is not set"),
        (("simulate", "static:2", "--thin"), "write --load too"),
        (("simulate", "static:2", "--plot", "out.pdf"), ".png or .svg"),
        (("simulate", "static:2", "--html", "policy.yaml"), "must end in .html"),
        (("simulate", "static:2", "--html", "/nowhere/at/all.html"), "there is no folder"),
        (("simulate", "static:2", "--span", "0s"), "is no time at all"),
        (("simulate", "static:2", "--span", "soon"), "is not a duration"),
        (("simulate", "static:2", "--workload", "poisson:rate=1/d", "--span", "1s"), "holds no job"),
        (("simulate", "static:2", "--load", "0"), "is not above 0"),
        (("plan", str(POLICY), "missing.yaml"), "there is no such file"),
        (("tune", str(POLICY)), "--wait"),
        (("tune", str(POLICY), "--wait", "60s", "--workload", "poisson", "--span", "5m"), "too few jobs"),
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
