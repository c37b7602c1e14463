"""Which texts are masked, and which are not."""

from __future__ import annotations

import html
import json
import time
from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.core.text.masking import CUT, MASK, Masker, passwords_in, secrets_of, secrets_of_a_crash

TOKEN = "9f3b1c7e-1a2b-4d5e-8a6b-c0ffee123456"
PASSWORD = "p@ss/w0rd 'x'"
URL = f"postgresql://app:{quote(PASSWORD, safe='')}@db.internal:5432/app"
KNOWN = Masker([TOKEN, URL, "hunter2"], {"tenant-key-0451": "${TENANT_KEY}"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Invalid token {TOKEN}.", f"Invalid token {MASK}."),
        (f"{TOKEN}{TOKEN}", f"{MASK}{MASK}"),
        (TOKEN.upper(), MASK),
        (URL, MASK),
        (f"cannot reach {URL}!", f"cannot reach {MASK}!"),
        (PASSWORD, MASK),
        (quote(PASSWORD, safe=""), MASK),
        (quote(PASSWORD, safe="").lower(), MASK),
        (quote_plus(PASSWORD), MASK),
        (json.dumps({"a": PASSWORD}), f'{{"a": "{MASK}"}}'),
        (html.escape(PASSWORD), MASK),
        (f"E'{PASSWORD.replace(chr(39), chr(39) * 2)}'", f"E'{MASK}'"),
        (html.escape(PASSWORD).replace("&#x27;", "&#39;"), MASK),
        (TOKEN.encode().hex(), MASK),
        ("say hunter2, please", f"say {MASK}, please"),
        ("hunter22 xhunter2", "hunter22 xhunter2"),
        ("id = 'tenant-key-0451'", "id = '${TENANT_KEY}'"),
        ("15 jobs (10 pending, 5 processing) want 2 workers: 1 → 2", None),
        ("postgresql://user:password@host:5432/database", None),
        ("RAILWAY_API_TOKEN: is not set; set it to an account token", None),
        ("take RAILWAY_API_TOKEN= out of the value", None),
        ("http://localhost:4000/graphql/v2", None),
        ("", None),
    ],
)
def test_a_secret_is_masked_in_each_form_and_all_else_is_as_it_was(text: str, shown: str | None) -> None:
    assert KNOWN.text(text) == (text if shown is None else shown)
    assert KNOWN.text(KNOWN.text(text)) == KNOWN.text(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://me:s3cr3t@rabbit/", f"amqp://me:{MASK}@rabbit/"),
        ("redis://:x@h and https://u:y@h", f"redis://:{MASK}@h and https://u:{MASK}@h"),
        ("host=h password=x user=u", f"host=h password={MASK} user=u"),
        ("host=h password='a b' user=u", f"host=h password={MASK} user=u"),
        ("?sslpassword=x&sslmode=require", f"?sslpassword={MASK}&sslmode=require"),
        ("?client_secret=x&access_token=y", f"?client_secret={MASK}&access_token={MASK}"),
        ('{"password": "x", "user": "u"}', f'{{"password": "{MASK}", "user": "u"}}'),
        ("ALTER ROLE r PASSWORD 'x'", f"ALTER ROLE r PASSWORD '{MASK}'"),
        ("Authorization: Bearer abc12345", f"Authorization: Bearer {MASK}"),
        (f"redis://:sec{CUT}", f"redis://:{MASK}{CUT}"),
    ],
)
def test_what_stands_in_the_place_of_a_password_is_masked_known_or_not(text: str, shown: str) -> None:
    assert Masker().text(text) == shown


@pytest.mark.parametrize("ordinary", ["postgres", "jobs", "Railway", "worker", "5432", "abc", "x", "", "processing"])
def test_with_an_ordinary_password_no_word_becomes_bullets_but_in_the_place_of_a_password(ordinary: str) -> None:
    mask = Masker([f"postgresql://u:{ordinary}@h/d", ordinary])
    line = {"message": f"PostgreSQL: the {ordinary} of {ordinary} x", ordinary: 5}
    assert mask.value(line) == line
    if ordinary:
        assert ordinary not in mask.text(f"redis://u:{ordinary}@y password={ordinary}").replace("password=", "")


@given(st.integers(0, 60), st.integers(0, 60))
@example(0, 20)
def test_a_text_that_was_cut_ends_in_no_beginning_of_a_secret(before: int, limit: int) -> None:
    for secret in (TOKEN, PASSWORD):
        text = f"{'x' * before} {secret} y"
        cut = text if len(text) <= limit else f"{text[:limit]}{CUT}"
        shown = KNOWN.text(cut)
        assert not any(secret[:length] in shown for length in range(3, len(secret) + 1))


@pytest.mark.parametrize("length", range(16, len(TOKEN)))
def test_a_long_beginning_is_masked_wherever_it_stands(length: int) -> None:
    assert KNOWN.text(f"token '{TOKEN[:length]}' is wrong") == f"token '{MASK}' is wrong"


@pytest.mark.parametrize("user", ["", "u", "me", "app", "someone"])
@pytest.mark.parametrize("secret", [TOKEN, PASSWORD, "??>>~~secret-\u00e9"])
def test_a_secret_is_masked_in_base64_whatever_stands_before_it(user: str, secret: str) -> None:
    mask = Masker([secret])
    for encode in (b64encode, urlsafe_b64encode):
        written = encode(f"{user}:{secret}".encode() if user else secret.encode()).decode()
        shown = mask.text(f"<{written}>")
        assert MASK in shown
        assert len(shown) < 2 * len(user) + 15


def test_forms_that_differ_towards_their_ends_are_each_masked_whole() -> None:
    secret = "planted-secret-'quoted'-77"
    for form in (secret, secret.replace("'", "''"), secret.replace("'", "\\'")):
        assert Masker([secret]).text(f"<{form}>") == f"<{MASK}>"


@pytest.mark.parametrize(
    ("written", "password"),
    [
        ("postgresql://u:s3cr3t@h/d", "s3cr3t"),
        ("postgres://u:s%2Fx@h/d", "s/x"),
        ("postgresql://u@h/d?password=s3cr3t", "s3cr3t"),
        ("postgresql://u@h/d?sslmode=require&sslpassword=s%20x", "s x"),
        (r"host=h password='s \'x\''", "s 'x'"),
        ("host=h password = s3cr3t", "s3cr3t"),
        ("redis://:s3cr3t@h", "s3cr3t"),
        ("redis://default:s#c?r@h:6379/0", "s#c?r"),
        ("https://ghp_token123@github.com", "ghp_token123"),
        ("https://u:a@b@host", "a@b"),
        ("https://h/hook?token=s3cr3t", "s3cr3t"),
    ],
)
def test_the_password_of_an_address_is_known_however_it_is_written(written: str, password: str) -> None:
    assert password in set(passwords_in(written))


@pytest.mark.parametrize("written", ["postgresql://postgres@h/d", "redis://h:6379", "https://h/a@b", "svc-1", ""])
def test_an_address_without_a_password_has_none(written: str) -> None:
    assert [one for one in passwords_in(written) if one in {"postgres", "h", "6379", "d"}] == []


def test_the_variables_that_the_controller_reads_are_known_with_and_without_quotes() -> None:
    environment = {"HTTP_TOKEN": ' "abc" ', "HTTPS_PROXY": "http://u:s3cr3t@p", "PWD": "/x", "A": "'t0ken'", "B": "x"}
    environment |= {"C": "https://u:pw@h"}
    known = set(secrets_of(environment, tokens=["A"], addresses=["C"]))
    assert {"abc", "s3cr3t", "t0ken", "pw"} <= known
    assert not {"/x", "x", "https://u:pw@h"} & known


def test_a_variable_with_the_name_of_a_secret_is_known_in_a_crash_with_and_without_quotes() -> None:
    assert {'"abc"', "abc"} <= set(secrets_of_a_crash({"SOME_TOKEN": '"abc"'}))


@pytest.mark.parametrize("value", [1, None, 1.5, True, [TOKEN, {TOKEN: [TOKEN]}], (TOKEN,), {"a": {"b": TOKEN}}])
def test_a_value_is_masked_in_all_its_texts_and_keys(value: Any) -> None:
    shown = json.dumps(KNOWN.value(value), ensure_ascii=False)
    assert TOKEN not in shown
    assert shown.replace(MASK, TOKEN) == json.dumps(value)


def test_a_value_that_is_nested_without_an_end_is_not_shown_and_breaks_nothing() -> None:
    value: Any = TOKEN
    for _ in range(5000):
        value = [value]
    shown = KNOWN.value(value)
    for _ in range(100):
        shown = shown[0] if isinstance(shown, list) else shown
    assert shown == MASK


@given(st.text(), st.text(), st.text())
@example('a"b12345', "x", "y")
@example("12345678", "", "")
def test_json_stays_json_and_holds_no_secret_after_it(secret: str, before: str, after: str) -> None:
    mask = Masker([secret])
    for ascii_only in (True, False):
        text = json.dumps({"id": 123456789, "says": f"{before}{secret}{after}"}, ensure_ascii=ascii_only)
        parsed = json.loads(mask.json_text(text))
        assert parsed["id"] == 123456789
        if len(secret) >= 8 and not secret.isdigit() and not secret.isalpha():
            assert secret not in parsed["says"] or secret in f"{before}{after}" or MASK in secret


def test_an_id_that_a_variable_holds_that_is_called_a_key_is_still_found_in_an_answer() -> None:
    mask = Masker(named={"service-id-0451": "${SERVICE_KEY}"})
    assert mask.json_text('["service-id-0451"]', ids={"service-id-0451"}) == '["service-id-0451"]'
    assert mask.text("service-id-0451") == "${SERVICE_KEY}"


def test_a_long_text_is_masked_in_no_time() -> None:
    began = time.monotonic()
    KNOWN.text(f"{TOKEN[:15]} {CUT}" * 20_000)
    KNOWN.text("://a:" * 50_000)
    KNOWN.text("password=" * 50_000)
    KNOWN.text("a_" * 100_000 + "token")
    KNOWN.text('"' + "a" * 100_000 + "secret")
    assert time.monotonic() - began < 30


@pytest.mark.costly
def test_among_a_thousand_secrets_each_is_masked() -> None:
    long = {f"{number * 7919:08d}-secret/x": f"${{LONG_{number}}}" for number in range(1000)}
    short = {f"a{number}-": f"${{SHORT_{number}}}" for number in range(100, 400)}
    mask = Masker(named={**long, **short})
    for secret, shown in (long | short).items():
        assert mask.text(f"x {secret} {secret}") == f"x {shown} {shown}"
    assert mask.text("nothing of theirs, a99- or 00000000 jobs") == "nothing of theirs, a99- or 00000000 jobs"
