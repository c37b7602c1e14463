"""Railway's settings from the environment: what is wrong is named at once, with the fix, and no secret with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.adapters.railway.settings import RAILWAY, REFERENCES, load_railway, railway_warnings
from controller.configuration import load_settings, masker, read_policy
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.references import unresolved

RIGHT = {
    "RAILWAY_API_TOKEN": "t0ken-of-the-account",
    "RAILWAY_PROJECT_ID": "project",
    "RAILWAY_ENVIRONMENT_ID": "environment",
}
REST = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h"}


def problems_of(environment: dict[str, str]) -> list[Problem]:
    try:
        load_railway(environment)
    except ConfigurationError as error:
        return list(error.problems)
    return []


def refused(**changes: str) -> list[str]:
    return [str(problem) for problem in problems_of({**RIGHT, **changes})]


def test_an_empty_environment_names_every_variable_that_is_missing() -> None:
    assert {problem.place for problem in problems_of({})} == RIGHT.keys()


def test_without_another_address_it_is_railway_s_own() -> None:
    assert load_railway(RIGHT).api_url.startswith("https://backboard.railway.com/graphql/v2?")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RAILWAY_TOKEN": "another"}, "are both set; keep one"),
        ({"RAILWAY_API_TOKEN": ""}, "RAILWAY_API_TOKEN: is not set; set it to"),
        ({"RAILWAY_API_TOKEN": "two words"}, "RAILWAY_API_TOKEN: is not a token"),
        ({"RAILWAY_API_TOKEN": "a\nb"}, "RAILWAY_API_TOKEN: is not a token"),
        ({"RAILWAY_PROJECT_ID": "a b"}, "RAILWAY_PROJECT_ID: is not an id"),
        *(
            ({name: f"{RIGHT[name]}\udcff"}, f"{name}: holds bytes that are not UTF-8; set it again, in UTF-8")
            for name in RIGHT
        ),
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


def test_a_query_string_is_kept_and_added_where_there_is_none() -> None:
    def url(text: str) -> str:
        return load_railway({**RIGHT, "RAILWAY_API_URL": text}).api_url

    assert url("http://x/graphql?a=b") == "http://x/graphql?a=b"
    assert url("http://x/graphql") == "http://x/graphql?source=worker-autoscaler"


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


@pytest.mark.parametrize("name", ["RAILWAY_API_TOKEN", "RAILWAY_PROJECT_ID", "RAILWAY_ENVIRONMENT_ID"])
def test_blanks_around_a_token_or_an_id_are_left_out_and_said(name: str) -> None:
    environment = {**RIGHT, name: " abc\r\n"}
    assert [str(warning) for warning in railway_warnings(environment)] == [
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


def test_no_secret_shows_in_a_repr_and_all_are_known_to_be_masked() -> None:
    settings = load_railway(RIGHT)
    assert "t0ken" not in f"{settings!r} {settings}"
    assert settings.secrets == ("t0ken-of-the-account",)
    mask = masker({"RAILWAY_TOKEN": "' t0ken-1234 '", "RAILWAY_API_URL": "https://u:swordf1sh@h/"})
    assert not any(secret in mask.text("t0ken-1234 swordf1sh") for secret in ("t0ken", "swordf1sh"))


def test_the_secrets_of_railway_are_the_two_tokens_and_the_password_in_the_address() -> None:
    assert RAILWAY.names("token") == ("RAILWAY_API_TOKEN", "RAILWAY_TOKEN")
    assert RAILWAY.names("address") == ("RAILWAY_API_URL",)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${{Postgres.DATABASE_URL}}", "holds the reference ${{Postgres.DATABASE_URL}}, which Railway did not replace"),
        ("${{ Postgres.DATABASE_URL }}", "holds the reference ${{Postgres.DATABASE_URL}}, which Railway"),
        ("${{My Postgres-2.DATABASE_URL}}", "the same project and environment"),
        ("${{shared.POLL}}", "holds the reference ${{shared.POLL}}"),
        ("${{Postgres.DATABASE_URL}", "holds the reference ${{Postgres.DATABASE_URL}}"),
        ("{{Postgres.DATABASE_URL}}", "holds the reference ${{Postgres.DATABASE_URL}}"),
        ("redis://:${{Redis.REDISPASSWORD}}@h", "holds the reference ${{Redis.REDISPASSWORD}}"),
        ("postgresql://u:p${{hunter2}}@h/d", "holds the reference, which Railway did not replace"),
        ("$DATABASE_URL", "write the value itself, or on Railway ${{SERVICE.VARIABLE}} (a $ that belongs"),
    ],
)
def test_a_reference_that_was_not_replaced_is_recognised(value: str, words: str) -> None:
    said = unresolved(value, [REFERENCES]) or ""
    assert words in said
    assert "hunter2" not in said


@pytest.mark.parametrize("value", ["a{{b}}c", "postgresql://u:p{x}@h/d", "p$ss"])
def test_a_brace_alone_is_no_reference(value: str) -> None:
    assert unresolved(value, [REFERENCES]) is None


@pytest.mark.parametrize("name", [*RIGHT, "RAILWAY_API_URL", "DATABASE_URL", "REDIS_URL", "PORT", "RAILWAY_TIMEOUT_MS"])
def test_a_reference_that_was_not_replaced_is_said_once_in_whichever_variable_it_stands(name: str) -> None:
    environment = {**RIGHT, **REST, name: "${{Other.NAME}}"}
    problems: list[Problem] = []
    for load in (load_railway, load_settings):
        try:
            load(environment)
        except ConfigurationError as error:
            problems += error.problems
    (problem,) = problems
    assert str(problem).startswith(f"{name}: holds the reference ${{{{Other.NAME}}}}, which Railway did not replace")


def test_a_reference_in_the_policy_itself_is_told_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    worker = "{service: '${{w.ID}}', queue: {table: t}, max_replicas: 1, tiers: [{replicas: 1}]}"
    path.write_text(f"workers: {{a: {worker}}}")
    with pytest.raises(ConfigurationError, match="; put a reference of Railway's into a variable, and write"):
        read_policy(path, {})
    path.write_text(f"workers: {{a: {worker.replace('${{w.ID}}', '${ID}')}}}")
    with pytest.raises(ConfigurationError, match=r"ID holds the reference .*, which Railway did not replace"):
        read_policy(path, {"ID": "${{w.RAILWAY_SERVICE_ID}}"})


def test_a_group_without_a_name_has_the_keys_that_it_had_before_there_were_groups() -> None:
    assert load_settings({**RIGHT, **REST}).group == RIGHT["RAILWAY_ENVIRONMENT_ID"]


def test_a_replica_has_the_name_that_railway_gives_it() -> None:
    assert load_settings({**REST, "RAILWAY_REPLICA_ID": "a", "HOSTNAME": "b"}).replica == "a"


def test_the_deadline_of_a_change_is_railway_s_timeout() -> None:
    assert load_settings({**REST, "RAILWAY_TIMEOUT_MS": "3000"}).timing.change_timeout == 3
    with pytest.raises(ConfigurationError, match="RAILWAY_TIMEOUT_MS: may be at most"):
        load_settings({**REST, "RAILWAY_TIMEOUT_MS": "14000"})
