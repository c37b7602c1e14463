"""tiers, per_worker, slo and target_wait: exactly one of the four; and the keys that only make sense beside one."""

from __future__ import annotations

from textwrap import dedent

import pytest

from controller.core.problems import ConfigurationError
from controller.policy import WorkerPolicy, effective, json_schema, little_effects, load_policy
from controller.policy.document import dotted

TIERS, JOBS, WAIT = "tiers: [{replicas: 5}]", "per_worker: 5", "target_wait: 60s"


def text(*lines: str, queue: str = "{table: job}") -> str:
    head = f"workers:\n  a:\n    service: svc\n    queue: {queue}\n    max_replicas: 5\n"
    return head + "".join(f"    {line}\n" for line in lines)


def refused(written: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        load_policy(dedent(written), environment or {})
    return [str(problem) for problem in refusal.value.problems]


def loaded(written: str) -> WorkerPolicy:
    return load_policy(written, {})[0].workers["a"]


@pytest.mark.parametrize(
    ("lines", "place", "other"),
    [
        ((TIERS, JOBS), "policy.yaml:7: workers.a.per_worker", "tiers"),
        ((JOBS, TIERS), "policy.yaml:6: workers.a.per_worker", "tiers"),
        ((TIERS, WAIT), "policy.yaml:7: workers.a.target_wait", "tiers"),
        ((JOBS, WAIT), "policy.yaml:7: workers.a.target_wait", "per_worker"),
        ((WAIT, JOBS), "policy.yaml:6: workers.a.target_wait", "per_worker"),
    ],
)
def test_each_pair_is_refused_with_one_message(lines: tuple[str, ...], place: str, other: str) -> None:
    words = f"is written together with {other}, and only one of them can set the number of workers; keep one"
    assert refused(text(*lines)) == [f"{place}: {words}"]


def test_all_three_are_refused_at_the_two_that_are_too_many() -> None:
    assert [one.split(": ")[1] for one in refused(text(TIERS, JOBS, WAIT))] == [
        "workers.a.per_worker",
        "workers.a.target_wait",
    ]


def test_none_of_the_four_is_refused_with_their_names() -> None:
    (problem,) = refused(text())
    assert problem.endswith("target_wait: is not set, and neither are tiers, per_worker and slo; write one of the four")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("per_worker: 0",), "6: workers.a.per_worker: must be at least 1, not 0"),
        (("per_worker: five",), "6: workers.a.per_worker: must be a whole number, not 'five'"),
        (("per_worker: 2.5",), "6: workers.a.per_worker: must be a whole number, not 2.5"),
        ((JOBS, "activation: 0"), "7: workers.a.activation: must be at least 1, not 0"),
        (
            (TIERS, "activation: 3"),
            (
                "7: workers.a.activation: has no effect without per_worker; write per_worker instead of tiers, or "
                "leave it out"
            ),
        ),
        (
            (WAIT, "tolerance: 10%"),
            (
                "7: workers.a.tolerance: has no effect without per_worker; write per_worker instead of target_wait, or "
                "leave it out"
            ),
        ),
        (
            (JOBS, "tolerance: 10"),
            "7: workers.a.tolerance: 10 is not between 0% and 100%; 10 percent is written 10% or 0.1",
        ),
        (
            (JOBS, "tolerance: 100%"),
            "7: workers.a.tolerance: '100%' is not between 0% and 100%; 10 percent is written 10% or 0.1",
        ),
        ((JOBS, "tolerance: -5%"), "7: workers.a.tolerance: '-5%' is not a share; write 10% or 0.1"),
        ((JOBS, "tolerance: some"), "7: workers.a.tolerance: 'some' is not a share; write 10% or 0.1"),
        ((JOBS, "tolerance: true"), "7: workers.a.tolerance: True is not a share; write 10% or 0.1"),
        ((JOBS, "tolerance: [10%]"), "7: workers.a.tolerance: a list is not a share; write 10% or 0.1"),
        (
            (JOBS, "service_time: 20s"),
            (
                "7: workers.a.service_time: has no effect without target_wait; write target_wait instead of "
                "per_worker, or leave service_time out"
            ),
        ),
        (
            (JOBS, "scale_down: {idle_off: 10s}"),
            (
                "7: workers.a.scale_down.idle_off: works only with target_wait; with per_worker, write cooldown or "
                "stabilization_window"
            ),
        ),
        (
            (TIERS, "max_wait: 0s"),
            "7: workers.a.max_wait: '0s' must be above 0, for example 5m; else each waiting job adds a worker",
        ),
        ((TIERS, "max_wait: 5"), "7: workers.a.max_wait: 5 is not a duration; write 500ms, 30s, 2m or 1h"),
        ((JOBS, "targetQueryValue: 5"), "7: workers.a.targetQueryValue: is not a key: write per_worker"),
    ],
)
def test_each_wrong_use_is_one_message_with_its_place_and_the_fix(lines: tuple[str, ...], problem: str) -> None:
    assert refused(text(*lines)) == [f"policy.yaml:{problem}"]


def test_a_variable_is_named_beside_what_is_wrong_with_it() -> None:
    (problem,) = refused(text(JOBS, "tolerance: ${SLACK}"), {"SLACK": "10"})
    assert problem.endswith("10 percent is written 10% or 0.1 (SLACK is '10')")


@pytest.mark.parametrize("written", ["10%", "0.1", "'0.1'", "${SLACK:-10%}", "10.0%"])
def test_a_share_is_written_in_percent_or_as_a_number(written: str) -> None:
    tolerance = loaded(text(JOBS, f"tolerance: {written}")).tolerance
    assert tolerance is not None
    assert str(tolerance) == "10%"
    assert abs(tolerance - 0.1) < 1e-12


def test_what_is_in_force_has_the_defaults_that_hold_beside_per_worker() -> None:
    def shown(*lines: str) -> dict[str, tuple[str, str]]:
        rows = effective(*load_policy(text(*lines), {}))
        keys = {"per_worker", "activation", "tolerance", "max_wait"}
        return {dotted(path[2:]): (value, origin) for path, value, origin in rows if path[-1] in keys}

    assert shown(JOBS) == {
        "per_worker": ("5", "line 6"),
        "activation": ("1", "built in"),
        "tolerance": ("0%", "built in"),
    }
    written = shown(JOBS, "activation: 3", "tolerance: 0.125", "max_wait: 5m")
    assert [value for value, _ in written.values()] == ["5", "3", "12.5%", "5m"]
    assert shown(TIERS) == {}


def test_the_cooldowns_are_those_of_tiers() -> None:
    by_jobs, by_tiers = loaded(text(JOBS)), loaded(text(TIERS))
    assert (by_jobs.scale_up, by_jobs.scale_down) == (by_tiers.scale_up, by_tiers.scale_down)


@pytest.mark.costly
def test_the_schema_asks_for_one_of_the_four() -> None:
    schema = json_schema()["$defs"]["WorkerPolicy"]
    assert schema["oneOf"] == [{"required": [way]} for way in ("tiers", "per_worker", "slo", "target_wait")]
    assert schema["dependentRequired"] == {"activation": ["per_worker"], "tolerance": ["per_worker"]}


SQL = '{{sql: "SELECT {columns} FROM job"}}'


@pytest.mark.parametrize(
    ("written", "warning"),
    [
        (text(TIERS), ""),
        (
            text("tiers: [{replicas: 3}]", "min_replicas: 1"),
            "max_replicas: is 5, but the tiers ask for 3 workers at most, so only an operator's hold goes higher",
        ),
        (text("tiers: [{replicas: 3}]", "max_wait: 5m"), ""),
        (
            text("tiers: [{replicas: 3}]", "schedules: [{cron: '0 8 * * *', timezone: UTC, for: 1h, min_replicas: 5}]"),
            "",
        ),
        (
            text("tiers: [{replicas: 3}]", "on_unavailable: {after: 1m, at_least: 4}"),
            "max_replicas: is 5, but the tiers",
        ),
        (text(WAIT, "max_wait: 60s"), ""),
        (
            text(WAIT, "max_wait: 59s"),
            "max_wait: is shorter than target_wait, which is 1m, so jobs that wait as long as",
        ),
        (text(JOBS, "activation: 2"), "activation: 1 job waits without end while no worker runs; write max_wait"),
        (text(JOBS, "activation: 3"), "activation: up to 2 jobs wait without end while no worker runs; write max_wait"),
        (text(JOBS, "activation: 3", "max_wait: 5m"), ""),
        (
            text(JOBS, "activation: 3", "min_replicas: 1"),
            "activation: has no effect, because min_replicas is 1: a worker always runs",
        ),
        (text(JOBS, "tolerance: 5%"), ""),
        (
            text(JOBS, "tolerance: 4%"),
            "tolerance: has no effect, because 4% of the 20 jobs below max_replicas is less than one job",
        ),
        (
            text(TIERS, "max_wait: 5m", queue=SQL.format(columns="1 AS pending, 0 AS processing")),
            "max_wait: has no effect, because queue.sql does not return how long the oldest ready job has waited; add",
        ),
        (text(TIERS, queue=SQL.format(columns="1 AS pending, 0 AS processing")), ""),
        (text(TIERS, "max_wait: 5m", queue=SQL.format(columns="1 AS pending, 0 AS processing, 9 AS OLDEST_AGE_S")), ""),
        (text(TIERS, "max_wait: 5m", queue=SQL.format(columns="*")), ""),
        (text(TIERS, "max_wait: 5m", queue=SQL.format(columns="job.*")), ""),
        (
            text(TIERS, "max_wait: 5m", queue=SQL.format(columns="count(*) AS pending, 0 AS processing")),
            "max_wait: has",
        ),
    ],
)
def test_what_has_little_effect_is_warned_of(written: str, warning: str) -> None:
    said = list(little_effects(load_policy(written, {})[0]))
    assert [one.startswith(f"workers.a.{warning}") for one in said] == ([True] if warning else [])
