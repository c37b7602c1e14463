"""`slo`: what a promise may say, what it is refused beside, and that all else finds a target wait."""

from __future__ import annotations

import pytest

from controller.core.edits import worker_changes
from controller.policy import effective, little_effects, load_policy
from controller.policy.document import dotted
from controller.policy.in_force import as_shown
from tests.policy.test_ways import JOBS, TIERS, WAIT, loaded, refused, text

SLO = "slo: {wait: 60s, share: 99%}"
ALONE = "and only one of them can set the number of workers; keep one"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((TIERS, SLO), f"7: workers.a.slo: is written together with tiers, {ALONE}"),
        ((SLO, JOBS), f"6: workers.a.slo: is written together with per_worker, {ALONE}"),
        ((SLO, WAIT), f"7: workers.a.target_wait: is written together with slo, {ALONE}"),
        (
            ("slo: {wait: 0s, share: 99%}",),
            "6: workers.a.slo.wait: must be above 0, for example 60s; no job begins at once",
        ),
        (("slo: {wait: 60, share: 99%}",), "6: workers.a.slo.wait: 60 is not a duration; write 500ms, 30s, 2m or 1h"),
        (("slo: {wait: 60s, share: 49%}",), "6: workers.a.slo.share: '49%' is not between 50% and 99.9%"),
        (("slo: {wait: 60s, share: 100%}",), "6: workers.a.slo.share: '100%' is not between 50% and 99.9%"),
        (("slo: {wait: 60s, share: 99.95%}",), "6: workers.a.slo.share: '99.95%' is not between 50% and 99.9%"),
        (
            ("slo: {wait: 60s, share: 99}",),
            "6: workers.a.slo.share: 99 is not between 50% and 99.9%; 99 percent is written 99%",
        ),
        (("slo: {wait: 60s, share: most}",), "6: workers.a.slo.share: 'most' is not a share; write 10% or 0.1"),
        (("slo: {wait: 60s}",), "6: workers.a.slo.share: is missing"),
        (
            ("slo: {wait: 60s, share: 99%, percentile: p99}",),
            "6: workers.a.slo.percentile: is not a key: write share: p99 is share: 99%",
        ),
        ((SLO, "service_time: 20s"), "7: workers.a.service_time: has no effect with slo, which measures it; leave it"),
        (
            (SLO, "scale_down: {cooldown: 2m}"),
            "7: workers.a.scale_down.cooldown: has no effect with target_wait; write idle_off instead",
        ),
    ],
)
def test_each_wrong_use_is_one_message_with_its_place_and_the_fix(lines: tuple[str, ...], problem: str) -> None:
    (one,) = refused(text(*lines))
    assert one.startswith(f"policy.yaml:{problem}")


@pytest.mark.parametrize(
    ("queue", "of"),
    [
        ("{preset: procrastinate}", "preset procrastinate"),
        ('{sql: "SELECT 1 AS pending, 0 AS processing"}', "a query"),
    ],
)
def test_where_no_wait_can_be_measured_a_promise_is_refused(queue: str, of: str) -> None:
    (problem,) = refused(text(SLO, queue=queue))
    words = f"how long the jobs of {of} waited cannot be measured (of a table it can); write target_wait instead of slo"
    assert problem.endswith(f"workers.a.slo: cannot be kept: {words}")


def test_several_queues_are_refused() -> None:
    written = text(SLO).replace("queue: {table: job}", "queues: [{table: job}, {table: other}]")
    (problem,) = refused(written)
    assert "workers.a.slo: works with one queue only" in problem


@pytest.mark.parametrize(("written", "share"), [("50%", 0.5), ("99.9%", 0.999), ("0.95", 0.95)])
def test_a_promise_may_be_written_as_a_percentage_or_a_number(written: str, share: float) -> None:
    slo = loaded(text(f"slo: {{wait: 5m, share: {written}}}")).slo
    assert slo is not None
    assert slo.wait == 300.0
    assert float(slo.share) == pytest.approx(share)


def test_a_promise_behaves_as_a_target_wait() -> None:
    by_slo, by_wait = loaded(text(SLO)), loaded(text(WAIT))
    assert by_slo.target_wait == by_wait.target_wait == 60.0
    assert "target_wait" not in by_slo.model_fields_set
    assert (by_slo.scale_up, by_slo.scale_down) == (by_wait.scale_up, by_wait.scale_down)
    assert loaded(text(SLO, "scale_down: {idle_off: 9s}")).scale_down.idle_off == 9.0


def test_the_target_that_moves_is_not_shown_as_a_value_of_the_policy() -> None:
    policy, document = load_policy(text(SLO), {})
    values = {dotted(path): value for path, value, _ in effective(policy, document)}
    assert values["workers.a.slo.wait"] == "1m"
    assert values["workers.a.slo.share"] == "99%"
    assert "workers.a.target_wait" not in values
    assert "workers.a.scale_down.idle_off" in values
    worker = as_shown(policy, document)["workers"]["a"]
    assert worker["slo"] == {"wait": 60.0, "share": 0.99}
    assert "target_wait" not in worker


def test_a_max_wait_below_the_promise_is_warned_of() -> None:
    (warning,) = little_effects(load_policy(text(SLO, "max_wait: 30s"), {})[0])
    assert warning.startswith("workers.a.max_wait: is shorter than slo.wait, which is 1m")


def test_an_edit_names_the_way() -> None:
    edits = worker_changes(loaded(text(TIERS)), loaded(text(SLO)))
    assert "tiers are replaced by slo" in edits
