"""The environment: everything that is wrong is named at once, and no secret with it."""

from __future__ import annotations

import pytest

from controller.adapters.railway.settings import load_railway, railway_warnings
from controller.configuration import load_database, load_settings
from controller.core.problems import ConfigurationError, Problem

RIGHT = {
    "RAILWAY_API_TOKEN": "t0ken-of-the-account",
    "RAILWAY_PROJECT_ID": "project",
    "RAILWAY_ENVIRONMENT_ID": "environment",
    "DATABASE_URL": "postgresql://user:hunter2@db.internal:5432/jobs",
    "REDIS_URL": "redis://:swordfish@redis.internal:6379/0",
}


def problems_of(environment: dict[str, str]) -> list[Problem]:
    """Of the settings, and of Railway's."""
    problems: list[Problem] = []
    for load in (load_railway, load_settings):
        try:
            load(environment)
        except ConfigurationError as error:
            problems += error.problems
    return problems


def refused(**changes: str) -> list[str]:
    return [str(problem) for problem in problems_of({**RIGHT, **changes})]


def test_the_defaults() -> None:
    settings = load_settings(RIGHT)
    assert load_railway(RIGHT).api_url.startswith("https://backboard.railway.com/graphql/v2?")
    assert settings.group == "environment"
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
        ({"RAILWAY_TOKEN": "another"}, "are both set; keep one"),
        ({"RAILWAY_API_TOKEN": ""}, "RAILWAY_API_TOKEN: is not set; set it to"),
        ({"RAILWAY_API_TOKEN": "two words"}, "RAILWAY_API_TOKEN: is not a token"),
        ({"RAILWAY_API_TOKEN": "a\nb"}, "RAILWAY_API_TOKEN: is not a token"),
        ({"RAILWAY_PROJECT_ID": "a b"}, "RAILWAY_PROJECT_ID: is not an id"),
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
        *(
            ({"RAILWAY_API_URL": url}, "RAILWAY_API_URL: ")
            for url in (
                "http://h/a\nb",
                "http://u:hunter2@h/",
                "http://h:99999/",
                "ftp://h/",
                "http://[v1.x]/",
                "http://xn--/",
            )
        ),
        ({"PORT": "9" * 5000}, "PORT: must be a port"),
        ({"RAILWAY_API_URL": "backboard"}, "RAILWAY_API_URL: must be an http:// or https:// address"),
    ],
)
def test_what_is_malformed_is_named_without_its_value(changes: dict[str, str], words: str) -> None:
    problems = "\n".join(refused(**changes))
    assert words in problems
    assert "hunter2" not in problems


def test_a_project_token_is_accepted_in_its_own_variable() -> None:
    token = load_railway({**RIGHT, "RAILWAY_API_TOKEN": "", "RAILWAY_TOKEN": "p"}).token
    assert (token.kind, token.variable) == ("project", "RAILWAY_TOKEN")


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
        ({"RAILWAY_REPLICA_ID": "a", "HOSTNAME": "b"}, "a"),
        ({"RAILWAY_REPLICA_ID": "\udcff\x1b", "HOSTNAME": "b\n\udcfe"}, "b"),
        ({"HOSTNAME": "\udcff "}, "here"),
        ({"HOSTNAME": "h" * 300}, "h" * 128),
    ],
)
def test_a_replica_s_name_is_only_a_label_and_what_is_odd_in_it_is_left_out(names: dict[str, str], shown: str) -> None:
    assert load_settings({**RIGHT, **names}).replica == shown


def test_a_query_string_is_kept_and_added_where_there_is_none() -> None:
    def url(text: str) -> str:
        return load_railway({**RIGHT, "RAILWAY_API_URL": text}).api_url

    assert url("http://x/graphql?a=b") == "http://x/graphql?a=b"
    assert url("http://x/graphql") == "http://x/graphql?source=worker-autoscaler"


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
        *("RAILWAY_PROJECT_ID", "RAILWAY_ENVIRONMENT_ID", "DATABASE_URL", "DATABASE_DIRECT_URL", "REDIS_URL"),
        *("RAILWAY_API_TOKEN", "RAILWAY_API_URL", "PORT", "LOG_FORMAT", "REDIS_KEY_PREFIX", "LEASE_TTL_MS"),
    ],
)
@pytest.mark.parametrize("value", ["${{Other.NAME}}", "${NAME}", "$NAME"])
def test_a_reference_that_nothing_replaced_is_said_once_in_whichever_variable_it_stands(name: str, value: str) -> None:
    (problem,) = refused(**{name: value})
    assert problem.startswith(f"{name}: holds ")
    assert ("Railway did not replace" if "{{" in value else "nothing has replaced") in problem


def test_all_that_was_not_replaced_is_said_at_once() -> None:
    problems = refused(DATABASE_URL="${{Postgres.DATABASE_URL}}", REDIS_URL="${{Redis.REDIS_URL}}", PORT="http")
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


@pytest.mark.parametrize("name", ["RAILWAY_API_TOKEN", "RAILWAY_PROJECT_ID", "RAILWAY_ENVIRONMENT_ID"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"abc"', "has quotation marks around it, which count as part of the value; remove them"),
        ("'abc'", "has quotation marks around it, which count as part of the value; remove them"),
        ("`abc`", "has quotation marks around it, which count as part of the value; remove them"),
        ("\u201cabc\u201d", "has quotation marks around it, which count as part of the value; remove them"),
        (' "abc" \n', "has quotation marks around it, which count as part of the value; remove them"),
        ('"abc', "begins or ends with a quotation mark, which counts as part of the value; remove it"),
        ("abc'", "begins or ends with a quotation mark, which counts as part of the value; remove it"),
    ],
)
def test_quotes_around_a_token_or_an_id_are_said_with_the_fix(name: str, value: str, words: str) -> None:
    assert refused(**{name: value}) == [f"{name}: {words}"]


@pytest.mark.parametrize("name", ["RAILWAY_API_TOKEN", "RAILWAY_PROJECT_ID", "RAILWAY_ENVIRONMENT_ID", "HTTP_TOKEN"])
def test_blanks_around_a_token_or_an_id_are_left_out_and_said(name: str) -> None:
    environment = {**RIGHT, name: " abc\r\n"}
    settings = load_settings(environment)
    assert [str(warning) for warning in (*railway_warnings(environment), *settings.warnings)] == [
        f"{name}: has blanks or line breaks around it, which are ignored; remove them"
    ]
    assert load_railway({**RIGHT, "RAILWAY_PROJECT_ID": " abc "}).project_id == "abc"


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        *(("http://10.0.0.5:4000/graphql/v2", True), ("http://railway.internal/graphql/v2", True)),
        *(
            ("http://127.0.0.1.example.com/", True),
            ("http://[fd00::1]:4000/", True),
            ("http://localhost.example/", True),
        ),
        *(("http://0.0.0.0:4000/", True), ("HTTP://example.com/", True), ("http://[::ffff:10.0.0.1]/", True)),
        *(
            ("http://127.0.0.1:4000/graphql/v2", False),
            ("http://localhost:4000/", False),
            ("http://[::1]:4000/", False),
        ),
        *(("http://127.9.9.9/", False), ("http://fake.localhost/", False), ("http://[::ffff:127.0.0.1]/", False)),
        *(("https://backboard.railway.com/graphql/v2", False), ("https://10.0.0.5/", False), ("", False)),
    ],
)
def test_a_token_that_would_cross_a_network_unencrypted_is_a_warning(url: str, *, warned: bool) -> None:
    said = [str(warning) for warning in railway_warnings({**RIGHT, "RAILWAY_API_URL": url})]
    words = "RAILWAY_API_URL: begins with http://, so the token is sent unencrypted; write https://"
    assert said == ([words] if warned else [])


def test_a_command_that_only_reads_the_database_reads_its_address_in_the_same_way() -> None:
    address = load_database({"DATABASE_URL": f"{RIGHT['DATABASE_URL']}?schema=app&pool_timeout=3"}, why="…")
    assert (address.url, address.search_path) == (RIGHT["DATABASE_URL"], '"app"')
    with pytest.raises(ConfigurationError, match="DATABASE_URL: is not set; it is for this"):
        load_database({}, why="it is for this")
    with pytest.raises(ConfigurationError, match=r"take out \+asyncpg"):
        load_database({"DATABASE_URL": "postgresql+asyncpg://u:hunter2@h/d"}, why="…")


def test_no_secret_shows_in_a_repr_and_all_are_known_to_be_masked() -> None:
    settings = load_settings(RIGHT)
    railway = load_railway(RIGHT)
    shown = f"{settings!r} {settings} {railway!r} {railway}"
    assert not any(secret in shown for secret in ("t0ken", "hunter2", "swordfish"))
    assert {"hunter2", "swordfish"} <= set(settings.secrets)
    assert railway.token.value.get_secret_value() == "t0ken-of-the-account"


def test_a_group_named_by_nobody_has_the_keys_that_it_had_before_there_were_groups() -> None:
    assert load_settings(RIGHT).group == RIGHT["RAILWAY_ENVIRONMENT_ID"]
    assert load_settings({**RIGHT, "AUTOSCALER_GROUP": "render"}).group == "render"
    elsewhere = {name: value for name, value in RIGHT.items() if not name.startswith("RAILWAY")}
    assert load_settings(elsewhere).group == "default"


@pytest.mark.parametrize("name", ["two words", "}:lease", "-begins-odd", "g" * 65])
def test_a_group_s_name_is_a_plain_word(name: str) -> None:
    assert refused(AUTOSCALER_GROUP=name) == [
        "AUTOSCALER_GROUP: may have letters, digits, '.', '_' and '-' only, at most 64"
    ]
