"""Texts from outside are cut where they enter; what is left can be written anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.ports import Unavailable
from controller.core.text import bounds
from controller.core.text.bounds import cut
from tests.support.sources import POSTGRESQL


@pytest.mark.parametrize(
    ("text", "limit", "left"),
    [
        ("", 10, ""),
        ("ten chars.", 10, "ten chars."),
        ("eleven char", 10, "eleven…"),
        ("withoutanyspace", 10, "withoutan…"),
        ("a word-that-is-long", 10, "a word-th…"),
        ("half \ud800 \udfff", 20, "half � �"),
        ("password hunter2hunter2", 15, "password…"),
    ],
)
def test_a_text_is_cut_after_a_whole_word_and_shows_it(text: str, limit: int, left: str) -> None:
    assert cut(text, limit) == left


@given(st.text(st.characters(codec=None)), st.integers(1, 50))
def test_no_cut_is_longer_than_its_limit_and_every_one_can_be_encoded(text: str, limit: int) -> None:
    short = cut(text, limit)
    assert len(short) <= limit
    short.encode()
    assert cut(short, limit) == short


def test_no_error_of_a_port_is_longer_than_a_message() -> None:
    assert len(str(Unavailable(POSTGRESQL, "word " * 1_000_000))) <= bounds.MESSAGE + len("PostgreSQL: ")
