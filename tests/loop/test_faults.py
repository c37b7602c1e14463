"""A fault of hours is logged at once, then once a minute, and once more when it is over."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from controller.core.conditions import Condition
from controller.core.model import Decision, QueueDepth, Replicas, ServiceState
from controller.core.reasons import Because, Reason
from controller.loop.cycle import Cycle, Fault, Outcome
from controller.loop.faults import CycleLogger, Stretch, failing_after
from tests.support.sources import REDIS

HELD, APPLIED, FAILED, CRASHED, FENCED = (Outcome(word) for word in ("held", "applied", "failed", "crashed", "fenced"))
TIER, QUEUE, PLATFORM, JOURNAL = (
    Reason(word) for word in ("Tier", "QueueUnavailable", "PlatformUnavailable", "JournalUnavailable")
)


ANSWERS = {"q": "PostgreSQL", "r": "Railway", "j": "Redis"}


def cycle(outcome: Outcome, *reasons: Reason, read: str = "", fault: str = "") -> Cycle:
    """`read`: what it read, by first letters: q(ueue), r(eplicas), j(ournal). `fault`: what failed in it."""
    because = tuple(Because(reason, "words") for reason in reasons)
    return Cycle(
        at=0.0,
        worker="w",
        outcome=outcome,
        because=because,
        message="hold: words",
        max_workers=5,
        queue=QueueDepth(1, 0) if "q" in read else None,
        replicas=Replicas(1, 1, 1, ServiceState.RUNNING) if "r" in read else None,
        decision=Decision(1, 1, 1, because) if "j" in read else None,
        answered=frozenset(name for letter, name in ANSWERS.items() if letter in (read or "j" * (outcome is FENCED))),
        fault=Fault(fault, "words") if fault else None,
    )


GOOD = cycle(HELD, TIER, read="qrj")
AWAY = cycle(FAILED, QUEUE, read="r", fault="PostgreSQL")


def said(telling: CycleLogger, what: Cycle, now: float) -> str | None:
    line = telling.line(what, now)
    return None if line is None else line["message"]


@pytest.mark.parametrize("interval", [0.2, 10.0, 600.0])
def test_an_outage_of_three_hours_is_said_at_once_and_then_once_a_minute_at_most(interval: float) -> None:
    telling, times = CycleLogger(), [step * interval for step in range(int(3 * 3600 / interval))]
    lines = [(now, text) for now in times if (text := said(telling, AWAY, now)) is not None]
    assert lines[0] == (0.0, "hold: words")
    assert len(lines) == min(180, len(times))
    assert all(later - earlier >= 59.999 for (earlier, _), (later, _) in pairwise(lines))


def test_each_repetition_says_how_long_the_fault_has_lasted() -> None:
    telling = CycleLogger()
    texts = [said(telling, AWAY, now) for now in (0, 59, 60, 61, 120, 300, 7200, 86_400)]
    assert texts == [
        *("hold: words", None, "hold: words, for 1 min", None, "hold: words, for 2 min"),
        *("hold: words, for 5 min", "hold: words, for 2 h", "hold: words, for 1 d"),
    ]


def test_another_reason_is_said_at_once_and_two_that_take_turns_are_said_once_a_minute_each() -> None:
    telling, other = CycleLogger(), cycle(FAILED, PLATFORM, read="q", fault="Railway")
    lines = [said(telling, other if now % 2 else AWAY, now) for now in range(61)]
    assert [now for now, line in enumerate(lines) if line is not None] == [0, 1, 60]


def test_every_cycle_that_did_not_fail_has_its_line_and_the_next_failure_is_new() -> None:
    telling = CycleLogger()
    lines = [said(telling, one, now) for now, one in enumerate((AWAY, AWAY, GOOD, GOOD, AWAY))]
    assert lines == ["hold: words", None, "hold: words", "hold: words", "hold: words"]


TIMED_OUT = cycle(FAILED, Reason.TIMED_OUT, fault="controller")
FELL_BACK = cycle(APPLIED, Reason.FALLBACK, read="rj", fault="PostgreSQL")


@pytest.mark.parametrize(
    ("cycles", "recovered"),
    [
        pytest.param([AWAY, AWAY, GOOD], ["PostgreSQL answers again after 20 s"], id="after two failed cycles"),
        pytest.param(
            [AWAY, cycle(FAILED, PLATFORM, read="q", fault="Railway")],
            ["PostgreSQL answers again after 10 s"],
            id="in a cycle that fails on another dependency",
        ),
        pytest.param(
            [AWAY, cycle(FAILED, JOURNAL, fault="Redis"), GOOD],
            ["PostgreSQL answers again after 20 s", "Redis answers again after 10 s"],
            id="two dependencies, each since its own first failure",
        ),
        pytest.param(
            [cycle(CRASHED, Reason.CRASHED, fault="controller"), GOOD],
            ["cycles succeed again after 10 s"],
            id="after a bug",
        ),
        pytest.param([TIMED_OUT, GOOD], ["cycles succeed again after 10 s"], id="after a cycle that took too long"),
        pytest.param([TIMED_OUT, TIMED_OUT], [], id="not while cycles take too long"),
        pytest.param([AWAY, FELL_BACK], [], id="not in a cycle that scaled without reading the queue"),
        pytest.param(
            [AWAY, FELL_BACK, GOOD],
            ["PostgreSQL answers again after 20 s"],
            id="after a cycle that scaled without reading the queue",
        ),
        pytest.param(
            [
                cycle(FAILED, Reason.SCALE_FAILED, read="qrj", fault="Railway"),
                cycle(HELD, TIER, Reason.BACKING_OFF, read="qrj", fault="Railway"),
            ],
            [],
            id="not while a refused change waits to be asked for again",
        ),
        pytest.param(
            [cycle(FAILED, JOURNAL, read="qr", fault="Redis"), cycle(FENCED, Reason.LEASE_LOST)],
            ["Redis answers again after 10 s"],
            id="Redis, in the cycle that learns from it that the lease is lost",
        ),
        pytest.param([GOOD, GOOD], [], id="not where nothing had failed"),
    ],
)
def test_a_recovery_is_logged_with_how_long_the_fault_lasted(cycles: list[Cycle], recovered: list[str]) -> None:
    telling = CycleLogger()
    heard = [one for turn, each in enumerate(cycles) for one in telling.recovered(each, 10.0 * turn)]
    assert [one.sentence for one in heard] == recovered


def test_a_replica_that_becomes_a_standby_logs_that_redis_answers_and_no_other_recovery() -> None:
    telling = CycleLogger()
    for one in (AWAY, cycle(FAILED, JOURNAL, fault="Redis")):
        telling.line(one, 0.0)
        telling.recovered(one, 0.0)
    assert [one.sentence for one in telling.stood_aside(REDIS, 5.0)] == ["Redis answers again after 5 s"]
    assert telling.stood_aside(REDIS, 6.0) == []
    assert said(telling, AWAY, 7.0) == "hold: words"


@pytest.mark.parametrize(
    ("cycles", "failing"),
    [
        pytest.param([AWAY], {"PostgreSQL": 0}, id="one failed cycle"),
        pytest.param([AWAY, AWAY], {"PostgreSQL": 0}, id="two failed cycles count from the first"),
        pytest.param(
            [AWAY, cycle(FAILED, JOURNAL, fault="Redis")],
            {"PostgreSQL": 0, "Redis": 1},
            id="a cycle that read nothing clears no fault",
        ),
        pytest.param(
            [AWAY, cycle(FAILED, JOURNAL, read="qr", fault="Redis")],
            {"Redis": 1},
            id="a cycle that read the queue clears PostgreSQL's",
        ),
        pytest.param([AWAY, GOOD, AWAY], {"PostgreSQL": 2}, id="a fault that comes back counts anew"),
        pytest.param(
            [cycle(FAILED, Reason.OUTCOME_UNKNOWN, read="qrj", fault="Railway")],
            {"Railway": 0},
            id="a change whose answer was lost is a fault of the platform",
        ),
        pytest.param([cycle(FAILED, TIER, fault="Redis")], {"Redis": 0}, id="the fault counts, whatever the reason is"),
        pytest.param([cycle(FAILED, TIER)], {"controller": 0}, id="a failed cycle without a fault is the controller's"),
        pytest.param([GOOD], {}, id="a good cycle"),
    ],
)
def test_what_fails_is_known_by_name_since_its_first_failed_cycle(
    cycles: list[Cycle], failing: dict[str, float]
) -> None:
    known: dict[str, float] = {}
    for turn, each in enumerate(cycles):
        known = failing_after(known, each, turn)
    assert known == failing


MISSING, STUCK = Reason("WorkersMissing"), Reason("NoProgress")


def faulty(*faults: tuple[Reason, float, bool], what: Cycle = GOOD) -> Cycle:
    """With these conditions: (reason, for how many seconds, whether it is a fault yet)."""
    conditions = tuple(Condition(reason, "words", "fix", lasted, fault) for reason, lasted, fault in faults)
    return replace(what, conditions=conditions)


@pytest.mark.parametrize(
    ("cycles", "failing"),
    [
        pytest.param([faulty((MISSING, 30.0, False))], {}, id="a condition that is no fault yet"),
        pytest.param([faulty((MISSING, 60.0, True))], {"WorkersMissing": 40.0}, id="a fault counts from its beginning"),
        pytest.param(
            [faulty((MISSING, 60.0, True)), faulty((MISSING, 75.0, True))],
            {"WorkersMissing": 40.0},
            id="and keeps its first time",
        ),
        pytest.param([faulty((MISSING, 60.0, True)), faulty()], {}, id="a cycle without it clears it"),
        pytest.param(
            [faulty((MISSING, 60.0, True)), AWAY],
            {"WorkersMissing": 40.0, "PostgreSQL": 110.0},
            id="a cycle that could not tell does not clear it",
        ),
        pytest.param(
            [faulty((MISSING, 60.0, True)), faulty(what=AWAY)],
            {"PostgreSQL": 110.0},
            id="a cycle that failed and could tell clears it",
        ),
        pytest.param(
            [faulty((MISSING, 60.0, True), (STUCK, 600.0, True))],
            {"WorkersMissing": 40.0, "NoProgress": -500.0},
            id="two faults, each from its own beginning",
        ),
    ],
)
def test_a_fault_of_the_service_fails_since_it_began_until_a_cycle_no_longer_finds_it(
    cycles: list[Cycle], failing: dict[str, float]
) -> None:
    known: dict[str, float] = {}
    for turn, each in enumerate(cycles):
        known = failing_after(known, each, 100.0 + 10.0 * turn)
    assert known == failing


def test_the_end_of_a_fault_is_said_with_how_long_it_lasted() -> None:
    telling = CycleLogger()
    heard = [telling.recovered(one, now) for one, now in ((faulty((STUCK, 600.0, True)), 100.0), (faulty(), 110.0))]
    assert [[one.sentence for one in each] for each in heard] == [
        [],
        ["jobs are taken again, none is ready, or a new deployment began, after 10 min 10 s"],
    ]


def test_a_traceback_is_shown_once_a_minute_and_another_one_at_once() -> None:
    telling = CycleLogger()
    bugs = [(KeyError("a"), 0), (KeyError("a"), 1), (KeyError("b"), 2), (KeyError("a"), 60), (KeyError("b"), 61)]
    assert [telling.is_new(bug, now) for bug, now in bugs] == [True, False, True, True, False]


def test_a_bug_is_the_same_wherever_in_memory_its_objects_lie() -> None:
    telling = CycleLogger()
    news = [telling.is_new(TypeError(f"{object()!r} at {address:#x}"), 0) for address in (16, 17)]
    assert news == [True, False]


def test_a_bug_that_words_itself_anew_each_time_does_not_fill_the_memory() -> None:
    telling = CycleLogger()
    for number in range(1000):
        telling.is_new(KeyError(number), number)
    assert len(telling._bugs._said) <= 100


# --- cycles that are stretched because the platform's requests run out


def stretches(paces: list[tuple[float, float]], interval: float = 10.0) -> list[tuple[float, str]]:
    """What is said at which time, of these paces at these times."""
    stretch, said = Stretch(), list[tuple[float, str]]()
    for now, pace in paces:
        if stretch.is_news(pace, interval, now):
            said.append((now, f"{pace:g}"))
        lasted = stretch.ended(now)
        if lasted is not None:
            said.append((now, f"over after {lasted:g}"))
    return said


@pytest.mark.parametrize(
    ("paces", "said"),
    [
        pytest.param([(0, 0.0), (10, 5.0), (20, 10.0)], [], id="not for a pace within the interval"),
        pytest.param([(0, 45.0), (45, 46.0), (90, 89.0)], [(0, "45")], id="once at the beginning"),
        pytest.param(
            [(0, 20.0), (20, 39.0), (60, 40.0), (100, 81.0)],
            [(0, "20"), (60, "40"), (100, "81")],
            id="again when the pace has doubled",
        ),
        pytest.param(
            [(at, 45.0) for at in range(0, 7300, 50)], [(0, "45"), (3600, "45"), (7200, "45")], id="again once an hour"
        ),
        pytest.param(
            [(0, 45.0), (50, 0.0), (60, 45.0), (110, 0.0), (120, 45.0)],
            [(0, "45")],
            id="not again when it ends and begins within 10 min",
        ),
        pytest.param(
            [(0, 45.0), (50, 45.0), (95, 0.0), (640, 0.0), (650, 0.0)],
            [(0, "45"), (650, "over after 50")],
            id="the end after 10 min without one",
        ),
    ],
)
def test_stretched_cycles_are_said_when_they_begin_get_worse_go_on_and_end(
    paces: list[tuple[float, float]], said: list[tuple[float, str]]
) -> None:
    assert stretches(paces) == said
