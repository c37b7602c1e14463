"""The environment: everything that is wrong is named at once, and no secret with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import configuration
from controller.config import settings as of_environment
from controller.config.address import Address
from controller.config.settings import Settings
from controller.core.problems import ConfigurationError, Problem
from tests.support.platforms import CLOUD

RIGHT = {
    "DATABASE_URL": "postgresql://user:hunter2@db.internal:5432/jobs",
    "REDIS_URL": "redis://:swordfish@redis.internal:6379/0",
}
ADAPTERS = replace(configuration.ADAPTERS, platforms=(CLOUD,))


def load_settings(environment: dict[str, str]) -> Settings:
    return of_environment.load_settings(environment, ADAPTERS)


def load_database(environment: dict[str, str], *, why: str) -> Address:
    return of_environment.load_database(environment, ADAPTERS, why=why)


def problems_of(environment: dict[str, str]) -> list[Problem]:
    try:
        load_settings(environment)
    except ConfigurationError as error:
        return list(error.problems)
    return []


def refused(**changes: str) -> list[str]:
    return [str(problem) for problem in problems_of({**RIGHT, **changes})]


def test_the_defaults() -> None:
    settings = load_settings(RIGHT)
    assert (settings.group, settings.replica) == ("default", "here")
    assert (settings.port, settings.timing.ttl, settings.key_prefix, settings.log_format) == (
        8080,
        15,
        "autoscaler",
        None,
    )


def test_an_empty_environment_names_every_variable_that_is_missing() -> None:
    assert {problem.place for problem in problems_of({})} == RIGHT.keys()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DATABASE_URL": "mysql://u:hunter2@h/d"}, "DATABASE_URL: must be a PostgreSQL address"),
        ({"DATABASE_URL": "hunter2"}, "DATABASE_URL: is not a PostgreSQL address"),
        ({"DATABASE_URL": "postgresql://u:hunter2@h:99999/d"}, "DATABASE_URL: has an invalid port"),
        ({"DATABASE_URL": "postgresql://u:hunter2@h:port/d"}, "DATABASE_URL: has an invalid port"),
        ({"DATABASE_URL": "postgresql://u:hun%ter2@h/d"}, "DATABASE_URL: is not a PostgreSQL address"),
        ({"DATABASE_URL": "postgresql://u:hunter2@h/d?colour=red"}, "DATABASE_URL: is not a PostgreSQL address"),
        ({"DATABASE_DIRECT_URL": "mysql://u:hunter2@h/d"}, "DATABASE_DIRECT_URL: must be a PostgreSQL address"),
        ({"DATABASE_DIRECT_URL": "postgresql://u:hunter2@h:x/d"}, "DATABASE_DIRECT_URL: has an invalid port"),
        ({"REDIS_URL": "http://h"}, "REDIS_URL: is an HTTP address"),
        ({"REDIS_URL": "redis://"}, "REDIS_URL: must be a Redis address"),
        ({"REDIS_URL": "redis://:hunter2@h:x"}, "REDIS_URL: must be a Redis address"),
        ({"REDIS_URL": "redis://:hunter2@h/zero"}, "REDIS_URL: must end in a database number"),
        ({"REDIS_URL": "redis://h?socket_timeout=abc"}, "REDIS_URL: has the option 'socket_timeout'"),
        ({"REDIS_URL": "redis://h?ssl_cert_reqs=none"}, "REDIS_URL: has the option 'ssl_cert_reqs'"),
        ({"REDIS_URL": "redis+sentinel://:hunter2@a:26379,b:26379/main"}, "REDIS_URL: names a Sentinel, which is not"),
        ({"REDIS_URL": "redis://h?cluster=yes"}, "REDIS_URL: has an option cluster that may only be true or false"),
        ({"REDIS_URL": "redis://h/2?cluster=true"}, "REDIS_URL: asks for a database number, and a Redis Cluster"),
        ({"REDIS_URL": "rediss://h?ssl_cert_reqs=maybe"}, "REDIS_URL: has an option ssl_cert_reqs that may only be"),
        ({"DATABASE_URL": "postgresql://h/d?sslmode=bogus"}, "DATABASE_URL: has an sslmode that is not known"),
        *(
            ({"PORT": port}, "PORT: must be a port, 1 to 65535")
            for port in ("http", "²", "٣", "1_0", "0x10", "8080.0", "1e3", "80 80")
        ),
        *(
            ({name: f"{RIGHT.get(name, '')}\udcff"}, f"{name}: holds bytes that are not UTF-8; set it again, in UTF-8")
            for name in (*RIGHT, "DATABASE_DIRECT_URL", "PORT", "LOG_FORMAT", "REDIS_KEY_PREFIX", "LEASE_TTL_MS")
        ),
        ({"DATABASE_URL": "postgresql://h\0/d"}, "DATABASE_URL: holds a NUL character; remove it"),
        ({"REDIS_URL": "redis://" + "h" * 70_000}, "REDIS_URL: is longer than 65,536 characters; shorten it"),
        ({"DATABASE_URL": "postgresql://u:hunter2@h:²/d"}, "DATABASE_URL: has an invalid port"),
        ({"DATABASE_URL": "postgresql://u:hunter2@a..b/d"}, "DATABASE_URL: has an invalid host"),
        ({"DATABASE_URL": f"postgresql://u:hunter2@{'a' * 64}/d"}, "DATABASE_URL: has an invalid host"),
        ({"REDIS_URL": "redis://:hunter2@h:²"}, "REDIS_URL: must be a Redis address"),
        ({"REDIS_URL": "redis://:hunter2@a..b"}, "REDIS_URL: must be a Redis address"),
        ({"PORT": "70000"}, "PORT: must be a port"),
        ({"PORT": "-1"}, "PORT: must be a port"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT: must be json or text, not 'xml'"),
        ({"LEASE_TTL_MS": "10"}, "LEASE_TTL_MS: must be milliseconds, 1000 to 600000"),
        ({"REDIS_KEY_PREFIX": "{x}"}, "REDIS_KEY_PREFIX: may have letters"),
        ({"PORT": "9" * 5000}, "PORT: must be a port"),
        ({"CLOUD_TIMEOUT_MS": "1s"}, "CLOUD_TIMEOUT_MS: must be milliseconds, 50 to 3600000"),
        ({"CLOUD_TIMEOUT_MS": "14000"}, "CLOUD_TIMEOUT_MS: may be at most"),
        ({"LANDING_BOUND_MS": "4000", "CLOUD_TIMEOUT_MS": "5000"}, "may not be below CLOUD_TIMEOUT_MS, which is 5s"),
    ],
)
def test_what_is_malformed_is_named_without_its_value(changes: dict[str, str], words: str) -> None:
    problems = "\n".join(refused(**changes))
    assert words in problems
    assert "hunter2" not in problems


@pytest.mark.parametrize(
    "url", ["postgres://h/d", "postgresql:///d?host=/run/pg", "host=h dbname=d", "postgresql://a:1,b:2/d"]
)
def test_every_form_of_a_postgres_address_is_accepted(url: str) -> None:
    assert load_settings({**RIGHT, "DATABASE_URL": url}).database_url.get_secret_value() == url


def test_the_way_around_a_pooler_need_not_be_set() -> None:
    assert load_settings({**RIGHT, "DATABASE_DIRECT_URL": " "}).database_direct_url is None
    direct = "postgresql://u:other@direct/d"
    settings = load_settings({**RIGHT, "DATABASE_DIRECT_URL": direct})
    assert settings.database_direct_url is not None
    assert settings.database_direct_url.get_secret_value() == direct
    assert {direct, "other"} <= set(settings.secrets)


@pytest.mark.parametrize(
    "url",
    ["redis://h", "rediss://user:pw@h:6380/3", "redis://[::1]:6379", "redis://h?family=0", "redis://h/0?cluster=true"],
)
def test_every_form_of_a_redis_address_is_accepted(url: str) -> None:
    assert load_settings({**RIGHT, "REDIS_URL": url}).redis_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ({"CLOUD_UNIT": "a", "HOSTNAME": "b"}, "a"),
        ({"CLOUD_UNIT": "\udcff\x1b", "HOSTNAME": "b\n\udcfe"}, "b"),
        ({"HOSTNAME": "\udcff "}, "here"),
        ({"HOSTNAME": "h" * 300}, "h" * 128),
    ],
)
def test_a_replica_s_name_is_only_a_label_and_what_is_odd_in_it_is_left_out(names: dict[str, str], shown: str) -> None:
    assert load_settings({**RIGHT, **names}).replica == shown


def test_an_address_for_another_client_is_used_without_what_libpq_does_not_know() -> None:
    written = f"{RIGHT['DATABASE_URL']}?schema=app&connection_limit=5&pgbouncer=true&sslmode=no-verify"
    settings = load_settings({**RIGHT, "DATABASE_URL": written, "DATABASE_DIRECT_URL": f"{written}&pool_timeout=3"})
    used = f"{RIGHT['DATABASE_URL']}?sslmode=require"
    assert settings.database_url.get_secret_value() == used
    assert settings.database_direct_url is not None
    assert settings.database_direct_url.get_secret_value() == used
    assert settings.search_path == '"app"'
    assert [str(note) for note in settings.notes] == [
        "DATABASE_URL: connection_limit: for other clients, without effect here",
        "DATABASE_DIRECT_URL: connection_limit, pool_timeout: for other clients, without effect here",
    ]
    assert {written, used, "hunter2"} <= set(settings.secrets)


@pytest.mark.parametrize(
    "name",
    [
        *("DATABASE_URL", "DATABASE_DIRECT_URL", "REDIS_URL", "HTTP_TOKEN", "CLOUD_TIMEOUT_MS", "PORT"),
        *("LOG_FORMAT", "REDIS_KEY_PREFIX", "LEASE_TTL_MS"),
    ],
)
@pytest.mark.parametrize("value", ["${[Other.NAME]}", "${NAME}", "$NAME"])
def test_a_reference_that_nothing_replaced_is_said_once_in_whichever_variable_it_stands(name: str, value: str) -> None:
    (problem,) = refused(**{name: value})
    assert problem.startswith(f"{name}: holds ")
    assert ("Cloud did not replace" if "[" in value else "nothing has replaced") in problem


def test_all_that_was_not_replaced_is_said_at_once() -> None:
    problems = refused(DATABASE_URL="${[Postgres.DATABASE_URL]}", REDIS_URL="${[Redis.REDIS_URL]}", PORT="http")
    assert [problem.partition(":")[0] for problem in problems] == ["DATABASE_URL", "REDIS_URL", "PORT"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"postgresql://u:hunter2@h/d"', "DATABASE_URL: has quotation marks around it"),
        ("DATABASE_URL=postgresql://u:hunter2@h/d", "DATABASE_URL: begins with its own name; take DATABASE_URL= out"),
    ],
)
def test_what_was_pasted_with_too_much_around_it_is_said(value: str, words: str) -> None:
    (problem,) = refused(DATABASE_URL=value)
    assert problem.startswith(words)
    assert "hunter2" not in problem


def test_a_command_that_only_reads_the_database_reads_its_address_in_the_same_way() -> None:
    address = load_database({"DATABASE_URL": f"{RIGHT['DATABASE_URL']}?schema=app&pool_timeout=3"}, why="…")
    assert (address.url, address.search_path) == (RIGHT["DATABASE_URL"], '"app"')
    with pytest.raises(ConfigurationError, match="DATABASE_URL: is not set; it is for this"):
        load_database({}, why="it is for this")
    with pytest.raises(ConfigurationError, match=r"take out \+asyncpg"):
        load_database({"DATABASE_URL": "postgresql+asyncpg://u:hunter2@h/d"}, why="…")


@pytest.mark.parametrize(("name", "scheme"), [("DATABASE_URL", "postgresql://"), ("REDIS_URL", "redis://")])
def test_an_address_that_is_not_set_is_asked_for_with_an_example(name: str, scheme: str) -> None:
    (problem,) = refused(**{name: ""})
    assert problem.startswith(f"{name}: is not set; write the address of ")
    assert f"such as {scheme}" in problem


def test_no_secret_shows_in_a_repr_and_all_are_known_to_be_masked() -> None:
    settings = load_settings(RIGHT)
    shown = f"{settings!r} {settings}"
    assert not any(secret in shown for secret in ("hunter2", "swordfish"))
    assert {"hunter2", "swordfish"} <= set(settings.secrets)


def test_a_group_without_a_name_has_the_platform_s_and_replicas_elsewhere_a_common_one() -> None:
    on_a_platform = {**RIGHT, "CLOUD_ZONE": " zone "}
    assert load_settings(on_a_platform).group == "zone"
    assert load_settings({**on_a_platform, "AUTOSCALER_GROUP": "render"}).group == "render"
    assert load_settings(RIGHT).group == "default"


def test_the_deadline_of_a_change_is_the_platform_s() -> None:
    assert load_settings({**RIGHT, "CLOUD_TIMEOUT_MS": "3000"}).timing.change_timeout == 3


@pytest.mark.parametrize("quoted", ['"abc', "abc'", "\u201cabc"])
def test_a_quotation_mark_at_an_end_of_a_token_is_said_with_the_fix(quoted: str) -> None:
    assert refused(HTTP_TOKEN=quoted) == [
        "HTTP_TOKEN: begins or ends with a quotation mark, which counts as part of the value; remove it"
    ]


def test_blanks_around_a_token_are_left_out_and_said() -> None:
    (warning,) = load_settings({**RIGHT, "HTTP_TOKEN": " abc\r\n"}).warnings
    assert str(warning) == "HTTP_TOKEN: has blanks or line breaks around it, which are ignored; remove them"


@pytest.mark.parametrize("name", ["two words", "}:lease", "-begins-odd", "g" * 65])
def test_a_group_s_name_is_a_plain_word(name: str) -> None:
    assert refused(AUTOSCALER_GROUP=name) == [
        "AUTOSCALER_GROUP: may have letters, digits, '.', '_' and '-' only, at most 64"
    ]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        pytest.param(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318",
            "must be the address of a collector, such as http://collector:4318",
            id="an address without http",
        ),
        pytest.param(
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "must be http/protobuf or unset, not 'grpc'",
            id="another protocol",
        ),
        pytest.param(
            "OTEL_METRIC_EXPORT_INTERVAL",
            "10s",
            "must be milliseconds, 1000 to 3600000, not '10s'",
            id="an interval with a unit",
        ),
    ],
)
def test_what_is_wrong_with_a_collector_is_said_only_if_one_is_set(name: str, value: str, words: str) -> None:
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    assert refused(**{**collector, name: value}) == [f"{name}: {words}"]
    if name not in collector:
        assert refused(**{name: value}) == []


def test_metrics_are_sent_once_a_minute_and_only_to_a_collector_that_is_set() -> None:
    assert load_settings(RIGHT).push_every_s is None
    assert load_settings({**RIGHT, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}).push_every_s == 60


def test_the_headers_for_a_collector_are_secrets() -> None:
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer hunter3hunter3, tenant=acme"}
    assert {"Bearer hunter3hunter3", "acme"} <= set(load_settings({**RIGHT, **headers}).secrets)
