"""REDIS_URL in every form that people paste: used, noted or refused by name, and never shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters.redis.address import redis_address

SECRET = "hunter2"
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@pytest.mark.parametrize("character", ["/", "?", "#", "[", " "])
def test_a_raw_character_that_tears_a_redis_address_apart_is_named_with_what_to_write(character: str) -> None:
    for password in (f"hun{character}ter2", f"{character}hunter2", f"12{character}hunter2", f"hunter2{character}"):
        (problem,) = redis_address(f"redis://:{password}@host:6379/0").problems
        assert "special character in its user or password that must be percent-encoded" in problem
        assert "hunter2" not in problem


@pytest.mark.parametrize("character", ["@", "%"])
def test_a_raw_character_that_redis_py_reads_as_it_stands_is_used_and_noted(character: str) -> None:
    address = redis_address(f"redis://:hun{character}ter2@host:6379/0")
    assert address.problems == ()
    assert f"the password holds a raw {character}" in address.notes[0]
    assert f"hun{character}ter2" in address.secrets


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"redis+sentinel://:{SECRET}@a:26379/main", "names a Sentinel"),
        (f"rediss+ssl://:{SECRET}@h", "take out +ssl, so that it begins with rediss://"),
        (f"redis+tls://:{SECRET}@h", "take out +tls, so that it begins with rediss://"),
        (f"redis+srv://:{SECRET}@h", "take out +srv, so that it begins with redis://"),
        (f"redis+cluster://:{SECRET}@h", "end in ?cluster=true"),
        (f"valkeys://:{SECRET}@h", "must begin with rediss://"),
        (f"https://:{SECRET}@h.upstash.io", "is an HTTP address; write a Redis address"),
        (f"redis://:{SECRET}@h/99999999999", "database number that is out of range"),
        (f"redis://:{SECRET}@h/²", "must end in a database number"),
        (f"redis://:{SECRET}@h?db=3", "put the number at the address' end"),
    ],
)
def test_a_redis_address_of_another_kind_says_what_to_write(url: str, words: str) -> None:
    problems = "\n".join(redis_address(url).problems)
    assert words in problems
    assert SECRET not in problems


@given(ANYTHING, ANYTHING, st.text("@/?#&=%:[]${} a1", max_size=40))
def test_no_password_is_ever_in_a_message_and_nothing_raises(head: str, tail: str, odd: str) -> None:
    password = f"{head}Zq7xKw{tail}"
    for text in (password, quote(password, safe=""), odd + password, password + odd):
        said = [
            redis_address(f"redis://:{text}@host:6379/0"),
            redis_address(f"rediss://user:{text}@host?ssl_cert_reqs=none"),
        ]
        for address in said:
            assert "Zq7xKw" not in "\n".join([*address.problems, *address.notes])
        for anything in (text, f"redis://{text}", f"{text}://{text}"):
            redis_address(anything)
