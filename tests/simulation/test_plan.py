"""What an edit of a policy changes: in words, in a verdict, and in a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy import Policy, WorkerPolicy
from controller.simulation.comparison import Comparison, Contender, Setting, compare
from controller.simulation.contenders import own_worker
from controller.simulation.own import OwnPolicy
from controller.simulation.plan import Plan, as_blocks, as_markdown, as_object, changes, verdict
from controller.simulation.workload.jobs import Workload

TIERS = [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"up_to": 30, "replicas": 2}, {"replicas": 5}]
JOBS = [(40.0 * number, 20.0) for number in range(100)]
Both = tuple[Policy, WorkerPolicy]


def policy(*, interval: float = 10.0, wake: float = 1.0, **changed: Any) -> Both:
    fields: dict[str, Any] = {"max_replicas": 5, "tiers": TIERS, **changed}
    worker = own_worker({key: value for key, value in fields.items() if value is not None})
    return Policy.model_construct(interval=interval, wake_min_interval=wake, workers={"worker": worker}), worker


def contender(both: Both) -> Contender:
    return Contender("", both[1].max_replicas, lambda: OwnPolicy.of(*both, wakes=True))


def compared(old: Both, new: Both) -> Comparison:
    return compare(Workload("made up", lambda: iter(JOBS), 4000.0), [contender(old), contender(new)], Setting())


def plan(old: Both, new: Both) -> Plan:
    return Plan(old, new, compared(old, new))


SHIPPED = policy()
AIMED = policy(tiers=None, target_wait="60s", service_time="20s")
BY_JOBS = policy(tiers=None, per_worker=5, tolerance="10%", max_wait="5m")


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (policy(), []),
        (policy(interval=5.0), ["interval: 10s → 5s"]),
        (policy(wake=3.0), ["wake_min_interval: 1s → 3s"]),
        (policy(max_replicas=4), ["max_replicas: 5 → 4"]),
        (policy(scale_up={"cooldown": "10s"}), ["scale_up.cooldown: 30s → 10s"]),
        (policy(scale_up={"max_step": 2}), ["scale_up.max_step: not set → 2"]),
        (policy(scale_down={"stabilization_window": "5m"}), ["scale_down.stabilization_window: 0s → 5m"]),
        (policy(jobs_per_worker=3), ["jobs_per_worker: not set → 3"]),
        (policy(tiers=[*TIERS[:1], {"up_to": 6, "replicas": 1}, *TIERS[2:]]), ["7 to 10 jobs: 2 workers instead of 1"]),
        (policy(tiers=[*TIERS[:-1], {"replicas": 4}]), ["31 jobs and more: 4 workers instead of 5"]),
        (policy(tiers=TIERS[1:]), ["0 jobs: 1 worker instead of 0"]),
        (policy(tiers=[{"up_to": 1, "replicas": 0}, *TIERS[1:]]), ["1 job: 0 workers instead of 1"]),
        (
            AIMED,
            [
                "tiers are replaced by target_wait",
                "scale_up.cooldown: 30s → 0s",
                "scale_down.cooldown: 2m → not set",
                "scale_down.stabilization_window: 0s → not set",
                "scale_down.idle_off: not set → the measured start-up time",
                "target_wait: not set → 1m",
                "service_time: not set → 20s",
            ],
        ),
    ],
    ids=lambda value: "an edit" if isinstance(value, tuple) else "; ".join(value)[:60] or "nothing changes",
)
def test_an_edit_is_told_key_by_key(new: Both, said: list[str]) -> None:
    comparison = compared(SHIPPED, SHIPPED)
    assert sorted(changes(Plan(SHIPPED, new, comparison))) == sorted(said)


def test_the_way_back_is_told_the_other_way_round() -> None:
    said = changes(Plan(AIMED, SHIPPED, compared(SHIPPED, SHIPPED)))
    assert "target_wait is replaced by tiers" in said
    assert "target_wait: 1m → not set" in said


def test_jobs_per_worker_in_the_place_of_tiers_are_told_with_their_keys() -> None:
    said = changes(Plan(SHIPPED, BY_JOBS, compared(SHIPPED, SHIPPED)))
    assert sorted(said) == [
        "max_wait: not set → 5m",
        "per_worker: not set → 5",
        "tiers are replaced by per_worker",
        "tolerance: not set → 10%",
    ]
    assert "per_worker is replaced by target_wait" in changes(Plan(BY_JOBS, AIMED, compared(SHIPPED, SHIPPED)))


def test_another_queue_is_said_to_show_in_no_simulation() -> None:
    (said,) = changes(Plan(SHIPPED, policy(queue={"table": "others"}), compared(SHIPPED, SHIPPED)))
    assert "a simulation cannot show that" in said


def judged(**after: float) -> str:
    """The old: 1000 paid seconds, 100 jobs with 10 s of avoidable waiting each."""
    (figures, _) = compared(SHIPPED, SHIPPED).figures
    base = replace(figures, paid_s=1000.0, dollars=10.0, avoidable=replace(figures.avoidable, mean=10.0, total=1000.0))
    wait = after.get("wait", 10.0)
    new = replace(
        base,
        paid_s=after.get("paid", 1000.0),
        dollars=after.get("paid", 1000.0) / 100,
        avoidable=replace(base.avoidable, mean=wait, total=100 * wait),
        unfinished=int(after.get("unfinished", 0)),
    )
    return verdict(Plan(SHIPPED, SHIPPED, replace(compared(SHIPPED, SHIPPED), figures=[base, new])))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({}, "no difference"),
        ({"paid": 1015.0, "wait": 10.1}, "no difference"),
        ({"paid": 900.0}, "better"),
        ({"wait": 5.0}, "better"),
        ({"paid": 900.0, "wait": 5.0}, "better"),
        ({"paid": 1100.0}, "worse"),
        ({"wait": 20.0}, "worse"),
        ({"paid": 1100.0, "wait": 20.0}, "worse"),
        ({"paid": 500.0, "wait": 1.0, "unfinished": 3}, "worse: 3 jobs would never be done"),
        ({"paid": 1100.0, "wait": 5.0}, "a trade"),
        ({"paid": 900.0, "wait": 20.0}, "a trade"),
    ],
)
def test_the_verdict(after: dict[str, float], said: str) -> None:
    assert judged(**after).startswith(said)


def test_a_trade_says_for_whom_it_is_worth_it() -> None:
    assert "second of waiting is worth more than 0.2 worker-seconds" in judged(paid=1100.0, wait=5.0)
    assert "second of waiting is worth less than 0.1 worker-seconds" in judged(paid=900.0, wait=20.0)
    assert "(+10 %), jobs wait 5.0 s instead of 10.0 s" in judged(paid=1100.0, wait=5.0)


@pytest.mark.parametrize(("before", "after", "said"), [(0.1, 0.9, "no difference"), (0.1, 1.1, "worse"), (0, 1, "no")])
def test_waits_under_a_second_are_no_difference(before: float, after: float, said: str) -> None:
    (figures, _) = compared(SHIPPED, SHIPPED).figures
    both = [replace(figures, avoidable=replace(figures.avoidable, mean=mean)) for mean in (before, after)]
    assert verdict(Plan(SHIPPED, SHIPPED, replace(compared(SHIPPED, SHIPPED), figures=both))).startswith(said)


def test_a_real_edit_is_judged_by_what_it_does() -> None:
    dearer = plan(SHIPPED, policy(min_replicas=2))
    assert (dearer.after.paid_s > dearer.before.paid_s, verdict(dearer)[:7]) == (True, "a trade")
    assert verdict(plan(SHIPPED, policy())).startswith("no difference")


def test_markdown_is_a_table_with_the_verdict_on_top() -> None:
    edit = plan(SHIPPED, policy(min_replicas=2))
    lines = list(as_markdown(edit))
    assert lines[0] == f"**Policy: {verdict(edit)}**"
    assert "- min_replicas: 0 → 2" in lines
    start = lines.index("| | old | new | change |")
    assert lines[start + 1] == "|---|---:|---:|---:|"
    rows = [line for line in lines[start + 2 :] if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows][:3] == ["| worker-hours", "| cost a month", "| cost over work"]
    assert {row.count("|") for row in rows} == {5}
    assert lines[-1].startswith("<sub>made up: 100 jobs")


def test_the_terminal_says_the_same() -> None:
    edit = plan(SHIPPED, policy())
    blocks = list(as_blocks(edit))
    assert "  nothing: every value in force stays the same" in blocks
    assert blocks[-1] == f"verdict: {verdict(edit)}"
    said = as_object(edit)
    assert (list(said), said["changes"]) == (["changes", "old", "new", "verdict"], [])
    assert said["old"]["paid_s"] == round(edit.before.paid_s, 6)
