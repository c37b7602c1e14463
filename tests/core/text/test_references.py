"""References that a platform, a shell or a compose file should have replaced: which are found, and what is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.text.references import unresolved
from tests.support.platforms import CLOUD_REFERENCES


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${DATABASE_URL}", "holds ${DATABASE_URL}, which nothing has replaced"),
        ("postgresql://${USER}:x@h/d", "holds ${USER}, which nothing has replaced"),
        ("$DATABASE_URL", "holds $DATABASE_URL, which nothing has replaced"),
        ("$(DATABASE_URL)", "holds $DATABASE_URL, which nothing has replaced"),
        ("redis://:$REDIS_PASSWORD@h", "holds $REDIS_PASSWORD, which nothing has replaced"),
        ("postgresql://u:p${hunter2}@h/d", "holds a reference ${…}, which nothing has replaced"),
    ],
)
def test_a_reference_that_no_shell_replaced_is_recognised(value: str, words: str) -> None:
    said = unresolved(value) or ""
    assert words in said
    assert "write the value itself (a $ that belongs to a password in an address is written %24)" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "value", ["", "8080", "p$ss", "postgresql://u:pa$$word$1@h/d", "postgresql://u:p{x}@h/d", "a{{b}}c", "${[A.B]"]
)
def test_a_dollar_or_a_brace_alone_is_no_reference(value: str) -> None:
    assert unresolved(value) is None


def test_a_reference_of_a_platform_is_named_with_what_that_platform_declares() -> None:
    assert unresolved("redis://${[cache.HOST]}", [CLOUD_REFERENCES]) == (
        "holds the reference ${[cache.HOST]}, which Cloud did not replace; write it as ${[UNIT.NAME]} in its console, "
        "where all names stand"
    )
    assert "write the value itself, or on Cloud ${[UNIT.NAME]} (a $" in (unresolved("$A", [CLOUD_REFERENCES]) or "")


@given(st.text("Zq7xKw[]{}$( )@:/", max_size=40).map(lambda text: f"{text}Zq7xKw{text}"))
def test_what_stands_in_a_reference_is_shown_only_if_it_looks_like_a_name(password: str) -> None:
    assert "Zq7xKw" not in (unresolved(password, [CLOUD_REFERENCES]) or "")
