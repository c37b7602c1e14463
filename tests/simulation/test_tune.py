"""The search for a policy, on workloads so small that it takes no time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import yaml

from controller.core.problems import ConfigurationError
from controller.policy import WorkerPolicy, load_policy
from controller.simulation import candidates, tune
from controller.simulation.candidates import JobTime, coarse
from controller.simulation.comparison import Comparison, Contender, Progress, Setting, compare
from controller.simulation.contenders import Common, own_worker, read_worker
from controller.simulation.fleet import Platform
from controller.simulation.requests import Requests
from controller.simulation.tune import Found, Goal, Search, as_yaml, search
from controller.simulation.workload.jobs import Job, Workload, first, halves, resampled
from tests.support.tuning import search_among_few

POLICY = """
interval: 10s
workers:
  one:
    service: a
    queue: {table: jobs}
    max_replicas: ${MOST:-4}
    scale_up: {max_step: 2}
    tiers: [{up_to: 0, replicas: 0}, {up_to: 50, replicas: 1}, {replicas: 4}]
"""


def random_jobs(count: int, span_s: float, seed: int, service_s: float = 15.0) -> list[Job]:
    random = Random(seed)
    return [
        (at, random.uniform(5.0, 2 * service_s - 5)) for at in sorted(random.uniform(0, span_s) for _ in range(count))
    ]


def workload(jobs: list[Job], span_s: float) -> Workload:
    return Workload("made up", lambda: iter(jobs), span_s, notes=("a note",))


EASY = workload(random_jobs(240, 6000.0, 1), 6000.0)
SETTING = Setting(Platform(start_up_s=10.0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    search_among_few(monkeypatch)


def found(
    file: Path,
    goal: Goal,
    jobs: Workload = EASY,
    *,
    form: str = "any",
    weeks: int = 0,
    job_time: JobTime | None = None,
) -> Found:
    """What was found before for the same is not searched for again."""
    asked = file.read_text(), goal, jobs.name, id(jobs), form, weeks, job_time, candidates._WAITS
    if asked not in _known:
        _known[asked] = jobs, search_anew(file, goal, jobs, form=form, weeks=weeks, job_time=job_time)
    return _known[asked][1]


_known: dict[object, tuple[Workload, Found]] = {}


def search_anew(
    file: Path,
    goal: Goal,
    jobs: Workload = EASY,
    *,
    form: str = "any",
    weeks: int = 0,
    job_time: JobTime | None = None,
) -> Found:
    told: list[tuple[float, float]] = []
    asked = Search(goal, SETTING, form=form, weeks=weeks, job_time=job_time or JobTime("it was not asked"))
    result = search(read_worker(file, None, {}), jobs, asked, lambda done, of: told.append((done, of)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert all(done < of for done, of in told[:-1])  # the bar is full at the end, also where weeks follow the search
    assert told[-1][0] == told[-1][1]
    return result


@pytest.mark.costly
@pytest.mark.parametrize("form", ["tiers", "per_worker", "target_wait", "any"])
def test_a_goal_that_can_be_met_is_met_as_cheaply_as_it_finds(
    file: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    if form == "any":
        monkeypatch.undo()  # once among all candidates, as the command searches
    loose, strict = (found(file, Goal(wait_s=wait), form=form) for wait in (200.0, 25.0))
    assert (loose.is_met, strict.is_met) == (True, True)
    assert strict.searched_on.avoidable.p95 <= 25.0
    assert loose.searched_on.paid_s < strict.searched_on.paid_s
    assert form == "any" or form in strict.candidate


@pytest.mark.costly
def test_a_budget_is_kept_and_the_waits_are_as_short_as_it_allows(file: Path) -> None:
    small, large = (found(file, Goal(dollars_a_month=budget)) for budget in (9.0, 14.0))
    assert (small.is_met, large.is_met) == (True, True)
    assert small.searched_on.dollars_a_month <= 9.0 < large.searched_on.dollars_a_month <= 14.0
    assert large.searched_on.avoidable.mean < small.searched_on.avoidable.mean


@pytest.mark.costly
@pytest.mark.parametrize("goal", [Goal(wait_s=0.0), Goal(dollars_a_month=0.01)])
def test_a_goal_that_nothing_meets_is_said_not_to_be_met(file: Path, goal: Goal) -> None:
    nearest = found(file, goal)
    assert not nearest.is_met
    assert "NOT MET: this policy is the nearest" in as_yaml(nearest, file, None).splitlines()[0]


@pytest.mark.costly
def test_a_goal_that_is_met_does_not_say_so(file: Path) -> None:
    assert "NOT MET" not in as_yaml(found(file, Goal(wait_s=200.0)), file, None)


@pytest.mark.costly
@pytest.mark.parametrize("form", ["tiers", "per_worker", "target_wait"])
def test_what_it_writes_is_a_policy_that_does_what_was_tried(file: Path, form: str) -> None:
    best = found(file, Goal(wait_s=25.0), form=form)
    text = as_yaml(best, file, None)
    policy, _ = load_policy(text, {})
    worker = policy.workers["one"]
    assert (worker.max_replicas, worker.scale_up.max_step, policy.interval) == (4, 2, 10.0)
    ways = {"tiers": worker.tiers, "per_worker": worker.per_worker, "target_wait": worker.target_wait}
    assert [way for way, value in ways.items() if value] == [form]
    assert yaml.safe_load(text)["workers"]["one"]["max_replicas"] == "${MOST:-4}"
    file.write_text(text)
    again = found(file, Goal(wait_s=25.0), form=form)
    ours, old = best.held_out[0], again.held_out[1]
    assert (ours.paid_s, ours.waits) == (old.paid_s, old.waits)


def tried(file: Path, monkeypatch: pytest.MonkeyPatch, form: str = "any") -> list[WorkerPolicy]:
    """All policies of a search."""
    seen: list[WorkerPolicy] = []

    def watched(fields: dict[str, object]) -> WorkerPolicy:
        seen.append(own_worker(fields))
        return seen[-1]

    monkeypatch.setattr(tune, "own_worker", watched)
    search_anew(file, Goal(wait_s=25.0), form=form)
    return seen


@pytest.mark.costly
def test_it_tries_an_idle_off_that_is_left_out_and_some_that_are_set(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # among all candidates
    offs = {worker.scale_down.idle_off for worker in tried(file, monkeypatch, "target_wait")}
    assert None in offs
    assert len(offs) >= 3


@pytest.mark.costly
def test_it_tries_a_max_wait_unless_the_policy_has_one_which_is_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {worker.max_wait for worker in tried(file, monkeypatch, "per_worker")}
    assert None in own
    assert len(own) >= 2
    file.write_text(POLICY.replace("max_replicas", "max_wait: 7m\n    max_replicas"))
    assert {worker.max_wait for worker in tried(file, monkeypatch, "per_worker")} == {420.0}
    best = found(file, Goal(wait_s=25.0), form="per_worker")
    assert load_policy(as_yaml(best, file, None), {})[0].workers["one"].max_wait == 420.0


@pytest.mark.costly
@pytest.mark.parametrize("form", ["tiers", "per_worker"])
def test_it_tries_a_window_and_with_per_worker_a_tolerance_and_an_activation(
    file: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    workers = tried(file, monkeypatch, form)
    assert {worker.scale_down.stabilization_window for worker in workers} == {0.0, 60.0}
    assert ({worker.tolerance for worker in workers} == {None, 0.1}) == (form == "per_worker")
    late = [worker for worker in workers if worker.activation is not None]
    assert bool(late) == (form == "per_worker")
    assert all(worker.max_wait for worker in late), "else too few jobs would wait for ever"


def test_a_promise_is_tried_where_the_waits_are_measured_or_it_is_asked_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_WAITS", (30.0, 60.0))
    unknown, by_table = JobTime("unknown", 15.0), JobTime(mean_s=15.0, has_waits=True)
    promises = {
        (form, job_time): [slo for one in coarse(policy_of(file), job_time, form, 25.0) if (slo := one.get("slo"))]
        for form in ("any", "slo", "tiers")
        for job_time in (unknown, by_table)
    }
    tries = [{"wait": "25s", "share": "95%"}, {"wait": "25s", "share": "99%"}, {"wait": "12.5s", "share": "95%"}]
    assert promises["slo", unknown] == promises["slo", by_table] == promises["any", by_table] == tries
    assert promises["any", unknown] == promises["tiers", by_table] == []
    assert not [one for one in coarse(policy_of(file), by_table, "any", None) if "slo" in one], "the goal is a budget"


def policy_of(file: Path) -> WorkerPolicy:
    return read_worker(file, None, {})[1]


@pytest.mark.costly
def test_a_promise_that_is_found_is_written(file: Path) -> None:
    best = found(file, Goal(wait_s=25.0), form="slo", job_time=JobTime(has_waits=True))
    worker = load_policy(as_yaml(best, file, None), {})[0].workers["one"]
    assert best.is_met
    assert worker.slo is not None
    assert (worker.tiers, worker.per_worker, worker.service_time) == ((), None, None)


SEVERAL = """
workers:
  one:
    service: a
    queues:
      urgent: {table: u, target_wait: 10s}
      bulk: {preset: oban, service_time: 12s}
    max_replicas: 4
    target_wait: 40s
"""


@pytest.mark.costly
@pytest.mark.parametrize("form", ["tiers", "per_worker", "target_wait"])
def test_several_queues_are_kept_and_their_waits_stay_in_proportion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(candidates, "_WAITS", (30.0,))
    path = tmp_path / "policy.yaml"
    path.write_text(SEVERAL)
    old = read_worker(path, None, {})
    asked = Search(Goal(wait_s=60.0), SETTING, form=form, weeks=0, job_time=JobTime(), queues={"urgent": 3, "bulk": 1})
    best = search(old, EASY, asked, lambda _, __: None)
    worker = load_policy(as_yaml(best, path, None), {})[0].workers["one"]
    assert [one.jobs for one in best.searched_on.queues] != [0, 0]
    queues = worker.named_queues
    assert (list(queues), queues["urgent"].table, queues["bulk"].preset) == (["urgent", "bulk"], "u", "oban")
    urgent_wait = queues["urgent"].target_wait
    assert (queues["bulk"].target_wait, queues["bulk"].service_time) == (None, 12.0 if worker.target_wait else None)
    if worker.target_wait is None:
        assert urgent_wait is None
    else:
        assert urgent_wait == pytest.approx(worker.target_wait / 4, abs=0.1)


@pytest.mark.costly
def test_queues_of_a_list_keep_their_weight_with_tiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_WAITS", (30.0, 60.0))
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("queue: {table: jobs}", "queues: [{table: u, weight: 3}, {table: b}]"))
    asked = Search(Goal(wait_s=60.0), SETTING, form="tiers", weeks=0, queues={"u": 1, "b": 1})
    best = search(read_worker(path, None, {}), EASY, asked, lambda _, __: None)
    worker = load_policy(as_yaml(best, path, None), {})[0].workers["one"]
    assert {name: float(one.weight) for name, one in worker.named_queues.items()} == {"u": 3.0, "b": 1.0}
    again = Search(Goal(wait_s=60.0), SETTING, form="target_wait", weeks=0, queues={"u": 1, "b": 1}, job_time=JobTime())
    other = as_yaml(search(read_worker(path, None, {}), EASY, again, lambda _, __: None), path, None)
    assert "weight" not in other
    assert load_policy(other, {})[0].workers["one"].target_wait


@pytest.mark.costly
def test_a_queue_without_ages_is_given_no_max_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("{table: jobs}", '{sql: "SELECT 1 AS pending, 0 AS processing"}'))
    assert {worker.max_wait for worker in tried(path, monkeypatch, "per_worker")} == {None}


def test_only_the_worker_that_is_named_is_written_anew(file: Path) -> None:
    other = "  two: {service: b, queue: {table: jobs}, max_replicas: 2, tiers: [{replicas: 2}]}\n"
    best = found(file, Goal(wait_s=25.0), form="target_wait")
    file.write_text(POLICY + other)
    workers = load_policy(as_yaml(best, file, "one"), {})[0].workers
    assert (workers["one"].tiers, workers["two"].max_replicas) == ((), 2)
    assert workers["two"].tiers[0].replicas == 2


@pytest.mark.costly
def test_what_is_held_out_is_not_searched_on(file: Path) -> None:
    jobs = list(EASY.jobs())
    seen = [job for job in jobs if job[0] < 4000.0]
    harder = [*seen, *((at, service * 3) for at, service, *_ in jobs if at >= 4000.0)]
    easy, hard = (found(file, Goal(wait_s=25.0), workload(one, 6000.0)) for one in (jobs, harder))
    assert easy.candidate == hard.candidate
    assert easy.searched_on == hard.searched_on
    assert (easy.searched_on.jobs, easy.held_out[0].jobs) == (len(seen), len(jobs) - len(seen))
    assert hard.held_out[0].work_s == pytest.approx(3 * easy.held_out[0].work_s)


@pytest.mark.costly
def test_no_candidate_ever_sees_what_is_held_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[bool, int]] = set()

    def watched(jobs: Workload, contenders: Sequence[Contender], setting: Setting, tells: Progress) -> Comparison:
        compared = compare(jobs, contenders, setting, tells)
        seen.add((contenders[0].name == "", compared.jobs))
        return compared

    monkeypatch.setattr(tune, "compare", watched)
    early = sum(at < 4000.0 for at, *_ in EASY.jobs())
    search_anew(file, Goal(wait_s=25.0))
    assert seen == {(True, early), (False, 240 - early)}


@pytest.mark.costly
def test_a_goal_that_is_missed_on_what_is_held_out_is_said_to_be(file: Path) -> None:
    best = found(file, Goal(wait_s=25.0))
    ours, old = best.held_out
    late = replace(best, held_out=(replace(ours, avoidable=replace(ours.avoidable, p95=26.0)), old))
    assert "NOT MET on the held-out jobs" in as_yaml(late, file, None)
    on_time = replace(best, held_out=(replace(ours, avoidable=replace(ours.avoidable, p95=24.0)), old))
    assert "NOT MET on the held-out jobs" not in as_yaml(on_time, file, None)


@pytest.mark.costly
def test_weeks_that_are_drawn_anew_say_what_to_expect(file: Path) -> None:
    sparse = workload(random_jobs(240, 300_000.0, 1), 300_000.0)
    best = found(file, Goal(wait_s=200.0), sparse, form="tiers", weeks=2)
    assert [round(week.end_s / 86_400) for week in best.weeks] == [7, 7]
    text = as_yaml(best, file, None)
    assert "expected, over 2 weeks resampled from the jobs of the search" in text
    assert "# the goal is met in 2 of 2 of these" in text
    assert "# a note" in text


def test_too_few_jobs_are_refused(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="too few jobs"):
        found(file, Goal(wait_s=60.0), workload(random_jobs(100, 6000.0, 1), 6000.0))


@pytest.mark.costly
def test_no_candidate_waits_for_0_s(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float | None] = []

    def watched(fields: dict[str, object]) -> WorkerPolicy:
        worker = own_worker(fields)
        tried.append(worker.target_wait)
        return worker

    monkeypatch.undo()  # among all candidates
    monkeypatch.setattr(tune, "own_worker", watched)
    best = search_anew(file, Goal(wait_s=0.5), form="target_wait")
    assert len(tried) >= best.tried > 20
    assert all(wait is not None and wait >= 0.5 for wait in tried)


QUEUES = {
    "a table, offline": ("{table: jobs}", "whether jobs can be measured is only known with --from-database"),
    "a preset": ("{preset: procrastinate}", "the jobs of preset procrastinate cannot be measured"),
    "a query": ('{sql: "SELECT 1 AS pending, 0 AS processing"}', "the jobs of a query cannot be measured"),
}


@pytest.mark.costly
@pytest.mark.parametrize(("queue", "why"), QUEUES.values(), ids=QUEUES)
def test_a_target_wait_comes_with_the_service_time_that_it_assumed(tmp_path: Path, queue: str, why: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("{table: jobs}", queue))
    best = found(path, Goal(wait_s=25.0), form="target_wait", job_time=JobTime(why))
    text = as_yaml(best, path, None)
    worker = load_policy(text, {})[0].workers["one"]
    searched = [service for at, service, *_ in EASY.jobs() if at < 4000.0]
    assert worker.target_wait
    assert worker.service_time == pytest.approx(sum(searched) / len(searched), rel=0.01)
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip().startswith("service_time:"))
    above = " ".join(line.strip(" #") for line in lines[at - 6 : at] if line.strip().startswith("#"))
    assert f"assumed: the mean of {len(searched)} jobs of made up, since {why}" in above


@pytest.mark.costly
def test_a_service_time_that_is_measured_or_given_is_not_assumed(file: Path) -> None:
    measured = as_yaml(found(file, Goal(wait_s=25.0), form="target_wait", job_time=JobTime()), file, None)
    assert load_policy(measured, {})[0].workers["one"].service_time is None
    tiers = "tiers: [{up_to: 0, replicas: 0}, {up_to: 50, replicas: 1}, {replicas: 4}]"
    file.write_text(POLICY.replace(tiers, "target_wait: 5m\n    service_time: 12s"))
    given = as_yaml(found(file, Goal(wait_s=25.0), form="target_wait", job_time=JobTime("of this")), file, None)
    assert load_policy(given, {})[0].workers["one"].service_time == 12.0
    assert "assumed" not in measured + given


@pytest.mark.costly
def test_what_was_not_searched_for_is_written_as_it_was_read(tmp_path: Path) -> None:
    """Scalars as they stand there, merges written out, for YAML would read some of them as something else."""
    path = tmp_path / "policy.yaml"
    path.write_text(
        "interval: ${EVERY:-10}s\nworkers:\n"
        "  7:\n    service: '010'\n    queue: {table: &t '2024-01-01', wake_on: *t}\n"
        "    <<: &both {max_replicas: 4, tiers: [{up_to: 0, replicas: 0}, {replicas: 4}]}\n"
        "  no:\n    <<: *both\n    service: 'yes'\n    queue: {table: \"1e3\"}\n"
    )
    asked = Search(Goal(wait_s=25.0), SETTING, form="target_wait", weeks=0, common=Common(worker="7"))
    best = search(read_worker(path, "7", {}), EASY, asked, lambda _, __: None)
    text = as_yaml(best, path, "7")
    before, after = load_policy(path.read_text(), {})[0], load_policy(text, {})[0]
    assert after.workers["no"] == before.workers["no"]
    old, new = before.workers["7"], after.workers["7"]
    assert (new.service, new.queue, new.max_replicas) == (old.service, old.queue, old.max_replicas)
    assert (new.tiers, after.interval) == ((), before.interval)
    assert "interval: ${EVERY:-10}s" in text


@pytest.mark.costly
def test_candidates_are_ranked_by_the_share_of_weeks_in_which_they_meet_the_goal(file: Path) -> None:
    """The cheapest meets a goal that is its own p95 by a hair, and in some of the weeks only."""
    cheapest = found(file, Goal(wait_s=60.0), form="tiers")
    goal = Goal(wait_s=cheapest.searched_on.avoidable.p95)
    best = found(file, goal, form="tiers", weeks=4)
    assert (best.is_met, len(best.weeks)) == (True, 4)
    seen, _ = halves(EASY)
    meter = tune._Meter(lambda _, __: None)
    trial = tune._Trial(read_worker(file, None, {}), Search(goal, SETTING, job_time=best.job_time), meter)
    both = [trial.contender("", one.candidate) for one in (cheapest, best)]
    weeks = [first(resampled(seen, seed), best.week_s) for seed in (1, 2, 3, 4)]
    by_week = [compare(week, both, SETTING).figures for week in weeks]
    hair, share = (sum(goal.is_met_by(figures[number]) for figures in by_week) for number in (0, 1))
    assert share == sum(map(goal.is_met_by, best.weeks)) > hair


def test_what_is_held_out_decides_whether_the_goal_holds(file: Path) -> None:
    best = found(file, Goal(wait_s=25.0))
    ours, old = best.held_out
    late = replace(best, held_out=(replace(ours, avoidable=replace(ours.avoidable, p95=26.0)), old))
    on_time = replace(best, held_out=(replace(ours, avoidable=replace(ours.avoidable, p95=24.0)), old))
    assert (late.is_met, late.holds, on_time.holds) == (True, False, True)
    assert "# NOT MET on the held-out jobs" in as_yaml(late, file, None)


@pytest.mark.costly
def test_a_worker_elsewhere_has_no_limit_of_railway_s_requests(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "kubernetes.yaml"
    elsewhere.write_text(re.sub(r"service: .*", "kubernetes: {name: render}", file.read_text()))
    best = found(elsewhere, Goal(wait_s=200.0), form="tiers")
    assert (best.requests, best.warning) == (None, None)
    assert "Railway" not in as_yaml(best, elsewhere, None)


@pytest.mark.parametrize(
    ("interval", "allowed", "a_day", "an_hour", "warns"),
    [
        (10.0, 1000, 3800, 150, False),
        (10.0, 1000, 3841, 150, True),
        (10.0, 1000, 200, 161, True),
        (4.0, 1000, 500, 25, False),
        (4.0, 1000, 700, 25, True),
        (3.0, 1000, 1, 1, True),
        (60.0, 100, 240, 10, False),
        (60.0, 100, 241, 10, True),
        (10.0, 100, 1, 1, True),
        (10.0, 100, 0, 0, False),
    ],
)
def test_more_actions_than_the_requests_allow_are_a_warning(
    file: Path, interval: float, allowed: int, a_day: float, an_hour: int, *, warns: bool
) -> None:
    """What reading leaves of the requests of an hour, 4 for each action."""
    best = found(file, Goal(wait_s=200.0), form="tiers")
    day = replace(best.searched_on, end_s=86_400.0, ups=round(a_day), downs=0, most_actions_an_hour=an_hour)
    calm = replace(best.held_out[0], ups=0, downs=0, most_actions_an_hour=0)
    busy = replace(best, searched_on=day, held_out=(calm, calm), requests=Requests(interval, allowed, "here"))
    assert (busy.warning is not None) is warns
    assert ("WARNING" in as_yaml(busy, file, None)) is warns
    assert f"Railway allows {allowed:,} requests an hour here" in " ".join(as_yaml(busy, file, None).split("\n# "))


@pytest.mark.costly
def test_the_head_is_as_wide_as_a_terminal_and_nothing_but_comments(file: Path) -> None:
    jobs = replace(EASY, name="a\nb: c", notes=("x " * 100,))
    text = as_yaml(found(file, Goal(wait_s=25.0), jobs, form="target_wait", weeks=1), file, None)
    head, _, policy = text.partition("\n\n")
    assert all(line.startswith("#") and len(line) <= 80 for line in head.splitlines())
    assert policy.startswith("interval")
    load_policy(text, {})
