"""Whatever a person, a file or a server hands us is used or refused: one message with place and fix, never a traceback.

A few examples in each run; `AUTOSCALER_TEST_LONG=1` tries more than ten thousand.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.adapters.railway.settings import railway_if_set
from controller.cli import main as cli
from controller.cli.check import claims_without_end
from controller.configuration import configure, load_database, load_settings, read_policy
from controller.core.implied_waits import Expectation
from controller.core.problems import ConfigurationError
from controller.policy import dotted, effective, load_policy, overlaps
from controller.simulation.workload.traces import read_trace
from tests.support.examples import examples

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "policy.yaml").read_text()
fuzzed = settings(max_examples=examples(15, 2500), deadline=None, suppress_health_check=list(HealthCheck))

ODD_SCALARS = st.sampled_from(
    [
        *(
            '!!int ""',
            "!!float ",
            "!!int 0x",
            "!!float .",
            "!!bool maybe",
            "!!null x",
            "!!str 5",
            "! 5",
            "!!timestamp x",
        ),
        *("!!binary x", "!!set {a}", "!!omap [a: 1]", "!!python/name:os.system", "!<tag:x> y", "!!str", "!local z"),
        *('"\\UFFFFFFFF"', '"\\ud800"', '"\\x00"', '"\\q"', '"\\u2028"', "'", '"', "0x" + "F" * 9000, "9" * 5000),
        *("010", "0o10", "0b1", "1:30", "1:30:61", "1_000", "1_", "_1", "1e3", "1e999", "-.inf", ".nan", "+.5", "-0"),
        *(
            "yes",
            "Off",
            "y",
            "~",
            "null",
            "true",
            "2024-01-01",
            "2024-13-45 99:99",
            "-",
            "--",
            "+",
            ".",
            "..",
            "=",
            "<<",
        ),
        *(
            "*a",
            "&a x",
            "&a *a",
            "*",
            "&",
            "[",
            "]",
            "{",
            "}",
            "[[",
            "{{",
            "? ",
            ": ",
            "#",
            "|",
            ">",
            "|9",
            ">-\n",
            "@",
            "`",
        ),
        *(
            "${A}",
            "${A:-${B}}",
            "${",
            "$$",
            "$",
            "${{x}}",
            "${B:-\x1b}",
            "²",
            "٣",
            "\u0661s",
            "\ufeff",
            "\x85",
            "5",
            "30s",
            "1.5h",
        ),
        *("---", "...", "%YAML 1.2", "%TAG ! x", "\t", "\0", "\x1b[0m", "\ud800", "a" * 70_000, "1." + "0" * 400),
    ]
)
WORDS = st.sampled_from(
    [
        *("interval", "wake_min_interval", "workers", "service", "queue", "max_replicas", "min_replicas", "tiers"),
        *("target_wait", "service_time", "scale_up", "scale_down", "on_unavailable", "jobs_per_worker", "rate_limit"),
        *("up_to", "replicas", "cooldown", "max_step", "idle_off", "stabilization_window", "after", "at_least", "rpm"),
        *("keys", "usage", "table", "preset", "sql", "queues", "schema", "prefix", "columns", "statuses", "wake_on"),
        *("count_limit", "stale_after", "where", "timezone", "timeout", "status", "name", "unit", "pending", "failed"),
    ]
)
TEXTS = st.text(max_size=12) | st.text("ab:-[]{}&*!|>'\"\n ${}01#%@`,?", max_size=20) | ODD_SCALARS


def _mapping(pairs: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


VALUES = st.recursive(
    ODD_SCALARS | TEXTS | st.sampled_from(["1", "5", "30s", "job", "[]", "{}", "procrastinate", "SELECT 1"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(WORDS | st.just("<<") | ODD_SCALARS, inner), max_size=4).map(_mapping)
        | inner.map(lambda value: f"&a {value}")
    ),
    max_leaves=8,
)
WORKERS = st.fixed_dictionaries(
    {"service": st.just("s") | VALUES, "queue": st.just("{table: j}") | VALUES, "max_replicas": st.just("5") | VALUES},
    optional={"tiers": st.just("[{up_to: 1, replicas: 0}, {replicas: 2}]") | VALUES, "target_wait": VALUES,
              "scale_up": VALUES, "scale_down": VALUES, "rate_limit": VALUES, "on_unavailable": VALUES, "<<": VALUES},
)  # fmt: skip
POLICIES = st.lists(st.tuples(st.sampled_from(["a", "b", "<<", "*a", "? a", "é", "~"]), WORKERS), max_size=3).map(
    lambda workers: "workers: " + _mapping([(name, _mapping(list(worker.items()))) for name, worker in workers])
)
CHUNKS = st.lists(st.tuples(st.integers(0, len(SHIPPED)), st.integers(0, 40), TEXTS), min_size=1, max_size=4)


def mutated(changes: list[tuple[int, int, str]]) -> str:
    text = SHIPPED
    for at, gone, put in changes:
        text = text[:at] + put + text[at + gone :]
    return text


ENVIRONMENT_VALUES = (
    TEXTS
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
    | st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"").decode(errors="surrogateescape"))
    | st.sampled_from(["1", "30", "5000", "postgresql://u:p@h/d", "redis://h", "redis://h:²", "http://h:²", "host=h"])
)
ADDRESSES = st.tuples(
    st.sampled_from(["postgresql", "postgres", "redis", "rediss", "http", "https", "jdbc:postgresql", "", "²"]),
    st.lists(ENVIRONMENT_VALUES | st.sampled_from("@:/?#&=%[]²,;"), max_size=8).map("".join),
).map("://".join)
NAMES = st.sampled_from(
    [
        *("RAILWAY_API_TOKEN", "RAILWAY_TOKEN", "RAILWAY_PROJECT_ID", "RAILWAY_ENVIRONMENT_ID", "RAILWAY_API_URL"),
        *("DATABASE_URL", "DATABASE_DIRECT_URL", "REDIS_URL", "REDIS_KEY_PREFIX", "PORT", "LOG_FORMAT", "HOSTNAME"),
        *("RAILWAY_REPLICA_ID", "LEASE_TTL_MS", "LEASE_RENEW_MS", "REDIS_TIMEOUT_MS", "RAILWAY_TIMEOUT_MS"),
        *("LANDING_BOUND_MS", "PGPASSWORD", "RAILWAY_WORKER_SERVICE_ID", "MAX_WORKERS", "MIN_WORKERS", "A", "B"),
        *("GLOBAL_RPM_LIMIT", "POLL_INTERVAL_MS", "SCALE_UP_COOLDOWN_MS", "SCALE_DOWN_COOLDOWN_MS"),
    ]
)
ENVIRONMENTS = st.dictionaries(NAMES, ENVIRONMENT_VALUES | ADDRESSES, max_size=12)
RIGHT = {
    "RAILWAY_API_TOKEN": "t",
    "RAILWAY_PROJECT_ID": "p",
    "RAILWAY_ENVIRONMENT_ID": "e",
    "DATABASE_URL": "postgresql://user:pw@db/jobs",
    "REDIS_URL": "redis://redis",
    "RAILWAY_WORKER_SERVICE_ID": "s",
}


def assert_says_what_to_do(error: ConfigurationError) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.place, problem
        assert len(problem.text) > 5, problem
        assert len(str(problem)) < 2000
        assert str(problem).isprintable(), problem
        str(problem).encode()


def used_or_refused(text: str, environment: Mapping[str, str]) -> None:
    try:
        policy, document = load_policy(text, environment)
    except ConfigurationError as error:
        assert_says_what_to_do(error)
        return
    for path, value, origin in effective(policy, document):
        assert dotted(path)
        assert value is not None
        assert origin
    list(overlaps(policy))
    list(claims_without_end(policy))
    for worker in policy.workers.values():
        list(Expectation.of(worker, given_s=None, measured=None).table())


@pytest.mark.costly
@settings(fuzzed, max_examples=examples(10, 2500))  # to draw such a policy takes ten times as long as the others
@given(POLICIES, ENVIRONMENTS)
def test_a_policy_of_odd_parts_is_used_or_refused(text: str, environment: dict[str, str]) -> None:
    used_or_refused(text, environment)


@fuzzed
@given(CHUNKS, ENVIRONMENTS)
def test_the_shipped_policy_with_pieces_changed_is_used_or_refused(
    changes: list[tuple[int, int, str]], environment: dict[str, str]
) -> None:
    used_or_refused(mutated(changes), {"RAILWAY_WORKER_SERVICE_ID": "s", **environment})


@fuzzed
@given(
    st.binary(max_size=300)
    | CHUNKS.map(lambda changes: mutated(changes).encode(errors="surrogatepass"))
    | CHUNKS.map(lambda changes: mutated(changes).encode("utf-16", errors="surrogatepass"))
    | st.tuples(st.integers(0, len(SHIPPED)), st.binary(min_size=1, max_size=3)).map(
        lambda change: SHIPPED.encode()[: change[0]] + change[1] + SHIPPED.encode()[change[0] :]
    )
)
def test_a_file_of_any_bytes_is_used_or_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_bytes(data)
        try:
            read_policy(path, RIGHT)
        except ConfigurationError as error:
            assert_says_what_to_do(error)


@pytest.mark.costly
@fuzzed
@given(ENVIRONMENTS, st.booleans())
def test_any_environment_is_used_or_refused(environment: dict[str, str], is_complete: bool) -> None:  # noqa: FBT001
    environment = {**(RIGHT if is_complete else {}), **environment}
    for read in (
        load_settings,
        lambda given: load_database(given, why="it is read"),
        lambda given: configure(ROOT / "policy.yaml", given),
    ):
        try:
            read(environment)
        except ConfigurationError as error:
            assert_says_what_to_do(error)
    railway_if_set(environment)


COMMANDS = st.sampled_from(["run", "once", "explain", "doctor", "check", "queues", "queue-trigger"])
OPTIONS = st.sampled_from(
    [
        *(
            "--policy",
            "--json",
            "--dry-run",
            "--service-time",
            "--schema",
            "--help",
            "--version",
            "--",
            "-",
            "policy.yaml",
        ),
        *(
            "--from-database",
            "--bogus",
            "/dev/null",
            "/dev/zero",
            "/proc/self/mem",
            "/proc/kmsg",
            ".",
            "\ud800",
            "a\0b",
        ),
        *(
            "que",
            "generation-worker",
            "--policy=/dev/zero",
            "%(prog)s",
            "@x",
            "--policy=\udcff",
            "²s",
            "1e3s",
            "9" * 5000,
        ),
    ]
)
LATER = st.sampled_from(
    [
        *(
            "simulate",
            "plan",
            "tune",
            "demo",
            "fake-railway",
            "--seed",
            "--load",
            "--since",
            "--span",
            "--port",
            "--worker",
        ),
        *(
            "--concurrency",
            "--max-workers",
            "--budget",
            "--wait",
            "--weeks",
            "--drain",
            "--slo",
            "--winsorise",
            "--thin",
        ),
        *(
            "--seconds",
            "--replicas",
            "--exec",
            "--workload",
            "--trace",
            "--start-failure",
            "--worker-memory",
            "--record",
        ),
    ]
)


def can_be_passed(text: str) -> bool:
    """Whether the system can hand it to a process: other halves of characters than these stand for no byte."""
    return re.search("[\ud800-\udc7f\udd00-\udfff]", text) is None


@pytest.mark.costly
@fuzzed
@given(COMMANDS, st.lists(OPTIONS | TEXTS, max_size=4), ENVIRONMENTS)
def test_any_command_line_ends_with_one_message(
    command: str, arguments: list[str], environment: dict[str, str]
) -> None:
    """Of the commands that touch nothing where the environment is not complete."""
    out, err = io.StringIO(), io.StringIO()
    given_ = {name: value for name, value in environment.items() if "\0" not in value and "PROJECT" not in name}
    with mock.patch.dict(os.environ, {}, clear=True):
        for name, value in given_.items():
            with contextlib.suppress(UnicodeEncodeError):  # no environment can hold it
                os.environ[name] = value
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main([command, *(text for text in arguments if text != "--from-database" and can_be_passed(text))])
    assert ended.value.code in {0, 2}, err.getvalue()
    assert ended.value.code == 0 or "autoscaler" in err.getvalue() or '"valid": false' in out.getvalue()


@pytest.mark.costly
@fuzzed
@given(st.lists(LATER | OPTIONS | TEXTS, max_size=6))
def test_any_command_line_is_parsed_or_refused(arguments: list[str]) -> None:
    code: object = 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            cli.commands()[0].parse_args(arguments)
        except SystemExit as ended:
            code = ended.code
    assert code in {0, 2}


ROWS = st.lists(
    st.lists(
        TEXTS | st.floats().map(str) | st.integers().map(str) | st.sampled_from(["0", "1", "2,5"]), max_size=3
    ).map(",".join),
    max_size=6,
)


@fuzzed
@given(
    st.sampled_from(["t", "t,service", "minute,count", "service,t", "t,minute,count", "", "\ufefft", '"t"', "T"]),
    ROWS,
    st.sampled_from(["\n", "\r\n", "\r", "\0", "\n\n"]),
    st.sampled_from(["utf-8", "utf-16", "latin-1", "gzip", "gzip cut", "gzip damaged"]),
    st.binary(max_size=12),
)
def test_any_trace_is_read_or_refused(head: str, rows: list[str], end: str, kind: str, more: bytes) -> None:
    text = end.join([head, *rows])
    data = text.encode("utf-8" if "gzip" in kind else kind, errors="ignore") + more
    if "gzip" in kind:
        packed = gzip.compress(data)
        data = {"gzip": packed, "gzip cut": packed[:-5], "gzip damaged": packed[:15] + more + packed[15:]}[kind]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.csv"
        path.write_bytes(data)
        try:
            for arrival, service, *_ in itertools.islice(read_trace(path).jobs(), 1000):
                assert 0 <= arrival < float("inf")
                assert 0 <= service < float("inf")
        except ConfigurationError as error:
            assert_says_what_to_do(error)
