"""Nothing is lost, and nothing is wider than it may be: lines, SQL and tables."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from controller.core.text.layout import columns_of, markdown, table, wrap, wrap_sql

TEXTS = st.text(st.sampled_from("ab/._ 日é"), max_size=90)
CELLS = st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 10**9).map(str)), min_size=1, max_size=5)


@given(TEXTS, st.integers(12, 80))
def test_no_line_is_wider_than_it_may_be_and_no_letter_is_lost(text: str, width: int) -> None:
    lines = wrap(text, width, first="- ", rest="  ")
    assert max(map(columns_of, lines)) <= width
    assert "".join("".join(lines).removeprefix("- ").split()) == "".join(text.split())


def test_a_line_goes_on_below_where_its_text_began() -> None:
    assert wrap("one two three", 12, first="warn: ") == ["warn: one", "      two", "      three"]


def test_a_word_that_is_too_long_goes_on_after_a_sign_if_it_has_one() -> None:
    assert wrap("queue.statuses.processing", 20) == ["queue.statuses.", "processing"]
    assert wrap("a" * 25, 20) == ["a" * 20, "a" * 5]


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert columns_of("日本") == 4
    assert columns_of("e\u0301") == 1


@given(CELLS, st.integers(30, 90))
def test_a_table_is_no_wider_than_it_may_be_and_has_every_cell(rows: list[tuple[str, str, str]], width: int) -> None:
    lines = [line for row in table([("NAME", "IS", "OF"), *rows], width, right={2}) for line in row]
    assert max(map(columns_of, lines), default=0) <= width
    shown = "".join("".join(lines).split())
    assert all(letter in shown for row in rows for cell in row for letter in cell if letter != " ")
    assert all(re.search(rf"(?<!\d){row[2]}(?!\d)", "\n".join(lines)) for row in rows), "a number stays whole"


def test_a_table_that_fits_stands_as_it_is() -> None:
    rows = [("NAME", "IS"), ("a", "10"), ("bcd", "9")]
    assert [line for row in table(rows, 20, right={1}) for line in row] == ["NAME  IS", "a     10", "bcd    9"]


def test_a_cell_that_is_too_wide_goes_on_indented_and_no_column_is_lost() -> None:
    rows = [("NAME", "IS", "FROM"), ("scale_up.cooldown", "30s", "line 31, SCALE_UP_COOLDOWN_MS is not set")]
    assert [line for row in table(rows, 52) for line in row] == [
        "NAME               IS   FROM",
        "scale_up.cooldown  30s  line 31,",
        "                          SCALE_UP_COOLDOWN_MS is",
        "                          not set",
    ]


def test_a_name_is_not_broken_as_long_as_another_column_can_be_narrower() -> None:
    rows = [
        ("VALUE OF", "IS", "FROM"),
        ("queue.statuses.processing", "processing", "built in"),
        ("queue.wake_on", "new_generation_job", "line 15"),
        ("max_replicas", "5", "line 29, MAX_WORKERS is not set, its default is '5'"),
    ]
    assert [line for row in table(rows, 80) for line in row] == [
        "VALUE OF                   IS                  FROM",
        "queue.statuses.processing  processing          built in",
        "queue.wake_on              new_generation_job  line 15",
        "max_replicas               5                   line 29, MAX_WORKERS is not set,",
        "                                                 its default is '5'",
    ]


def test_what_no_table_can_hold_becomes_a_list() -> None:
    rows = [("NAME", *(f"column {n}" for n in range(8))), ("a", *(str(10**9 + n) for n in range(8)))]
    lines = [line for row in table(rows, 40, right=range(1, 9)) for line in row]
    assert lines[:2] == ["a", "  column 0: 1000000000"]
    assert len(lines) == 9


STATEMENT = """\
-- A comment, with an apostrophe's half, that is longer than the line may be.
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $tag$
BEGIN
  PERFORM pg_notify('a name  with blanks', '');
END
$tag$;  -- done
--   DROP TABLE "a  name" CASCADE; DROP FUNCTION "another  name" CASCADE;
"""


def test_a_table_in_markdown_aligns_numbers_and_escapes_a_bar() -> None:
    rows = [("", "old", "new"), ("a|b", "1", ""), ("`c`", "2", "3")]
    assert markdown(rows, right={1}) == [
        "| | old | new |",
        "|---|---:|---|",
        r"| a\|b | 1 | |",
        "| `c` | 2 | 3 |",
    ]


def test_sql_means_the_same_when_it_is_broken_into_lines() -> None:
    lines = wrap_sql(STATEMENT, 40)
    comments = [line for line in lines if line.startswith("--")]
    assert comments[:2] == ["-- A comment, with an apostrophe's half,", "-- that is longer than the line may be."]
    assert "$tag$\nBEGIN\n  PERFORM pg_notify('a name  with blanks', '');\nEND\n$tag$;\n-- done" in "\n".join(lines)
    undo = [line.removeprefix("--   ") for line in comments[3:]]
    assert undo == ['DROP TABLE "a  name" CASCADE; DROP', 'FUNCTION "another  name" CASCADE;']
    assert max(len(line) for line in "\n".join(lines).splitlines()) <= 47, "what is quoted stays whole"


def test_a_long_word_of_sql_goes_on_after_a_bracket_or_a_comma() -> None:
    lines = wrap_sql("greatest((message->>'a, b(c')::numeric,coalesce(eta,0))", 30)
    assert lines == ["greatest( (", "message->>'a, b(c')::numeric,", "coalesce( eta, 0))"]


@given(st.lists(st.sampled_from(["SELECT", "'a  b'", '"c  d"', "x.y", "=", "''", "$$ e  f $$", "(", ")"]), max_size=20))
def test_what_is_quoted_is_never_broken(words: list[str]) -> None:
    lines = wrap_sql(" ".join(words), 20)
    assert " ".join(" ".join(lines).split(" ")).split() == " ".join(words).split()
    assert all("\n".join(lines).count(word) >= words.count(word) for word in ("'a  b'", '"c  d"', "$$ e  f $$"))
