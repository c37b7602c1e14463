"""A policy is refused or accepted, never adjusted; what is refused is named with its place and the fix."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pydantic
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.adapters.postgres.presets.reader import PresetFiles
from controller.core.problems import ConfigurationError
from controller.core.units import as_policy
from controller.core.wanted import tier_replicas
from controller.policy import dotted, effective, json_schema, load_policy, split_name
from tests.support.examples import examples
from tests.support.platforms import CLOUD_REFERENCES

ROOT = Path(__file__).parents[2]
PYDANTIC = tuple(map(int, pydantic.VERSION.split(".")[:2]))
SHIPPED = (ROOT / "policy.yaml").read_text()
SERVICE = {"RAILWAY_WORKER_SERVICE_ID": "svc"}


def refused(text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        load_policy(dedent(text), {**SERVICE, **environment}, references=[CLOUD_REFERENCES])
    return [str(problem) for problem in refusal.value.problems]


def worker(changes: str = "", *, tiers: str = "[{replicas: 1}]", maximum: str = "5") -> str:
    return f"""\
        workers:
          a:
            service: svc
            queue: {{table: job}}
            tiers: {tiers}
            max_replicas: {maximum}
            {changes}
        """


def aiming(changes: str = "", *, queue: str = "{table: job}", wait: str = "target_wait: 60s") -> str:
    return f"""\
        workers:
          a:
            service: svc
            queue: {queue}
            max_replicas: 5
            {wait}
            {changes}
        """


def test_the_shipped_policy_says_what_the_requirements_say() -> None:
    policy, _ = load_policy(SHIPPED, SERVICE)
    worker = policy.workers["generation-worker"]
    wanted = [tier_replicas(worker, depth) for depth in (0, 1, 10, 11, 30, 31, 60, 61, 100, 101, 1000)]
    assert wanted == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert (policy.interval, worker.min_replicas, worker.max_replicas) == (10, 0, 5)
    assert (worker.scale_up.cooldown, worker.scale_down.cooldown) == (30, 120)
    assert worker.scale_down.stabilization_window == 0
    assert worker.rate_limit is not None
    assert worker.rate_limit.rpm == 60


def test_every_variable_of_the_requirements_works_with_the_shipped_policy() -> None:
    numbers = {
        "MAX_WORKERS": "9",
        "MIN_WORKERS": "2",
        "GLOBAL_RPM_LIMIT": "120",
        "POLL_INTERVAL_MS": "2500",
        "SCALE_DOWN_COOLDOWN_MS": "90000",
        "SCALE_UP_COOLDOWN_MS": "500",
    }
    policy, _ = load_policy(SHIPPED, {**SERVICE, **numbers})
    worker = policy.workers["generation-worker"]
    assert (policy.interval, worker.min_replicas, worker.max_replicas, tier_replicas(worker, 101)) == (2.5, 2, 9, 9)
    assert (worker.scale_up.cooldown, worker.scale_down.cooldown) == (0.5, 90)
    assert worker.rate_limit is not None
    assert worker.rate_limit.rpm == 120


@pytest.mark.parametrize("maximum", ["0", "1", "3", "5", "20"])
def test_a_smaller_maximum_than_the_tiers_name_is_no_fall_of_replicas(maximum: str) -> None:
    policy, _ = load_policy(SHIPPED, {**SERVICE, "MAX_WORKERS": maximum})
    assert policy.workers["generation-worker"].max_replicas == int(maximum)


def test_an_empty_variable_counts_as_unset_as_in_compose_files() -> None:
    policy, _ = load_policy(SHIPPED, {**SERVICE, "MAX_WORKERS": ""})
    assert policy.workers["generation-worker"].max_replicas == 5


def test_a_variable_s_value_cannot_become_structure() -> None:
    policy, _ = load_policy(SHIPPED.replace("generation_job", "${TABLE}"), {**SERVICE, "TABLE": "a: [b]"})
    assert policy.workers["generation-worker"].only_queue.table == "a: [b]"


def test_two_dollars_are_one() -> None:
    policy, _ = load_policy(SHIPPED.replace("table: generation_job", "table: a$$b"), SERVICE)
    assert policy.workers["generation-worker"].only_queue.table == "a$b"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (worker("colour: red"), "policy.yaml:7: workers.a.colour: is not a key; known here are service, "),
        (worker("min_replica: 1"), "policy.yaml:7: workers.a.min_replica: is not a key; did you mean min_replicas?"),
        (worker("min_replicas: 6"), "policy.yaml:7: workers.a.min_replicas: is 6, more than max_replicas, which is 5"),
        (worker("scale_up: {cooldown: 30}"), "workers.a.scale_up.cooldown: 30 is not a duration; write 500ms, 30s"),
        (worker("scale_up: {cooldown: -5s}"), "'-5s' is not a duration"),
        (worker("scale_up: {cooldown: 5 parsecs}"), "'5 parsecs' is not a duration"),
        (worker("scale_up: {max_step: 0}"), "workers.a.scale_up.max_step: must be at least 1, not 0"),
        (
            worker("on_unavailable: {after: 5m, at_least: 6}"),
            "policy.yaml:7: workers.a.on_unavailable.at_least: is 6, more than max_replicas, which is 5; write 1 to 5",
        ),
        (
            worker("on_unavailable: {after: 5m, at_least: 1}\n            min_replicas: 2"),
            "workers.a.on_unavailable.at_least: is 1, less than min_replicas, which is 2; write 2 to 5",
        ),
        (
            worker("on_unavailable: {after: 5m, at_least: 1}", maximum="0"),
            "workers.a.on_unavailable.at_least: is 1, more than max_replicas, which is 0; leave on_unavailable out",
        ),
        (
            worker("on_unavailable: {after: 5m, at_least: 0}"),
            "workers.a.on_unavailable.at_least: must be at least 1, not 0",
        ),
        (
            worker("on_unavailable: {after: 0s, at_least: 3}"),
            "workers.a.on_unavailable.after: '0s' must be above 0 (for example 5m), so that one failed read does not",
        ),
        (worker("on_unavailable: {at_least: 3}"), "policy.yaml:7: workers.a.on_unavailable.after: is missing"),
        (worker("on_unavailable: {after: 5m}"), "policy.yaml:7: workers.a.on_unavailable.at_least: is missing"),
        (
            worker("on_unavailable: {after: 5m, replicas: 3}"),
            "workers.a.on_unavailable.replicas: is not a key: write at_least",
        ),
        (worker("on_unavailable: hold"), "workers.a.on_unavailable: must be a mapping"),
        (worker("jobs_per_worker: 0"), "policy.yaml:7: workers.a.jobs_per_worker: must be at least 1, not 0"),
        (worker("jobs_per_worker: -5"), "policy.yaml:7: workers.a.jobs_per_worker: must be at least 1, not -5"),
        (
            worker("jobs_per_worker: five"),
            "policy.yaml:7: workers.a.jobs_per_worker: must be a whole number, not 'five'",
        ),
        (worker("jobs_per_worker: yes"), "policy.yaml:7: workers.a.jobs_per_worker: is yes, which some read as true"),
        (worker("jobs_per_worker: 2.5"), "policy.yaml:7: workers.a.jobs_per_worker: must be a whole number, not 2.5"),
        (worker("concurrency: 5"), "policy.yaml:7: workers.a.concurrency: is not a key: write jobs_per_worker"),
        (worker("min_replicas: -1"), "workers.a.min_replicas: must be at least 0, not -1"),
        (worker("min_replicas: yes"), "workers.a.min_replicas: is yes, which some read as true"),
        (worker("min_replicas: 1.5"), "workers.a.min_replicas: must be a whole number, not 1.5"),
        (
            worker("rate_limit: {rpm: 4}"),
            (
                "rate_limit.rpm: is 4, less than max_replicas, which is 5, so that the share of each of 5 "
                "workers would be 0 requests a minute; write 5 or more, or lower max_replicas to 4"
            ),
        ),
        (worker("rate_limit: {rpm: 60, keys: {usage: a}}"), "rate_limit.keys.usage: 'a' must hold <window>"),
        (worker("service: other"), "workers.a.service: is here a second time (line 7); keep one"),
        (worker(tiers="[]"), "workers.a.tiers: is empty"),
        (worker(tiers="5"), "workers.a.tiers: must be a list"),
        (worker(tiers="[{up_to: 5, replicas: 1}]"), "workers.a.tiers[0].up_to: leaves depth 6 and more without a tier"),
        (
            worker(tiers="[{replicas: 1}, {replicas: 2}]"),
            "workers.a.tiers[0]: has no up_to, so that the tiers after it",
        ),
        (
            worker(tiers="[{up_to: 5, replicas: 1}, {up_to: 5, replicas: 2}, {replicas: 3}]"),
            "workers.a.tiers[1].up_to: overlaps: 5 is not above 5, where tiers[0] ends",
        ),
        (
            worker(tiers="[{up_to: 9, replicas: 1}, {up_to: 5, replicas: 2}, {replicas: 3}]"),
            "workers.a.tiers[1].up_to: overlaps: 5 is not above 9",
        ),
        (
            worker(tiers="[{up_to: 5, replicas: 3}, {replicas: 2}]"),
            "workers.a.tiers[1].replicas: falls from 3 to 2: more jobs must not mean fewer workers",
        ),
        (
            worker(tiers="[{from: 1, up_to: 5, replicas: 3}, {replicas: 2}]"),
            "workers.a.tiers[0].from: is not a key: a tier begins where the one before it ends",
        ),
        (worker(maximum="${NOPE}"), "workers.a.max_replicas: NOPE is not set and has no default; set NOPE, or write"),
        (worker(maximum="${NO-PE}"), "'${NO-PE}' is not understood; write ${NAME} or ${NAME:-default}"),
        (worker("min_replicas: true"), "workers.a.min_replicas: must be a whole number, not True"),
        (worker(maximum=".inf"), "workers.a.max_replicas: is .inf, which is not a number that a policy can hold"),
        (worker(maximum="1" + "0" * 20), "workers.a.max_replicas: must be at most 1000000000"),
        (worker(maximum="1" + "0" * 30), "workers.a.max_replicas: is a number of 31 digits, and 30 are the most"),
        (worker(maximum="!!bool abc"), 'workers.a.max_replicas: is "abc", which is not !!bool; leave the tag out'),
        (worker("rate_limit: {rpm: !!timestamp abc}"), "rate_limit.rpm: has the tag !!timestamp, which means nothing"),
        (worker(maximum="many"), "workers.a.max_replicas: must be a whole number, not 'many'"),
        ("interval: 1ms\n" + dedent(worker()), "policy.yaml:1: interval: '1ms' is shorter than 100ms"),
        ("interval: 10s\n", "policy.yaml:1: workers: is missing"),
        ("workers: {}\n", "policy.yaml:1: workers: is empty"),
        ("workers: {a b: {}}\n", "'a b' is no name; it may have letters, digits"),
        ("workers:\n  a: [1\n", "policy.yaml:3:1: is not YAML: "),
        ("a: b: c\n", "policy.yaml:1:5: is not YAML: mapping values are not allowed"),
        ("a: !!python/object:os.system {}\n", "policy.yaml:1: has the tag !!python/object:os.system"),
        ("- 1\n", "policy.yaml: is not a policy"),
        ("", "policy.yaml: is not a policy"),
        ("a: 1\n---\nb: 2\n", "policy.yaml:2: begins a second document (---); a policy is one: keep one"),
        ("a: &x [*x]\n", "policy.yaml:1: *x refers to itself; write the value out"),
        ("a: \x00\n", "policy.yaml:1:4: holds the character U+0000, which YAML does not allow; delete it"),
    ],
)
def test_what_is_refused_is_named_with_its_place_and_the_fix(text: str, problem: str) -> None:
    problems = refused(text)
    assert any(problem in one for one in problems), problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            aiming(wait=""),
            "workers.a.target_wait: is not set, and neither are tiers, per_worker and slo; write one of the four",
        ),
        (
            aiming("tiers: [{replicas: 1}]"),
            "policy.yaml:6: workers.a.target_wait: is written together with tiers, and only one of",
        ),
        (aiming(wait="target_wait: soon"), "policy.yaml:6: workers.a.target_wait: 'soon' is not a duration"),
        (aiming("service_time: 0s"), "policy.yaml:7: workers.a.service_time: must be above 0, for example 20s; or"),
        (
            worker("service_time: 20s"),
            "policy.yaml:7: workers.a.service_time: has no effect without target_wait; write target_wait",
        ),
        (
            aiming(queue="{preset: procrastinate}"),
            "workers.a.service_time: is missing: how long the jobs of preset procrastinate take cannot be measured",
        ),
        (
            aiming(queue='{sql: "SELECT 1 AS pending, 0 AS processing"}'),
            "workers.a.service_time: is missing: how long the jobs of a query take cannot be measured (of a table it",
        ),
        (
            aiming("scale_down: {cooldown: 60s}"),
            "policy.yaml:7: workers.a.scale_down.cooldown: has no effect with target_wait; write idle_off instead",
        ),
        (
            aiming("scale_down: {stabilization_window: 0s}"),
            "policy.yaml:7: workers.a.scale_down.stabilization_window: has no effect with target_wait; write idle_off",
        ),
        (
            worker("scale_down: {idle_off: 10s}"),
            "policy.yaml:7: workers.a.scale_down.idle_off: works only with target_wait; with tiers, write cooldown",
        ),
    ],
)
def test_a_wait_that_is_aimed_at_stands_in_the_place_of_tiers_and_idle_off_in_that_of_the_way_down(
    text: str, problem: str
) -> None:
    problems = refused(text)
    assert any(problem in one for one in problems), problems
    assert len(problems) == 1


def test_what_a_wait_that_is_aimed_at_leaves_unsaid_is_shown_as_it_is_in_force() -> None:
    policy, document = load_policy(dedent(aiming("scale_down: {max_step: 2}")), {})
    rows = {dotted(path): (value, origin) for path, value, origin in effective(policy, document)}
    mine = {key.removeprefix("workers.a."): row for key, row in rows.items() if key.startswith("workers.a.scale")}
    assert mine == {
        "scale_up.cooldown": ("0s", "built in"),
        "scale_down.idle_off": (
            "learned for each worker from the pauses in which it was not needed; at most 15m",
            "built in",
        ),
        "scale_down.max_step": ("2", "line 7"),
    }
    assert rows["workers.a.target_wait"] == ("1m", "line 6")
    assert rows["workers.a.jobs_per_worker"] == ("1", "built in")


def test_what_it_says_is_in_force() -> None:
    text = aiming("scale_up: {cooldown: 7s}\n            scale_down: {idle_off: 10s}\n            jobs_per_worker: 3")
    policy, document = load_policy(dedent(text), {})
    rows = {dotted(path): value for path, value, _ in effective(policy, document)}
    worker = policy.workers["a"]
    assert (worker.scale_up.cooldown, worker.scale_down.cooldown, worker.concurrency) == (7, 0, 3)
    assert [rows[f"workers.a.{key}"] for key in ("scale_up.cooldown", "scale_down.idle_off")] == ["7s", "10s"]
    assert (rows["workers.a.jobs_per_worker"], "workers.a.scale_down.cooldown" in rows) == ("3", False)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    text = worker("scale_up: {cooldown: 5x}", tiers="[{up_to: 5, replicas: 1}]", maximum="many")
    assert len(refused(text)) == 3


def test_what_to_do_without_a_reading_is_nothing_unless_the_policy_says_so() -> None:
    text = dedent(worker("on_unavailable: {after: 5m, at_least: '${LEAST:-3}'}"))
    policy, document = load_policy(text, {})
    wish = policy.workers["a"].on_unavailable
    assert wish is not None
    assert (wish.after, wish.at_least) == (300, 3)
    rows = {dotted(path): (value, origin) for path, value, origin in effective(policy, document)}
    assert rows["workers.a.on_unavailable.after"] == ("5m", "line 7")
    assert rows["workers.a.on_unavailable.at_least"] == ("3", "line 7, LEAST is not set, its default is '3'")
    without, _ = load_policy(SHIPPED, SERVICE)
    assert without.workers["generation-worker"].on_unavailable is None


def test_two_workers_on_one_service_are_refused() -> None:
    text = (
        dedent(worker())
        + "  b:\n    service: svc\n    queue: {table: t}\n    tiers: [{replicas: 1}]\n    max_replicas: 1\n"
    )
    assert "workers.b.service: is the service of workers.a too" in "\n".join(refused(text))


def test_two_workers_that_would_overwrite_each_other_s_share_are_refused() -> None:
    limit = "rate_limit: {rpm: 10}"
    second = dedent(worker(limit)).replace("  a:", "  b:").replace("svc", "other").removeprefix("workers:\n")
    assert "uses keys that another worker uses too (worker:rpm:<window>," in "\n".join(
        refused(dedent(worker(limit)) + second)
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RAILWAY_WORKER_SERVICE_ID", "${[worker.SERVICE_ID]}", "which Cloud did not replace"),
        ("POLL_INTERVAL_MS", "${[shared.POLL]}", "which Cloud did not replace"),
        ("MAX_WORKERS", "${WORKERS}", "holds ${WORKERS}, which nothing has replaced"),
        ("MAX_WORKERS", "$WORKERS", "holds $WORKERS, which nothing has replaced"),
    ],
)
def test_a_variable_that_still_holds_a_reference_is_said_at_each_place_that_reads_it_and_nothing_follows_from_it(
    name: str, value: str, words: str
) -> None:
    problems = refused(SHIPPED, **{name: value})
    assert len(problems) == SHIPPED.count(f"${{{name}")
    for problem in problems:
        assert f"{name} holds " in problem
        assert words in problem


def test_a_reference_of_a_platform_s_in_the_file_itself_is_told_where_it_belongs() -> None:
    (problem,) = refused(worker().replace("service: svc", 'service: "${[worker.SERVICE_ID]}"'))
    assert "; put a reference of Cloud's into a variable, and write the variable's name" in problem


def test_the_targets_of_a_policy_are_named_by_the_keys_that_its_workers_use() -> None:
    assert load_policy(SHIPPED, SERVICE)[0].platforms == {"service"}


def test_a_bad_variable_is_named_with_its_value() -> None:
    (problem,) = refused(SHIPPED, POLL_INTERVAL_MS="soon")
    assert "interval: 'soonms' is not a duration" in problem
    assert "(POLL_INTERVAL_MS is 'soon')" in problem


@pytest.mark.parametrize("name", ["DATABASE_URL", "PGPASS", "MY_AUTH", "API_TOKEN"])
@pytest.mark.parametrize("value", ["hunter2", "${NAME}:-hunter2", "424242"])
@pytest.mark.parametrize("place", ["${MIN_WORKERS:-0}", "up_to: 10", "${RAILWAY_WORKER_SERVICE_ID}", "generation_job"])
def test_a_secret_that_strays_into_a_policy_is_not_printed(name: str, value: str, place: str) -> None:
    expression, _, default = value.partition(":-")
    stray = f"${{{name}:-{default}}}" if default else f"${{{name}}}"
    text = SHIPPED.replace(place, f"up_to: {stray}" if place.startswith("up_to") else stray)
    environment = {**SERVICE} if default else {**SERVICE, name: expression}
    try:
        policy, document = load_policy(text, environment)
        shown = "\n".join(f"{value} {origin}" for _, value, origin in effective(policy, document))
    except ConfigurationError as error:
        shown = str(error)
    assert "hunter2" not in shown
    assert "424242" not in shown


@pytest.mark.costly
def test_anchors_and_merges_work_and_a_bomb_of_them_does_not() -> None:
    text = dedent("""\
        workers:
          a: &base
            service: a
            queue: {table: t}
            tiers: &tiers [{up_to: 0, replicas: 0}, {replicas: 1}]
            max_replicas: 1
          b:
            <<: *base
            service: b
            tiers: *tiers
        """)
    policy, _ = load_policy(text, {})
    assert policy.workers["b"].only_queue.table == "t"
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
    )
    assert "holds more than" in refused(bomb)[0]
    merges = "a: &a {x: 1}\n" + "".join(
        f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 10)}]}}\n"
        for old, new in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert "holds more than" in refused(merges)[0]


def test_each_value_tells_where_it_comes_from() -> None:
    policy, document = load_policy(SHIPPED, {**SERVICE, "MAX_WORKERS": "7"})
    rows = {dotted(path): (value, origin) for path, value, origin in effective(policy, document)}
    line = next(number for number, text in enumerate(SHIPPED.splitlines(), 1) if "max_replicas:" in text)
    assert rows["workers.generation-worker.max_replicas"] == ("7", f"line {line}, MAX_WORKERS is '7'")
    assert rows["interval"][1].endswith("POLL_INTERVAL_MS is not set, its default is '10000'")
    assert rows["workers.generation-worker.scale_down.stabilization_window"] == ("0s", "built in")


@given(st.integers(0, 10**8))
def test_a_duration_is_written_as_it_would_be_read(milliseconds: int) -> None:
    written = as_policy(milliseconds / 1000)
    policy, _ = load_policy(dedent(worker(f"scale_up: {{cooldown: {written}}}")), {})
    assert policy.workers["a"].scale_up.cooldown == pytest.approx(milliseconds / 1000)


@settings(max_examples=examples(40, 1000))
@given(st.text(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>'\"\n ${}01#%@`,?", max_size=200))
def test_rubbish_is_refused_and_never_crashes(text: str) -> None:
    with pytest.raises(ConfigurationError):
        load_policy(text, {})


_NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
)


@pytest.mark.costly
@settings(max_examples=examples(25, 600))
@given(st.dictionaries(st.sampled_from(["service", "queue", "tiers", "max_replicas", "scale_up"]), _NODES))
def test_a_worker_of_rubbish_is_refused_and_never_crashes(entries: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        load_policy(json.dumps({"workers": {"a": entries}}), {})


@pytest.mark.costly
@pytest.mark.skipif(PYDANTIC < (2, 14), reason="pydantic words a schema differently from version to version")
def test_the_schema_for_editors_is_up_to_date() -> None:
    assert json.loads((ROOT / "controller" / "policy" / "schema.json").read_text()) == json_schema()


QUEUE = "workers: {{w: {{service: s, max_replicas: 3, tiers: [{{replicas: 1}}], queue: {queue}}}}}"


@pytest.mark.parametrize(
    ("queue", "problem"),
    [
        ("{}", "workers.w.queue: does not say where the jobs are; write one of table: NAME, preset: procrastinate"),
        ("{table: a, sql: SELECT 1}", "workers.w.queue: has table and sql, and the jobs are in one place"),
        ("{preset: pgboss}", "'pgboss' is not a known preset; did you mean pg-boss?"),
        ("{preset: kafka}", "known are absurd, chancy"),
        ("{preset: pgmq}", "has no queues, and pgmq keeps each in a table of its own; write queues: [name]"),
        ("{preset: river, queues: mail}", "workers.w.queue.queues: must be a list"),
        ("{preset: river, queues: [a, a]}", "workers.w.queue.queues[1]: names a twice"),
        ("{preset: river, columns: {status: x}}", "workers.w.queue.columns: belongs to a queue with table:"),
        ("{table: a, queues: [b]}", "workers.w.queue.queues: belongs to a queue with preset:, and this one has table:"),
        ("{table: a, schema: b}", "leave it out, or write jobs.NAME as the table"),
        (
            "{sql: SELECT 1, stale_after: 1m}",
            "workers.w.queue.stale_after: has no effect with sql; leave stale jobs out",
        ),
        ("{table: a, stale_after: 0s}", "workers.w.queue.stale_after: must be above 0"),
        ("{table: a, ahead: 0s}", "workers.w.queue.ahead: must be 1s to 1h, such as 30s, or off"),
        ("{table: a, ahead: 61m}", "workers.w.queue.ahead: must be 1s to 1h, such as 30s, or off"),
        ("{table: a, ahead: 30}", "workers.w.queue.ahead: must be 1s to 1h, such as 30s, or off"),
        ("{table: a, ahead: true}", "workers.w.queue.ahead: must be 1s to 1h, such as 30s, or off"),
        ("{table: a, ahead: no}", "workers.w.queue.ahead: is no, which some read as false; write false, or"),
        ("{sql: SELECT 1, ahead: off}", "workers.w.queue.ahead: has no effect with sql; count the jobs that fall due"),
        ("{table: off}", "workers.w.queue.table: is off, which some read as false"),
        ("{sql: ''}", "workers.w.queue.sql: is empty"),
        ("{sql: 7}", "workers.w.queue.sql: must be a text, not 7"),
        ("{table: a, count_limit: 0}", "workers.w.queue.count_limit: must be at least 1, not 0"),
        ("{query: SELECT 1}", "workers.w.queue.query: is not a key: write sql"),
        (f"{{table: a, wake_on: {'日' * 22}}}", "takes 66 bytes in UTF-8, and no name in PostgreSQL has more than 63"),
        (f"{{table: a, wake_on: {'c' * 64}}}", "workers.w.queue.wake_on: is longer than 63 characters; shorten it"),
        (f"{{table: jobs.{'é' * 32}}}", "takes 64 bytes in UTF-8, and no name in PostgreSQL has more than 63; shorten"),
        (f"{{table: a, columns: {{status: {'é' * 32}}}}}", "workers.w.queue.columns.status: '"),
        ("{table: a.b.c}", "workers.w.queue.table: 'a.b.c' is not a table's name; write NAME or SCHEMA.NAME, each in"),
        ("{table: 'a\"b'}", "'a\"b' is not a table's name"),
        ("{table: '\"\"'}", "'\"\"' is not a table's name"),
        ("{table: '\"\".b'}", "'\"\".b' is not a table's name"),
        ("{table: .b}", "'.b' is not a table's name"),
        ("{table: ''}", "workers.w.queue.table: is empty"),
        ("{table: a, statuses: {pending: [x, y, x]}}", "workers.w.queue.statuses.pending[2]: is twice in pending"),
        (
            "{table: a, statuses: {processing: [x], pending: [y, x]}}",
            "workers.w.queue.statuses.processing[0]: would be counted twice: pending has it too; keep one",
        ),
        (
            "{table: a, statuses: {pending: [new, failed]}}",
            "statuses.pending[1]: would be counted twice: failed has it by default; write statuses.failed too",
        ),
        ("{sql: SELECT 1, count_limit: 10000}", "workers.w.queue.count_limit: has no effect with sql; count over a"),
        ("{sql: 'SELECT pg_advisory_lock(1)'}", "calls pg_advisory_lock, and the lock would stay with the connection;"),
        (
            "{sql: 'SELECT PG_Try_Advisory_Lock_Shared (1)'}",
            "connection; read pg_locks, or take pg_try_advisory_xact_lock_shared, which ends with the query",
        ),
        ("{sql: 'SELECT pg_catalog.\"pg_try_advisory_lock\"(1)'}", "calls pg_try_advisory_lock, and the lock"),
        ("{sql: 'SELECT pg_advisory_lock/**/(1)'}", "calls pg_advisory_lock, and the lock"),
        ("{sql: 'SELECT pg_advisory_lock /* /* */ */ (1)'}", "calls pg_advisory_lock, and the lock"),
        ('{sql: "SELECT pg_advisory_lock -- so\\n (1)"}', "calls pg_advisory_lock, and the lock"),
        ("{sql: 'SELECT U&\"pg\\005fadvisory\\+00005flock\" (1)'}", "calls pg_advisory_lock, and the lock"),
        ("{table: a, where: '\"pg_advisory_lock\" (1) IS NULL'}", "calls pg_advisory_lock, and the lock"),
    ],
)
def test_a_queue_is_in_one_place_and_what_makes_no_sense_there_is_refused(queue: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_policy(QUEUE.format(queue=queue), {}, presets=PresetFiles())
    assert any(problem in str(one) for one in error.value.problems), error.value.problems


@pytest.mark.parametrize("text", ["off", "Off", "'off'", "false", '"${AHEAD:-off}"', '"${UNSET:-off}"'])
def test_not_to_count_ahead_is_written_as_off_or_as_yaml_reads_it(text: str) -> None:
    policy, document = load_policy(QUEUE.format(queue=f"{{table: a, ahead: {text}}}"), {"AHEAD": "off"})
    assert policy.workers["w"].only_queue.ahead == 0
    assert {value for path, value, _ in effective(policy, document) if path[-1] == "ahead"} == {"off"}


def test_how_long_ahead_jobs_count_is_a_duration_or_left_to_the_start_up_time() -> None:
    said, _ = load_policy(QUEUE.format(queue="{table: a, ahead: 90s}"), {})
    unsaid, _ = load_policy(QUEUE.format(queue="{table: a}"), {})
    assert (said.workers["w"].only_queue.ahead, unsaid.workers["w"].only_queue.ahead) == (90.0, None)


def test_a_preset_of_one_s_own_that_does_not_tell_what_falls_due_refuses_ahead(tmp_path: Path) -> None:
    form = "[tables]\njobs = 'job'\n[[forms]]\nready = '{jobs} j WHERE true'\nprocessing = '{jobs} j WHERE false'\n"
    (tmp_path / "mine.toml").write_text(form)
    queue = QUEUE.format(queue="{preset: ./mine.toml, ahead: 30s}")
    with pytest.raises(ConfigurationError, match=r"queue\.ahead: has no effect: .*mine\.toml has no form with soon"):
        load_policy(queue, {}, presets=PresetFiles(tmp_path))
    tells = "scheduled = '{jobs} j WHERE j.due > now()'\nsoon = 'j.due <= now() + {ahead}'\n"
    (tmp_path / "mine.toml").write_text(form + tells)
    load_policy(queue, {}, presets=PresetFiles(tmp_path))


@pytest.mark.parametrize("character", ["\n", "\t", "\0", "\r", "\x1b", "\x7f", "\x85", "\u2028"])
@pytest.mark.parametrize(
    ("queue", "place"),
    [
        ("{table: '${X}'}", "table"),
        ("{table: a, wake_on: '${X}'}", "wake_on"),
        ("{table: a, columns: {status: '${X}'}}", "columns.status"),
        ("{table: a, columns: {locked_at: '${X}'}}", "columns.locked_at"),
        ("{table: a, statuses: {failed: [dead, '${X}']}}", "statuses.failed[1]"),
        ("{preset: river, schema: '${X}'}", "schema"),
        ("{preset: delayed_job, prefix: '${X}'}", "prefix"),
        ("{preset: river, queues: [a, '${X}']}", "queues[1]"),
    ],
)
def test_a_name_that_would_break_the_line_it_is_printed_on_is_refused(queue: str, place: str, character: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_policy(QUEUE.format(queue=queue), {"X": f"a{character}DROP"})
    (problem,) = error.value.problems
    assert f"workers.w.queue.{place}: 'a" in str(problem)
    assert "holds a character that cannot be printed; leave it out" in str(problem)
    assert character not in str(problem)


@pytest.mark.parametrize(
    "queue",
    [
        f"{{table: {'日' * 21}, wake_on: {'日' * 21}}}",
        f"{{table: {'s' * 63}.{'t' * 63}}}",
        "{table: a, statuses: {pending: [failed], failed: [dead]}}",
        "{sql: 'SELECT pg_try_advisory_xact_lock(1), my_pg_advisory_lock(2), pg_advisory_unlock(3)'}",
        "{sql: SELECT 1 FROM pg_locks -- those of pg_advisory_lock}",
        "{sql: SELECT 1 -- pg_advisory_lock(1)}",
        "{sql: SELECT 1 /* pg_advisory_lock(1) */}",
        """{sql: "SELECT 'pg_advisory_lock(1)', $a$ pg_advisory_lock(1) $a$"}""",
    ],
)
def test_what_only_looks_like_what_is_refused_is_accepted(queue: str) -> None:
    accepted = load_policy(QUEUE.format(queue=queue), {})[0].workers["w"].only_queue
    written = yaml.safe_load(queue)
    assert {key: accepted.model_dump(mode="json")[key] for key in written if key != "statuses"} == {
        key: value for key, value in written.items() if key != "statuses"
    }


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("job", ("", "job")),
        ("jobs.job", ("jobs", "job")),
        ('jobs."a.b"', ("jobs", "a.b")),
        ('"a""b".c d', ('a"b', "c d")),
    ],
)
def test_a_table_s_name_is_split_as_sql_would(table: str, names: tuple[str, str]) -> None:
    assert split_name(table) == names


def test_a_query_is_shown_without_a_limit_that_it_does_not_have() -> None:
    policy, document = load_policy(QUEUE.format(queue="{sql: SELECT 1}"), {})
    assert not [path for path, _, _ in effective(policy, document) if "count_limit" in path]


def test_a_schema_is_called_so_in_the_file_and_in_all_that_is_shown_of_it() -> None:
    policy, document = load_policy(QUEUE.format(queue="{preset: oban, schema: jobs, queues: [a, b]}"), {})
    shown = {path[3]: value for path, value, _ in effective(policy, document) if path[2:3] == ("queue",)}
    assert shown == {"preset": "oban", "queues": "a, b", "schema": "jobs", "count_limit": "10000"}


def test_notifications_may_not_start_cycles_without_a_pause() -> None:
    with pytest.raises(ConfigurationError, match="a busy queue notifies all the time"):
        load_policy("wake_min_interval: 50ms\n" + QUEUE.format(queue="{table: a}"), {})


def test_the_problems_of_a_file_are_told_from_top_to_bottom() -> None:
    """Whatever finds them: the types, what only fits together, or what two workers share."""
    problems = refused(
        """\
        workers:
          a:
            service: svc
            queue: {table: job}
            tiers: [{replicas: 1}, {replicas: 2}]
            max_replicas: 5
            colour: red
          b:
            service: svc
            queue: {table: other}
            tiers: [{replicas: 1}]
            max_replicas: ${NOPE}
        interval: 1
        """
    )
    lines = [int(problem.split(":")[1]) for problem in problems]
    assert len(lines) > 3
    assert lines == sorted(lines)
