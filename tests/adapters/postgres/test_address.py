"""DATABASE_URL in every form that people paste: used, noted or refused by name, and never shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from controller.adapters.postgres.address import database_address
from controller.adapters.postgres.client_parameters import NAMES

SECRET = "hunter2"
BASE = f"postgresql://user:{SECRET}@db.internal:5432/jobs"


def given_to_libpq(parameters: str) -> dict[str, object]:
    address = database_address(f"{BASE}?{parameters}")
    assert address.problems == ()
    return {**conninfo_to_dict(address.url)}


@pytest.mark.parametrize(
    ("parameters", "search_path"),
    [
        ("schema=app", '"app"'),
        ("schema=My%20App", '"My App"'),
        ('schema=a"b', '"a""b"'),
        ("currentSchema=App,public", '"app", "public"'),
        ("currentSchema=%22App%22", '"App"'),
        ("search_path=app", '"app"'),
        ("schema_search_path=app,shared", '"app", "shared"'),
        ("options[search_path]=app", '"app"'),
        ("", ""),
    ],
)
def test_a_schema_is_honoured_whichever_client_it_was_written_for(parameters: str, search_path: str) -> None:
    address = database_address(f"{BASE}?{parameters}")
    assert (address.search_path, address.notes, address.problems) == (search_path, (), ())
    assert "search_path" not in address.url


@pytest.mark.parametrize(
    ("parameters", "mode"),
    [
        ("sslmode=no-verify", "require"),
        ("sslmode=no-verify&uselibpqcompat=true", "require"),
        ("sslmode=verify-full", "verify-full"),
        ("ssl=true", "require"),
        ("ssl=1", "require"),
        ("ssl=no-verify", "require"),
        ("ssl=false", "disable"),
        ("ssl=verify-ca", "verify-ca"),
        ("ssl-mode=require", "require"),
        ("ssl=true&sslmode=verify-full", "verify-full"),
        ("sslmode=require&sslaccept=accept_invalid_certs", "require"),
        ("sslmode=require&sslaccept=strict", "verify-full"),
        ("sslaccept=strict&sslmode=disable", "disable"),
        ("pgbouncer=true", None),
    ],
)
def test_what_another_client_says_of_tls_is_said_to_libpq_in_its_own_words(parameters: str, mode: str | None) -> None:
    assert given_to_libpq(parameters).get("sslmode") == mode


@pytest.mark.parametrize(
    ("parameters", "note"),
    [
        (
            "connection_limit=5&pool_timeout=10&socket_timeout=3",
            "connection_limit, pool_timeout, socket_timeout: for other",
        ),
        ("statement_cache_size=0", "statement_cache_size: for other clients, without effect here"),
        (
            "prepareThreshold=0&reWriteBatchedInserts=true&stringtype=unspecified",
            "prepareThreshold, reWriteBatchedInserts",
        ),
        (
            "pool=5&prepared_statements=false&checkout_timeout=5",
            "checkout_timeout, pool, prepared_statements: for other",
        ),
        ("pool_max_conns=4&default_query_exec_mode=exec", "default_query_exec_mode, pool_max_conns: for other clients"),
        ("x-migrations-table=m", "x-migrations-table: for other clients"),
        ("connect_timeout=300", "connect_timeout: without effect here, the controller sets its own"),
        ("connect_timeout=soon&application_name=web", "application_name, connect_timeout: without effect here"),
    ],
)
def test_what_concerns_another_client_alone_is_left_out_with_a_note(parameters: str, note: str) -> None:
    address = database_address(f"{BASE}?{parameters}")
    assert address.url == BASE
    assert address.problems == ()
    assert note in "\n".join(address.notes)


@pytest.mark.parametrize("name", NAMES)
def test_no_parameter_of_another_client_keeps_libpq_from_the_address(name: str) -> None:
    value = {"ssl": "true", "sslaccept": "strict"}.get(name, "1")
    address = database_address(f"{BASE}?{name}={value}&sslmode=require")
    assert address.problems == ()
    assert conninfo_to_dict(address.url)["host"] == "db.internal"


def test_libpq_s_own_parameters_pass_and_an_address_of_them_alone_stays_as_it_is() -> None:
    whole = f"{BASE}?sslmode=require&channel_binding=require&options=endpoint%3Dcool-darkness&target_session_attrs=any"
    assert database_address(whole).url == whole
    given = given_to_libpq("channelBinding=require&targetServerType=secondary&options=-c jit=off")
    assert (given["channel_binding"], given["target_session_attrs"], given["options"]) == (
        "require",
        "standby",
        "-c jit=off",
    )


@pytest.mark.parametrize(
    ("options", "rest"),
    [
        ("-c timezone=UTC", None),
        ("-cTimeZone=Asia/Tokyo -c jit=off", "-c jit=off"),
        ("-c%20jit%3Doff%20--timezone%3DEtc/GMT%2B3", "-c jit=off"),
        ("-c jit=off -c log_timezone=UTC", "-c jit=off -c log_timezone=UTC"),
    ],
)
def test_a_time_zone_of_our_own_session_would_hide_that_of_the_server(options: str, rest: str | None) -> None:
    assert given_to_libpq(f"options={options}").get("options") == rest


def test_keywords_and_values_are_read_as_addresses_are() -> None:
    address = database_address(
        f"host=h dbname=d password='{SECRET} \\'x' schema=App connection_limit=3 sslmode=no-verify"
    )
    assert {**conninfo_to_dict(address.url)} == {
        "host": "h",
        "dbname": "d",
        "password": f"{SECRET} 'x",
        "sslmode": "require",
    }
    assert (address.search_path, len(address.notes), address.problems) == ('"App"', 1, ())
    assert f"{SECRET} 'x" in address.secrets


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"{BASE}?sslmod=require", "it has the parameter sslmod, which no client knows; did you mean sslmode?"),
        (f"{BASE}?conection_limit=3", "conection_limit, which no client knows; did you mean connection_limit?"),
        (f"{BASE}?shema=app", "shema, which no client knows; did you mean schema?"),
        (f"{BASE}?database=x", "did you mean dbname?"),
        (f"{BASE}?colour=red", "it has the parameter colour, which no client knows; take it out"),
        (f"host=h password={SECRET} sslmod=require", "did you mean sslmode?"),
        (f"{BASE}?sslmode=bogus", "has an sslmode that is not known; write one of allow"),
        (f"{BASE}?ssl=perhaps", "has an ssl that is not known"),
        (f"{BASE}?sslaccept=maybe", "has an invalid sslaccept; write strict or accept_invalid_certs"),
        (f"{BASE}?schema=", "has a schema without a name"),
        (f"{BASE}?sslmode", "has a parameter without a value; write NAME=VALUE"),
        (f"postgresql+psycopg2://u:{SECRET}@h/d", "take out +psycopg2, so that it begins with postgresql://"),
        (f"postgresql+asyncpg://u:{SECRET}@h/d", "take out +asyncpg"),
        (f"postgres+psycopg://u:{SECRET}@h/d", "take out +psycopg"),
        (f"jdbc:postgresql://h/d?password={SECRET}", "take out jdbc:"),
        (f"prisma://accelerate?api_key={SECRET}", "give PostgreSQL's own address"),
        (f"pgsql://u:{SECRET}@h/d", "must begin with postgresql://"),
        (f"Host=h;Username=u;Password={SECRET}", "has the form of .NET"),
        (f"mysql://u:{SECRET}@h/d", "must be a PostgreSQL address"),
        (f"{BASE}?a=1&sslmode=never", "it has the parameter a"),
    ],
)
def test_what_is_misspelt_or_of_another_kind_is_refused_by_name(url: str, words: str) -> None:
    problems = "\n".join(database_address(url).problems)
    assert words in problems
    assert SECRET not in problems


@pytest.mark.parametrize("character", ["/", "@", "%", " "])
def test_a_raw_character_that_tears_a_database_address_apart_is_named_with_what_to_write(character: str) -> None:
    for password in (f"hun{character}ter2", f"{character}hunter2", f"12{character}hunter2", f"hunter2{character}"):
        (problem,) = database_address(f"postgresql://user:{password}@host:5432/db?sslmode=require").problems
        assert (
            "special character in its user or password that must be percent-encoded; write % as %25, / as %2F"
            in problem
        )
        assert "hunter2" not in problem


@pytest.mark.parametrize("character", ["?", "#"])
def test_a_raw_character_that_libpq_reads_as_it_stands_is_used_and_noted(character: str) -> None:
    address = database_address(f"postgresql://user:hun{character}ter2@host/db")
    assert conninfo_to_dict(address.url)["password"] == f"hun{character}ter2"
    assert f"the password holds a raw {character}" in address.notes[0]
    assert f"hun{character}ter2" in address.secrets


ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@pytest.mark.costly
@given(ANYTHING, ANYTHING, st.text("@/?#&=%:[]${} a1", max_size=40))
def test_no_password_is_ever_in_a_message_and_nothing_raises(head: str, tail: str, odd: str) -> None:
    password = f"{head}Zq7xKw{tail}"
    for text in (password, quote(password, safe=""), odd + password, password + odd):
        said = [
            database_address(f"postgresql://user:{text}@host:5432/db?schema=a&pool=1"),
            database_address(f"postgresql://user:{text}@host"),
            database_address(f"host=h password={text} sslmode=require"),
        ]
        for address in said:
            assert "Zq7xKw" not in "\n".join([*address.problems, *address.notes])
        for anything in (text, f"postgresql://{text}", f"{text}://{text}"):
            database_address(anything)


@given(ANYTHING)
def test_a_password_that_is_percent_encoded_arrives_and_is_masked(password: str) -> None:
    if "\0" in password:
        return
    address = database_address(f"postgresql://user:{quote(password, safe='')}@host/db?schema=a")
    assert address.problems == ()
    assert conninfo_to_dict(address.url)["password"] == password
    assert password in address.secrets
