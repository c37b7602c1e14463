"""`queues:` in a policy: how they are named, what is refused, and what each of them has by itself."""

from __future__ import annotations

from decimal import Decimal

import pytest

from controller.core.problems import ConfigurationError
from controller.core.queues import alone, strictest_queue
from controller.policy import WorkerPolicy, as_shown, dotted, effective, json_schema, load_policy, overlaps

WORKER = "interval: 10s\nworkers:\n  mail:\n    service: abc\n    max_replicas: 5\n"
TIERS, WAIT = "tiers: [{replicas: 3}]", "target_wait: 20s"


def text(*lines: str) -> str:
    return WORKER + "".join(f"    {line}\n" for line in lines)


def worker(*lines: str) -> WorkerPolicy:
    return load_policy(text(*lines), {})[0].workers["mail"]


def problems(*lines: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        worker(*lines)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("queues", "names"),
    [
        pytest.param("{a: {table: t}, b.c: {table: u}}", ["a", "b.c"], id="a mapping has its own names"),
        pytest.param("[{table: jobs.mail_job}]", ["mail_job"], id="a table"),
        pytest.param("[{table: t}, {table: other.t}, {table: third.t}]", ["t", "t-2", "t-3"], id="tables of one name"),
        pytest.param("[{preset: oban}, {preset: pg-boss}]", ["oban", "pg-boss"], id="presets"),
        pytest.param("[{preset: oban, queues: [a]}, {preset: oban, queues: [b]}]", ["a", "b"], id="one queue of each"),
        pytest.param("[{preset: oban, queues: [a, b]}]", ["oban"], id="several queues of a preset"),
        pytest.param("[{preset: ./own/jobs.toml}]", ["jobs"], id="a preset of the user's own"),
        pytest.param("[{table: t}, {sql: SELECT 1}]", ["t", "2"], id="a query has its number"),
        pytest.param("[{table: 'a b'}, {preset: oban, queues: ['ü']}]", ["1", "2"], id="what cannot be a name"),
    ],
)
def test_each_queue_has_a_name_of_its_own(queues: str, names: list[str]) -> None:
    assert list(worker(f"queues: {queues}", TIERS).each_queue) == names


def test_the_queue_of_a_worker_with_one_has_no_name() -> None:
    one = worker("queue: {table: t}", TIERS)
    assert one.each_queue == {"": one.only_queue}
    assert alone(one) == {"": one}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param(
            (TIERS,),
            ":3: workers.mail.queues: is not set, and neither is queue; write one of the two",
            id="neither",
        ),
        pytest.param(
            (TIERS, "queue: {table: a}", "queues: [{table: b}]"),
            ":8: workers.mail.queues: is written together with queue, and only one of them can say where the jobs are; "
            "keep one",
            id="both",
        ),
        pytest.param(
            (TIERS, "queues: t"),
            ":7: workers.mail.queues: must be a list of queues (`- …` lines below it), or a mapping of names to queues",
            id="a text",
        ),
        pytest.param(
            (TIERS, "queues: []"),
            ":7: workers.mail.queues: is empty; write at least one, or write queue",
            id="[]",
        ),
        pytest.param(
            (TIERS, "queues: {}"),
            ":7: workers.mail.queues: is empty; write at least one, or write queue",
            id="{}",
        ),
        pytest.param(
            (TIERS, "queues: [mail]"),
            ":7: workers.mail.queues[0]: is a name, and not a queue; write table: NAME, or queue: {preset: LIBRARY, "
            "queues: [NAME]}",
            id="the names of a library's queues",
        ),
        pytest.param(
            (TIERS, "queues: [{table: a}, {table: b, sql: SELECT 1}]"),
            ":7: workers.mail.queues[1]: has table and sql, and the jobs are in one place; write one of table: NAME, "
            "preset: procrastinate (or another library), sql: a query",
            id="a queue of a list in two places",
        ),
        pytest.param(
            (TIERS, "queues: {a: {table: t, columns: {created: x}}}"),
            ":7: workers.mail.queues.a.columns.created: is not a key; did you mean created_at?",
            id="an unknown key below a queue of a mapping",
        ),
        pytest.param(
            (TIERS, "queues:", "  - table: t", "    columns: {created_at: ''}"),
            ":9: workers.mail.queues[0].columns.created_at: is empty",
            id="a column that is written as its name alone",
        ),
        pytest.param(
            (TIERS, "queues: {'a/b': {table: t}}"),
            ":7: workers.mail.queues.a/b: a queue's name may have letters, digits, '-', '_' and '.' only, at most 63",
            id="a slash in a name",
        ),
        pytest.param(
            (TIERS, "queues: {a: {table: t, target_wait: 5s}}"),
            ":7: workers.mail.queues.a.target_wait: has no effect without target_wait of the worker; write that "
            "instead of tiers, or leave it out",
            id="a wait by tiers",
        ),
        pytest.param(
            (TIERS, "queues: [{table: t, service_time: 5s}]"),
            ":7: workers.mail.queues[0].service_time: has no effect without target_wait of the worker; write that "
            "instead of tiers, or leave it out",
            id="a time per job by tiers",
        ),
        pytest.param(
            (WAIT, "queues: {a: {table: t, weight: 2}}"),
            ":7: workers.mail.queues.a.weight: has no effect with target_wait, which goes by the time per job; leave "
            "it out",
            id="a weight with a wait",
        ),
        pytest.param(
            (WAIT, "queues: {a: {preset: oban}, b: {table: t}}"),
            ":7: workers.mail.queues.a.service_time: is missing: how long the jobs of preset oban take cannot be "
            "measured (of a table it can); write for example 20s",
            id="a preset without a time per job",
        ),
        pytest.param(
            (WAIT, "queues: {a: {table: t, service_time: 0s}}"),
            ":7: workers.mail.queues.a.service_time: must be above 0, for example 20s; or leave it out to have it "
            "measured",
            id="no time at all",
        ),
        pytest.param(
            (WAIT, "queues: {a: {table: t, service_time: 3s}}", "service_time: 5s"),
            ":8: workers.mail.service_time: has no effect, because each of its queues has a service_time; leave it out",
            id="a time per job for none of them",
        ),
    ],
)
def test_what_has_no_effect_or_says_nothing_is_refused_with_its_place(lines: tuple[str, ...], said: str) -> None:
    assert problems(*lines) == [f"policy.yaml{said}"]


@pytest.mark.parametrize("weight", ["0", "0.001", "1001", "-1", "true", "'1e2'", "'1_0'", "'٣'", "[1]", "x"])
def test_a_weight_that_is_no_plain_number_in_range_is_refused(weight: str) -> None:
    (said,) = problems(TIERS, f"queues: {{a: {{table: t, weight: {weight}}}}}")
    assert said.endswith("queues.a.weight: must be a number from 0.01 to 1000, for example 0.2 or 3")


@pytest.mark.parametrize("weight", ["0.01", "0.2", "1", "2.5", "1000"])
def test_a_weight_is_kept_as_it_is_written(weight: str) -> None:
    assert worker(TIERS, f"queues: {{a: {{table: t, weight: {weight}}}}}").named_queues["a"].weight == Decimal(weight)


def test_too_many_queues_are_refused() -> None:
    (said,) = problems(TIERS, f"queues: [{', '.join('{table: t}' for _ in range(33))}]")
    assert "workers.mail.queues" in said


def test_a_worker_with_a_time_per_job_has_it_for_the_queues_that_have_none() -> None:
    found = alone(worker(WAIT, "service_time: 7s", "queues: {a: {preset: oban}, b: {table: t, service_time: 2s}}"))
    assert {name: one.service_time for name, one in found.items()} == {"a": 7.0, "b": 2.0}


def test_a_queue_alone_has_its_own_wait_or_the_worker_s_and_no_key_of_several() -> None:
    found = alone(worker(WAIT, "queues: {a: {table: t, target_wait: 5s, where: x = 1}, b: {table: u}}"))
    assert {name: one.target_wait for name, one in found.items()} == {"a": 5.0, "b": 20.0}
    assert (
        found["a"].only_queue
        == load_policy(text(TIERS, "queue: {table: t, where: x = 1}"), {})[0].workers["mail"].queue
    )
    assert all(one.queues is None for one in found.values())


def test_the_tiers_of_a_queue_alone_count_its_jobs_by_their_weight() -> None:
    tiers = "tiers: [{up_to: 0, replicas: 0}, {up_to: 10, replicas: 1}, {replicas: 2}]"
    found = alone(worker(tiers, "queues: {light: {table: t, weight: 0.3}, heavy: {table: u, weight: 3}}"))
    assert [tier.up_to for tier in found["light"].tiers] == [0, 33, None]
    assert [tier.up_to for tier in found["heavy"].tiers] == [0, 3, None]


@pytest.mark.parametrize(
    ("queues", "wait", "queue"),
    [
        ("{a: {table: t}, b: {table: u, target_wait: 5s}}", 5.0, "b"),
        ("{a: {table: t}, b: {table: u, target_wait: 90s}}", 20.0, "a"),
        ("{a: {table: t, target_wait: 60s}, b: {table: u, target_wait: 90s}}", 60.0, "a"),
    ],
)
def test_the_strictest_wait_is_the_shortest_that_a_queue_has(queues: str, wait: float, queue: str) -> None:
    found = worker(WAIT, f"queues: {queues}")
    assert (found.strictest_wait, strictest_queue(found)) == (wait, queue)


@pytest.mark.parametrize("queues", ["{a: {table: t, weight: 0.5}}", "[{table: t, weight: 0.5}]"])
def test_each_value_in_force_has_its_line(queues: str) -> None:
    policy, document = load_policy(text(TIERS, f"queues: {queues}"), {})
    found = {dotted(path): (value, origin) for path, value, origin in effective(policy, document)}
    place = "workers.mail.queues.a" if queues[0] == "{" else "workers.mail.queues[0]"
    assert found[f"{place}.weight"] == ("0.5", "line 7")
    assert found[f"{place}.statuses.pending"] == ("pending", "built in")


def test_with_a_wait_no_weight_is_in_force() -> None:
    policy, document = load_policy(text(WAIT, "queues: {a: {table: t, target_wait: 5s}}"), {})
    found = {dotted(path): value for path, value, _ in effective(policy, document)}
    assert found["workers.mail.queues.a.target_wait"] == "5s"
    assert not [path for path in found if path.endswith("weight")]


@pytest.mark.parametrize("queues", ["{a: {table: '${MY_SECRET}'}}", "[{table: '${MY_SECRET}'}]"])
def test_a_secret_of_a_queue_is_shown_by_its_variable(queues: str) -> None:
    policy, document = load_policy(text(TIERS, f"queues: {queues}"), {"MY_SECRET": "s3cr3t_table"})
    shown = str(as_shown(policy, document))
    assert "${MY_SECRET}" in shown
    assert "s3cr3t_table" not in shown


@pytest.mark.costly
def test_an_editor_knows_that_one_of_queue_and_queues_is_written() -> None:
    schema = json_schema()["$defs"]["WorkerPolicy"]
    assert {"oneOf": [{"required": ["queue"]}, {"required": ["queues"]}]} in schema["allOf"]
    assert [one["type"] for one in schema["properties"]["queues"]["oneOf"]] == ["array", "object"]
    assert json_schema()["$defs"]["NamedQueue"]["properties"]["where"]["description"].startswith("of a table: ")


def test_two_queues_of_one_worker_that_count_the_same_jobs_are_named() -> None:
    policy, _ = load_policy(text(TIERS, "queues: {a: {table: t}, b: {table: t, where: x = 1}, c: {table: u}}"), {})
    (said,) = overlaps(policy)
    assert said == (
        "workers.mail.queues.b counts the same jobs as workers.mail.queues.a (table t): each of them counts twice; "
        "limit each queue to its own rows with where:, or count this table for one queue only"
    )


def test_a_queue_of_several_and_another_worker_that_count_the_same_jobs_are_named() -> None:
    other = "  other: {service: d, max_replicas: 1, tiers: [{replicas: 1}], queue: {table: t}}\n"
    policy, _ = load_policy(text(TIERS, "queues: {a: {table: t}, b: {table: u}}") + other, {})
    (said,) = overlaps(policy)
    assert said.startswith("workers.other.queue counts the same jobs as workers.mail.queues.a (table t): both services")
