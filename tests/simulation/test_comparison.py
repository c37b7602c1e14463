"""Policies side by side: the same figures as each alone, and figures that say what they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest

from controller.core.price import Price
from controller.simulation import comparison as module
from controller.simulation.comparison import Comparison, Contender, Setting, compare
from controller.simulation.contenders import Common, read_contender
from controller.simulation.figures import Elasticity
from controller.simulation.fleet import Platform
from controller.simulation.report import as_blocks, as_object, total_worth
from controller.simulation.workload.jobs import Job, Workload

NAMES = ["tiers", "target_wait:20", "balanced:max=3", "keda:target=2", "hpa", "latency", "static:2", "oracle", "fast"]


def contenders(*names: str) -> list[Contender]:
    return [read_contender(name, Common(), {}) for name in names]


def workload(jobs: Sequence[Job], span_s: float | None = None) -> Workload:
    return Workload("made up", lambda: iter(jobs), span_s)


def busy_hours(seed: int = 1, count: int = 400) -> Workload:
    random, at, jobs = Random(seed), 0.0, []
    for _ in range(count):
        at += random.expovariate(1 / 8)
        jobs.append((at, random.expovariate(1 / 15)))
    return workload(jobs, 4000.0)


@cache
def all_together() -> Comparison:
    return compare(busy_hours(), contenders(*NAMES), Setting())


@pytest.mark.parametrize("name", NAMES)
def test_side_by_side_is_the_same_as_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    together = all_together()
    monkeypatch.setattr(module, "_CHUNK", 37)
    alone = compare(busy_hours(), contenders(name), Setting())
    (figures,), other = alone.figures, together.figures[NAMES.index(name)]
    theirs, ours = other.as_object(), figures.as_object()
    assert list(theirs) == list(ours)
    assert rounded(theirs) == rounded(ours)
    assert rounded(limits_of(alone)) == rounded(limits_of(together))


def limits_of(comparison: Comparison) -> dict[str, Any]:
    limits = comparison.limits
    return {"least": limits.least_s, "no wait": limits.no_wait_s, "with": limits.no_wait_workers}


def rounded(value: Any) -> Any:
    """Sums in other pieces differ in their last digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def test_figures_of_a_run_that_is_worked_out_by_hand() -> None:
    """One worker that is ready at 20: jobs of 10 s wait 20, 30 and 0 s, of which the cap forces 0, 10 and 0 s."""
    jobs = [(0.0, 10.0), (0.0, 10.0), (100.0, 10.0)]
    setting = Setting(Platform(start_up_s=20.0), Price(1.0, 0.5), slo_s=25.0)
    (figures,) = compare(workload(jobs, 200.0), contenders("static:replicas=1,max=1"), setting).figures
    said = figures.as_object()
    assert said["wait"] == {"mean_s": 16.666667, "p50_s": 20, "p95_s": 30, "p99_s": 30, "max_s": 30, "total_s": 50}
    assert (said["avoidable_wait"]["total_s"], said["late_jobs"], said["late_share"]) == (40, 1, 0.333333)
    assert (said["paid_s"], said["work_s"], said["cost_over_work"], said["utilisation"]) == (200, 30, 6.666667, 0.15)
    assert said["J"] == {"0.05": 6.733333, "0.2": 6.933333, "1": 8.0}
    assert said["dollars_a_month"] == 1.0 * 10 + 0.5 * 20
    assert said["dollars"] == round(20 * 200 / (30 * 86_400), 6)
    assert (said["starts"], said["starts_a_day"], said["start_up_cost_s"]) == (1, 432, 20)
    assert (said["share_at_cap"], said["share_at_zero"], said["most_workers"]) == (1, 0, 1)
    # needed: 0 to 20 and 100 to 110; ready: 20 to 200
    assert said["elasticity"]["under_workers"] == 20 / 200
    assert said["elasticity"]["over_workers"] == 170 / 200


def test_j_is_what_is_paid_and_what_the_avoidable_waits_are_worth() -> None:
    for figures in compare(busy_hours(), contenders("tiers", "fast"), Setting()).figures:
        for value in (0.05, 0.2, 1.0):
            paid = figures.paid_s + value * figures.avoidable.total
            assert figures.worth(value) == pytest.approx(paid / figures.work_s)


def test_all_waiting_by_work_is_what_a_lower_bound_bounds() -> None:
    jobs = [(0.0, 10.0), (0.0, 30.0)]
    (figures,) = compare(workload(jobs), contenders("static:1,max=1"), Setting(Platform(start_up_s=0.0))).figures
    assert total_worth(figures, 2.0) == pytest.approx((figures.paid_s + 2.0 * (30 / 20) * 10) / 40)


@pytest.mark.parametrize("name", ["tiers", "recut:wait=20", "economy", "balanced", "fast", "keda:target=2", "oracle"])
def test_idle_workers_are_paid_for_until_they_are_removed_wherever_the_window_ends(name: str) -> None:
    """For policies that go to 0: it costs the same whether the window ends with the last job or two hours later."""
    jobs = [(100.0 + 7 * (number // 3), 25.0) for number in range(60)]
    (short,) = compare(workload(jobs), contenders(name), Setting()).figures
    (long,) = compare(workload(jobs, 8000.0), contenders(name), Setting()).figures
    assert short.end_s < 1000
    assert short.paid_s == pytest.approx(long.paid_s)
    assert short.downs == long.downs


@pytest.mark.parametrize(
    ("name", "idle_s"),
    [
        ("static:2,max=2", 0),
        ("hpa:target=1,max=2,window=300", 300),
        ("keda:target=1,max=2,window=60,cooldown=300", 60 + 300),
        ("target_wait:5,max=2,service=20,idle_off=100", 2 * 100),
    ],
    ids=["workers that stay for good", "down to 1", "down to 1, then to 0", "down to 0"],
)
def test_after_the_last_job_only_workers_that_are_removed_cost_anything(name: str, idle_s: float) -> None:
    """Two jobs; both workers work on until 200 s."""
    jobs = [(0.0, 200.0), (0.0, 200.0)]
    (figures,) = compare(workload(jobs), contenders(name), Setting(Platform(start_up_s=0.0))).figures
    # The first looks are up to 45 s late, and those that remove workers up to 30 s.
    assert figures.paid_s - 2 * figures.end_s == pytest.approx(idle_s, abs=90 if idle_s else 1e-6)
    assert 200 <= figures.end_s <= 245


def test_the_idle_stretch_is_not_charged_where_jobs_are_left() -> None:
    (figures,) = compare(workload([(0.0, 10.0)]), contenders("static:0,max=1"), Setting()).figures
    assert (figures.unfinished, figures.paid_s) == (1, 0)


def test_elasticity_of_shortages_and_surpluses() -> None:
    """Of 10 s, 4 with one ready of three, 4 with two of two, 2 with two of none."""
    found = Elasticity.of({1: [0, 0, 0, 4.0], 2: [2.0, 0, 4.0, 0]})
    assert (found.under, found.over) == (0.8, 0.4)
    assert (found.theta_under, found.theta_over) == pytest.approx((100 * 4 * 2 / 3 / 10, 100 * 2 * 2 / 10))
    assert (found.tau_under, found.tau_over) == (40, 20)


def test_the_clairvoyant_is_cheaper_than_no_policy_that_waits_as_little() -> None:
    compared = compare(busy_hours(), contenders("oracle", "static:5"), Setting())
    seer, static = compared.figures
    assert seer.is_clairvoyant
    assert compared.limits.least_s < seer.paid_s < static.paid_s
    assert (seer.avoidable.total, seer.unfinished) == (0, 0)
    assert seer.waits.total <= static.waits.total
    assert compared.simulated == 1


@pytest.mark.parametrize("each", [1, 2])
def test_json_says_its_units_and_is_json(each: int) -> None:
    setting = Setting(Platform(concurrency=each))
    compared = compare(busy_hours(), contenders("tiers", "oracle"), setting)
    said = json.loads(json.dumps(as_object(compared), allow_nan=False))
    assert list(said) == ["workload", "platform", "limits", "policies", "speed"]
    assert [policy["name"] for policy in said["policies"]] == ["tiers", "oracle"]
    work = sum(job[1] for job in busy_hours().jobs())
    assert said["limits"]["work_s"] == round(work / each, 6)
    assert said["workload"]["mean_service_s"] == pytest.approx(work / 400)
    assert said["workload"]["load_workers"] == pytest.approx(work / each / 4000, abs=1e-6)
    assert said["platform"]["drain_s"] is None


def test_the_tables_name_every_policy_and_mark_the_best() -> None:
    compared = compare(busy_hours(), contenders("tiers", "static:5", "static:0"), Setting(slo_s=90.0))
    blocks = list(as_blocks(compared))
    tables = [block for block in blocks if not isinstance(block, str)]
    assert all([row[0] for row in table[1:]] == ["tiers", "static:5", "static:0"] for table in tables)
    text = f"{blocks}"
    assert text.count("*") >= 3
    assert "over 1 min 30 s" in text
    assert "static:0 never finished 400 jobs" in text


def test_a_picture_is_only_kept_where_it_is_wanted() -> None:
    few = contenders("tiers", "oracle")
    assert compare(busy_hours(), few, Setting()).series == [None, None]
    drawn = compare(busy_hours(), few, replace(Setting(), series=True)).series
    assert drawn[0] is not None
    assert (max(step.most for step in drawn[0].steps.values()), drawn[1]) == (2, None)
