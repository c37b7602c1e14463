"""YAML as far as a policy needs it: what readers of YAML disagree on is refused, within limits, and in time."""

from __future__ import annotations

from collections.abc import Callable
from cProfile import Profile
from textwrap import dedent

import pytest

from controller.core.problems import ConfigurationError
from controller.policy import effective, load_policy, overlaps
from controller.policy.strict_yaml import LONGEST, MOST_CHARACTERS, MOST_NODES, Mapping, Scalar, parse, value_of

WORKER = "{{service: s{0}, queue: {{table: job}}, max_replicas: 5, tiers: [{{replicas: 1}}]}}"


def refused(text: str) -> str:
    """The one message."""
    with pytest.raises(ConfigurationError) as refusal:
        load_policy(dedent(text), {})
    return str(refusal.value.problems[0])


def meant(text: str) -> object:
    node = parse(f"a: {text}")
    assert isinstance(node, Mapping)
    ((_, value),) = node.pairs
    assert isinstance(value, Scalar)
    return value_of(value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("0", 0),
        ("3.10", 3.1),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("30s", "30s"),
        ("1.2.3", "1.2.3"),
        ("redis:6379", "redis:6379"),
        ("y", "y"),
        ("n", "n"),
        ("=", "="),
        ("08a", "08a"),
        ("123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ("'010'", "010"),
        ('"yes"', "yes"),
        ("'1:30'", "1:30"),
        ("!!str 010", "010"),
        ("! 5", "5"),
        ("!!int '5'", 5),
        ("!!float 5", 5),
        ("!!bool 'true'", True),
        ("!!null ''", None),
        ("٣", "٣"),
        ("²", "²"),
        *((f"{part * 20_000}x", f"{part * 20_000}x") for part in ("1", "1_", "1.", "1:1", "-1", "0x")),
        ('"\\u00e9"', "é"),
    ],
)
def test_what_every_reader_of_yaml_reads_alike_is_read(written: str, value: object) -> None:
    seen = meant(written)
    assert (type(seen), seen) == (type(value), value)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (
            "010",
            'is 010, which some read as octal (8), and some as decimal; write 10 for the number, or "010" in quotes',
        ),
        ("-010", "some read as octal (8), and some as decimal; write -10 for the number"),
        ("089", "some read as octal (or no number), and some as decimal; write 89 for the number"),
        ("0o10", 'some read as a number of another base; write 8 for the number, or "0o10" in quotes for the text'),
        ("0x1F", "write 31 for the number"),
        ("0b11", "write 3 for the number"),
        ("1:30", 'which some read as hours, minutes and seconds; write 90 for the number, or "1:30" in quotes'),
        ("1:30", "or 90s for a time"),
        ("1:30:00", "write 5400 for the number"),
        ("1_000", 'is 1_000, which some read as a number; write 1000 for the number, or "1_000" in quotes'),
        ("1_000.5", "write 1000.5 for the number"),
        ("1e3", 'some read as a number, and some as a text; write 1000 for the number, or "1e3" in quotes'),
        ("1.5E+3", "write 1500 for the number"),
        ("1e999", 'and some as a text; write "1e999" in quotes'),
        *((word, f"is {word}, which some read as true; write true, or") for word in ("yes", "Yes", "on", "ON")),
        *((word, f"is {word}, which some read as false; write false, or") for word in ("no", "NO", "off", "Off")),
        (".inf", "is .inf, which is not a number that a policy can hold"),
        ("-.INF", "is -.INF, which is not a number"),
        (".NaN", "is .NaN, which is not a number"),
        ("2024-01-01", 'is 2024-01-01, which some read as a date; write "2024-01-01" in quotes for the text'),
        ("2024-13-45", "which some read as a date"),
        ("2024-01-01T10:00:00Z", "which some read as a date"),
        ("9" * 50_000, "is a number of 50,000 digits, and 30 are the most"),
        ("0." + "9" * 50_000, "is a number of 50,002 digits, and 30 are the most"),
        ("0x" + "F" * 50_000, "which some read as a number of another base; write"),
        ('!!int ""', 'is "", which is not !!int; leave the tag out, or write one'),
        ("!!float ", 'is "", which is not !!float; leave the tag out, or write one'),
        ("!!int true", 'is "true", which is not !!int'),
        ("!!int 010", "some read as octal (8)"),
        ("!!bool 1", 'is "1", which is not !!bool'),
        ("!!null x", 'is "x", which is not !!null'),
        ("!!timestamp 2024-01-01", "has the tag !!timestamp, which means nothing in a policy; leave it out"),
        ("!!binary aGk=", "has the tag !!binary, which means nothing in a policy"),
        ("!!set {a}", "has the tag !!set, which means nothing in a policy; leave it out"),
        ("!!omap [a: 1]", "has the tag !!omap, which means nothing"),
        ("!!python/object/apply:os.system [id]", "has the tag !!python/object/apply:os.system, which means nothing"),
        ("!!python/name:os.system ''", "has the tag !!python/name:os.system, which means nothing"),
        ("!local x", "has the tag !local, which means nothing in a policy"),
        (
            '"\\UFFFFFFFF"',
            "is not YAML: found invalid Unicode character escape code; write the text in 'single quotes'",
        ),
        ('"\\q"', "is not YAML: found unknown escape character; write the text in 'single quotes'"),
        ('"\\x1b"', "holds characters that cannot be printed; leave them out"),
        ("*nothing", "*nothing refers to nothing; write &nothing first"),
        ("&a [*a]", "*a refers to itself; write the value out"),
        ("&a {<<: *a}", "*a refers to itself; write the value out"),
        ("{<<: 3}", "merges (<<) something that is not a mapping; write <<: *NAME"),
        ("{[1]: 2}", "has a key that is not a plain word; write `key: value`"),
        ("{!!int 1: 2}", "has a key that is not a plain word; write `key: value`"),
        ("{b: 1, b: 2}", "is here a second time (line 1); keep one"),
        ("[" * 60, "is nested more than 50 deep, which no policy is"),
        ("[" * 100_000, "nested more than 50 deep"),
        ("x" * (LONGEST + 1), "holds a value of 65,537 characters, and 65,536 are the most; shorten it"),
        (f"[{'1,' * (MOST_NODES + 1)}]", "holds more than 200,000 values, which no policy does"),
        ("x\n---\nb: 1", "begins a second document (---); a policy is one: keep one"),
        ("\n\tb: 1", "is not YAML: found character that cannot start any token; indent with spaces, not with tabs"),
        ("\0", "policy.yaml:1:4: holds the character U+0000, which YAML does not allow; delete it"),
        ("\n  b: \ud800", "policy.yaml:2:6: holds the character U+D800, which YAML does not allow; delete it"),
        ("x" + "\n" * MOST_CHARACTERS, "is longer than 4,000,000 characters, which no policy is; name the right file"),
    ],
)
def test_what_readers_of_yaml_disagree_on_is_refused_with_what_to_write(written: str, words: str) -> None:
    said = refused(f"a: {written}")
    assert words in said
    assert len(said) < 1500


def test_a_byte_order_mark_is_no_part_of_the_policy() -> None:
    assert load_policy("\ufeffworkers: {a: " + WORKER.format("") + "}", {})[0].workers.keys() == {"a"}


@pytest.mark.costly
def test_aliases_that_multiply_end_at_the_limit() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    assert "holds more than 100,000 values, by its aliases; write them out" in refused(laughs)
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 5000))
    assert "is nested more than 50 deep" in refused(chain)
    merges = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}}}\n" for n in range(1, 5000))
    assert "is nested more than 50 deep" in refused(merges)


def test_own_keys_override_what_a_merge_brings_and_tell_their_own_lines() -> None:
    policy, document = load_policy(
        dedent("""\
        workers:
          a: &a {service: a, queue: {table: t}, max_replicas: 5, tiers: [{replicas: 1}]}
          b:
            service: b
            max_replicas: 9
            <<: *a
        """),
        {},
    )
    assert (policy.workers["b"].max_replicas, policy.workers["b"].only_queue.table) == (9, "t")
    assert document.line(("workers", "b", "max_replicas")) == 5
    assert document.line(("workers", "b", "queue")) == 2


def test_of_very_much_that_is_wrong_the_first_hundred_are_said() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_policy("workers: {" + ", ".join(f"w{n}: {{typo: 1}}" for n in range(500)) + "}", {})
    assert len(refusal.value.problems) == 101
    assert refusal.value.problems[-1].text == "has more than these 100 problems; fix them and check again"


@pytest.mark.costly
def test_variables_that_multiply_end_at_the_limit() -> None:
    with pytest.raises(
        ConfigurationError, match="is longer than 4,000,000 characters once its variables are filled in"
    ):
        load_policy("a: [" + "'${A}', " * 100 + "]", {"A": "x" * 60_000})
    with pytest.raises(ConfigurationError, match="A is longer than 65,536 characters; shorten it"):
        load_policy("interval: ${A}", {"A": "x" * 100_000})


def calls(work: Callable[[], object]) -> int:
    """How many functions it calls: the same on any machine."""
    profile = Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


def workers(count: int, queue: str = "{{table: job, where: 'kind = {0}'}}") -> str:
    one = "  w{0}: {{service: 's${{KEY_{0}:-secret{0}}}', queue: " + queue
    rest = (
        ", max_replicas: 5, tiers: [{{up_to: 1, replicas: 1}}, {{replicas: 2}}], rate_limit: {{rpm: 60, keys: {{usage: "
    )
    keys = "'u{0}<window>', rpm_limit: a{0}, max_workers: b{0}, per_worker_rpm: c{0}}}}}}}\n"
    numbers = range(100, 100 + count)  # all of three digits: a longer number takes more steps
    return "workers:\n" + "".join((one + rest + keys).format(number) for number in numbers)


def tiers(count: int) -> str:
    every = ", ".join(f"{{up_to: {number}, replicas: {number // 2}}}" for number in range(count))
    return f"workers: {{w: {{service: s, queue: {{table: j}}, max_replicas: 90, tiers: [{every}, {{replicas: 90}}]}}}}"


def checked(text: str) -> None:
    """All that `check` does with a policy, right or wrong."""
    try:
        policy, document = load_policy(text, {})
    except ConfigurationError:
        return
    list(effective(policy, document))
    list(overlaps(policy))


@pytest.mark.costly
@pytest.mark.parametrize(
    ("few", "text"),
    [
        (10, workers),
        (50, tiers),
        (10, lambda count: workers(count, "{{table: job}}")),
        (10, lambda count: workers(count, "{{table: job, statuses: {{pending: [p{0}], processing: [q{0}]}}}}")),
        (10, lambda count: workers(count, "{{preset: que, queues: [q{0}]}}")),
        (10, lambda count: workers(count, "{{sql: 'SELECT {0} AS pending, 0 AS processing'}}")),
        (10, lambda count: workers(count).replace("replicas: 1}", "replicas: x}")),
        (50, lambda count: workers(count).replace("service: 's", "service: 's${UNSET}")),
        (50, lambda count: tiers(count).replace("replicas: 1}", "replicas: 80}")),
        (
            50,
            lambda count: (
                f"workers: {{w: {{queue: {{table: j, statuses: {{pending: [{', '.join(map(str, range(count)))}]}}}}}}}}"
            ),
        ),
        (
            50,
            lambda count: (
                f"a: &a {{{', '.join(f'k{n}: 1' for n in range(10))}}}\nb: {{<<: [{'*a, ' * (count // 10)}]}}"
            ),
        ),
    ],
    ids=[
        *("many workers", "many tiers", "many workers on one table", "many workers with statuses of their own"),
        *("many workers of a library", "many workers with queries", "many wrong workers", "many unset variables"),
        *("many falling tiers", "many statuses", "many merges"),
    ],
)
def test_checking_takes_as_many_steps_for_each_worker_and_tier_however_many_there_are(
    few: int, text: Callable[[int], str]
) -> None:
    """Of unset variables, 50 make the hundred problems that are said, and each costs more than the one before."""
    checked(text(2))  # what is made once has been made
    steps = calls(lambda: checked(text(few)))
    assert calls(lambda: checked(text(4 * few))) < 4.2 * steps
