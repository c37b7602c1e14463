"""A preset's file is accepted, or refused with all that is wrong in it, each with line, key and fix."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.adapters.postgres.presets.reader import load, names
from controller.core.problems import ConfigurationError, Problem
from controller.policy import ARMS, Preset, read_preset
from tests.support.examples import examples

PLAIN = """\
[tables]
jobs = "{prefix}jobs"

[[forms]]
ready = "{jobs} j WHERE j.state = 'ready' AND {due}"
processing = "{jobs} j WHERE j.state = 'taken'"
since = "j.run_at"

[forms.words]
due = "j.run_at <= now()"
"""


def read(text: str) -> Preset | tuple[Problem, ...]:
    """The preset, or what is wrong with it."""
    try:
        return read_preset(text, name="/etc/my.toml", place="my.toml")
    except ConfigurationError as error:
        return error.problems


def refused(text: str) -> list[str]:
    problems = read(text)
    assert not isinstance(problems, Preset), "accepted"
    return [str(problem) for problem in problems]


def test_tables_and_one_form_are_all_that_a_file_needs() -> None:
    preset = read(PLAIN)
    assert isinstance(preset, Preset)
    (form,) = preset.forms
    assert form.ready == ("{jobs} j WHERE j.state = 'ready' AND (j.run_at <= now())",)
    assert (preset.name, preset.needs_queues, preset.wakes, preset.tested) == ("/etc/my.toml", False, (), None)


@pytest.mark.parametrize("name", names())
def test_every_preset_that_ships_says_what_it_was_tested_with_and_stands_for_all_its_names(name: str) -> None:
    preset = load(name)
    assert preset.name == name
    assert preset.tested in {"library", "schema"}
    assert preset.versions
    assert preset.library != "a queue of your own"
    pieces = [text for form in preset.forms for _, text in form.sql()]
    known = {*preset.tables, "stale", "ready", "first_queue", "ahead"}
    assert set(re.findall(r"\{([a-z_0-9]+)\}", " ".join(pieces))) <= known


def replaced(old: str, new: str) -> str:
    assert old in PLAIN
    return PLAIN.replace(old, new)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("[tables", "my.toml: is not TOML: ", id="no TOML at all"),
        pytest.param("a = 1\na = 2", "my.toml: is not TOML: ", id="a key twice"),
        pytest.param("[" * 50_000, "my.toml: is ", id="nested fifty thousand deep"),
        pytest.param(f"a = {'9' * 5_000}", "my.toml: is not TOML: ", id="a number of five thousand digits"),
        pytest.param(
            "a" + ".a" * 40_000, "my.toml: has a line with more than 300 dots", id="a key of forty thousand parts"
        ),
        pytest.param("#" * 100_001, "my.toml: is longer than 100,000 characters", id="longer than any preset"),
        pytest.param("", "my.toml:1: tables: is missing", id="an empty file"),
        pytest.param("tables = 1\nforms = 2", "my.toml:1: tables: must be a mapping", id="tables is a number"),
        pytest.param("forms = []\n[tables]\njobs = 'a'", "my.toml:1: forms: is empty; write [[forms]]", id="no form"),
        pytest.param(
            replaced("since", "sinc"),
            "my.toml:7: forms[0].sinc: is not a key; did you mean since?",
            id="a key mistyped",
        ),
        pytest.param(
            replaced("processing", "running"),
            "my.toml:6: forms[0].running: is not a key: write processing",
            id="a key that people write by mistake",
        ),
        pytest.param(
            replaced('"j.run_at"', "1979-05-27"), "my.toml:7: forms[0].since: must be a text", id="a date for a text"
        ),
        pytest.param(
            f'name = "river"\n{PLAIN}', "my.toml:1: name: is not a key: the file's own name", id="its own name"
        ),
        pytest.param(f"stale_after = -1\n{PLAIN}", "my.toml:1: stale_after: ", id="a negative time"),
        pytest.param(f'tested = "yes"\n{PLAIN}', "my.toml:1: tested: ", id="a kind of test that there is not"),
        pytest.param(
            replaced("{due}", "{du}"),
            "my.toml:5: forms[0].ready: uses {du}, which is not defined; known here are {due}, {first_q",
            id="a name in braces that is not known",
        ),
        pytest.param(
            replaced("now()", "now() + {ahead}"),
            "uses {ahead}, which is not defined",
            id="the time ahead outside soon",
        ),
        pytest.param(
            replaced("processing =", 'soon = "j.due <= now() + {ahead}"\nprocessing ='),
            "forms[0].soon: has no effect without scheduled",
            id="soon without scheduled",
        ),
        pytest.param(
            replaced("processing =", 'scheduled = "{jobs} j WHERE true"\nsoon = "j.due <= now()"\nprocessing ='),
            "forms[0].soon: does not use {ahead}; write for example j.run_at <= now() + {ahead}",
            id="soon without the time ahead",
        ),
        pytest.param(
            replaced("now()", "{due}"),
            "my.toml:5: forms[0].ready: uses {due} before it is defined",
            id="a word in itself",
        ),
        pytest.param(
            replaced("now()", "now(); DROP TABLE job"),
            "my.toml:10: forms[0].words.due: has a semicolon; leave it out",
            id="a second statement in a word",
        ),
        pytest.param(
            replaced("'taken'", "'taken' -- x"), "my.toml:6: forms[0].processing: has a comment", id="a comment in SQL"
        ),
        pytest.param(
            replaced("'taken'", "'taken') UNION (SELECT 1"),
            "my.toml:6: forms[0].processing: closes a parenthesis that it does not open",
            id="a parenthesis too many",
        ),
        pytest.param(
            replaced("'taken'", "'taken"),
            "my.toml:6: forms[0].processing: has a quote that is not closed",
            id="a quote",
        ),
        pytest.param(
            replaced("'taken'", "pg_advisory_lock(1)::text"),
            "my.toml:6: forms[0].processing: calls pg_advisory_lock",
            id="a lock that would stay",
        ),
        pytest.param(
            replaced("j.state = 'taken'", "'a\\u0000'"),
            "my.toml:6: forms[0].processing: holds a NUL character",
            id="a NUL character",
        ),
        pytest.param(
            replaced("{jobs} j WHERE j.state = 'taken'", "{jobs} WHERE state = 'taken'"),
            "my.toml:6: forms[0].processing: has no row j",
            id="no alias",
        ),
        pytest.param(
            replaced(" WHERE j.state = 'taken'", ""), "my.toml:6: forms[0].processing: has no WHERE", id="no WHERE"
        ),
        pytest.param(
            replaced('"j.run_at"', '"j.run_at + {stale}"'),
            "my.toml:7: forms[0].since: uses {stale}, and the preset has no stale_after",
            id="a limit of claims that has no number",
        ),
        pytest.param(
            replaced("since", 'needs = ["job.id"]\nsince'),
            "my.toml:7: forms[0].needs[0]: names no table of [tables]; write TABLE.COLUMN, such as jobs.id",
            id="a need of no table",
        ),
        pytest.param(
            replaced("{prefix}jobs", "{x}jobs"), "my.toml:2: tables.jobs: uses {x}", id="a table named after {x}"
        ),
        pytest.param(
            replaced("jobs =", '"a b" ='), "tables.a b: cannot be a table's short name", id="an odd short name"
        ),
        pytest.param(f'wakes = ["{{x}}"]\n{PLAIN}', "my.toml:1: wakes[0]: uses {x}", id="a channel named after {x}"),
        pytest.param(f'schema = "{"s" * 64}"\n{PLAIN}', "my.toml:1: schema: is longer than 63", id="a schema too long"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_key_and_fix(text: str, problem: str) -> None:
    problems = refused(text)
    assert any(one.startswith(problem) or problem in one for one in problems), problems


def test_all_that_is_wrong_is_named_at_once() -> None:
    text = PLAIN.replace("'taken'", "'taken").replace("{due}", "{x}").replace("{prefix}", "{y}")
    assert len(refused(text)) == 3


@pytest.mark.parametrize(
    ("words", "parts", "problem"),
    [
        pytest.param(
            "\n".join(f'w{n + 1} = "{{w{n}}} OR {{w{n}}}"' for n in range(40)),
            "'{w0}'",
            "is longer than 20,000 characters once its words are spelled out",
            id="words that double each other",
        ),
        pytest.param(
            f"w1 = \"'{'x' * 15_000}' = ''\"",
            ", ".join(["'{jobs} j WHERE {w1}'"] * 50),
            "is longer than 1,000,000 characters once its words are spelled out",
            id="a long word in each of many parts",
        ),
    ],
)
def test_words_are_refused_before_they_grow_beyond_bounds(words: str, parts: str, problem: str) -> None:
    arms = "".join(f"{arm} = [{parts}]\n" for arm in ("failed", "held"))
    text = PLAIN.replace("since", f"{arms}since") + f'w0 = "true"\n{words}\n'
    assert any(problem in one for one in refused(text))


_SQL = st.text(alphabet="abj{}'\"-;()/* \n$E\\", max_size=40) | st.just("{jobs} j WHERE true")
_VALUE = st.recursive(_SQL | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=4)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in str(value))
    return f'"{escaped}"' if isinstance(value, str) else str(value)


@pytest.mark.costly
@settings(max_examples=examples(40, 1000))
@given(
    st.dictionaries(st.sampled_from([*ARMS, "since", "alive", "needs", "versions", "x"]), _VALUE, max_size=6),
    st.dictionaries(st.sampled_from(["jobs", "a", "stale"]), _VALUE, max_size=3),
    st.dictionaries(st.sampled_from(["a", "b", "jobs"]), _VALUE, max_size=3),
)
def test_any_file_is_a_preset_or_a_refusal(
    form: dict[str, object], tables: dict[str, object], words: dict[str, object]
) -> None:
    def lines(values: dict[str, object]) -> str:
        return "\n".join(f"{key} = {_toml(value)}" for key, value in values.items())

    text = f"[tables]\n{lines(tables)}\n[[forms]]\n{lines(form)}\n[forms.words]\n{lines(words)}\n"
    found = read(text)
    if isinstance(found, Preset):
        assert all((*found.forms[0].ready, *found.forms[0].processing))
    else:
        assert found
        assert all("\n" not in str(problem) for problem in found)
