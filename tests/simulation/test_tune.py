"""The search for a policy, on workloads so small that it takes no time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import yaml

from controller.policy import load_policy
from controller.policy_text import ConfigurationError
from controller.simulation import tune
from controller.simulation.comparison import Comparison, Contender, Setting, compare
from controller.simulation.contenders import Common, read_worker
from controller.simulation.fleet import Platform
from controller.simulation.tune import Found, Goal, as_yaml, search
from controller.simulation.workload import Job, Workload

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


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def found(file: Path, goal: Goal, jobs: Workload = EASY, *, form: str = "any", weeks: int = 0) -> Found:
    told: list[tuple[int, int]] = []
    result = search(
        read_worker(file, None, {}),
        jobs,
        goal,
        Setting(Platform(start_up_s=10.0)),
        form=form,
        weeks=weeks,
        common=Common(),
        progress=lambda tried, of: told.append((tried, of)),
    )
    assert told == sorted(told)
    assert all(tried <= of for tried, of in told)
    assert told[-1] == (result.tried, result.tried)
    return result


@pytest.mark.parametrize("form", ["tiers", "target_wait", "any"])
def test_a_goal_that_can_be_met_is_met_as_cheaply_as_it_finds(file: Path, form: str) -> None:
    loose, strict = (found(file, Goal(wait_s=wait), form=form) for wait in (200.0, 25.0))
    assert (loose.is_met, strict.is_met) == (True, True)
    assert strict.searched_on.avoidable.p95 <= 25.0
    assert loose.searched_on.paid_s < strict.searched_on.paid_s
    assert form == "any" or form in strict.candidate


def test_a_budget_is_kept_and_the_waits_are_as_short_as_it_allows(file: Path) -> None:
    small, large = (found(file, Goal(dollars_a_month=budget)) for budget in (9.0, 14.0))
    assert (small.is_met, large.is_met) == (True, True)
    assert small.searched_on.dollars_a_month <= 9.0 < large.searched_on.dollars_a_month <= 14.0
    assert large.searched_on.avoidable.mean < small.searched_on.avoidable.mean


@pytest.mark.parametrize("goal", [Goal(wait_s=0.0), Goal(dollars_a_month=0.01)])
def test_a_goal_that_nothing_meets_is_said_not_to_be_met(file: Path, goal: Goal) -> None:
    nearest = found(file, goal)
    assert not nearest.is_met
    assert "NOT MET: this comes nearest" in as_yaml(nearest, file, None).splitlines()[0]


def test_a_goal_that_is_met_does_not_say_so(file: Path) -> None:
    assert "NOT MET" not in as_yaml(found(file, Goal(wait_s=200.0)), file, None)


@pytest.mark.parametrize("form", ["tiers", "target_wait"])
def test_what_it_writes_is_a_policy_that_does_what_was_tried(file: Path, form: str) -> None:
    best = found(file, Goal(wait_s=25.0), form=form)
    text = as_yaml(best, file, None)
    policy, _ = load_policy(text, {})
    worker = policy.workers["one"]
    assert (worker.max_replicas, worker.scale_up.max_step, policy.interval) == (4, 2, 10.0)
    assert (worker.target_wait is None) == (form == "tiers")
    assert yaml.safe_load(text)["workers"]["one"]["max_replicas"] == "${MOST:-4}"
    file.write_text(text)
    again = found(file, Goal(wait_s=25.0), form=form)
    ours, old = best.held_out[0], again.held_out[1]
    assert (ours.paid_s, ours.waits) == (old.paid_s, old.waits)


def test_only_the_worker_that_is_named_is_written_anew(file: Path) -> None:
    other = "  two: {service: b, queue: {table: jobs}, max_replicas: 2, tiers: [{replicas: 2}]}\n"
    best = found(file, Goal(wait_s=25.0), form="target_wait")
    file.write_text(POLICY + other)
    workers = load_policy(as_yaml(best, file, "one"), {})[0].workers
    assert (workers["one"].tiers, workers["two"].max_replicas) == ((), 2)
    assert workers["two"].tiers[0].replicas == 2


def test_what_is_held_out_is_not_searched_on(file: Path) -> None:
    jobs = list(EASY.jobs())
    seen = [job for job in jobs if job[0] < 4000.0]
    harder = [*seen, *((at, service * 3) for at, service in jobs if at >= 4000.0)]
    easy, hard = (found(file, Goal(wait_s=25.0), workload(one, 6000.0)) for one in (jobs, harder))
    assert easy.candidate == hard.candidate
    assert easy.searched_on == hard.searched_on
    assert (easy.searched_on.jobs, easy.held_out[0].jobs) == (len(seen), len(jobs) - len(seen))
    assert hard.held_out[0].work_s == pytest.approx(3 * easy.held_out[0].work_s)


def test_no_candidate_ever_sees_what_is_held_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[bool, int]] = set()

    def watched(jobs: Workload, contenders: Sequence[Contender], setting: Setting) -> Comparison:
        compared = compare(jobs, contenders, setting)
        seen.add((contenders[0].name == "", compared.jobs))
        return compared

    monkeypatch.setattr(tune, "compare", watched)
    early = sum(at < 4000.0 for at, _ in EASY.jobs())
    found(file, Goal(wait_s=25.0))
    assert seen == {(True, early), (False, 240 - early)}


def test_a_goal_that_is_missed_on_what_is_held_out_is_said_to_be(file: Path) -> None:
    best = found(file, Goal(wait_s=25.0))
    ours, old = best.held_out
    late = replace(best, held_out=(replace(ours, avoidable=replace(ours.avoidable, p95=26.0)), old))
    assert "there the goal is missed" in as_yaml(late, file, None)
    on_time = replace(best, held_out=(replace(ours, avoidable=replace(ours.avoidable, p95=24.0)), old))
    assert "there the goal is missed" not in as_yaml(on_time, file, None)


def test_weeks_that_are_drawn_anew_say_what_to_expect(file: Path) -> None:
    best = found(file, Goal(wait_s=200.0), form="tiers", weeks=2)
    assert [round(week.end_s / 86_400) for week in best.weeks] == [7, 7]
    text = as_yaml(best, file, None)
    assert "expected, over 2 weeks drawn anew from all of it" in text
    assert "the goal is met in" in text
    assert "# a note" in text


def test_too_few_jobs_are_refused(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="too few jobs"):
        found(file, Goal(wait_s=60.0), workload(random_jobs(100, 6000.0, 1), 6000.0))
