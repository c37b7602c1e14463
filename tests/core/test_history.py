"""The rules of the journal: how a worker's history changes with each step, as tables and as properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.history import (
    Known,
    Loss,
    accepted,
    doubted,
    given_back,
    needed,
    not_after,
    noted,
    recorded,
    settled,
    with_external_change,
)
from controller.core.load import Load
from controller.core.model import Change, Direction, History, Recommendation, Start
from controller.core.override import Overrides
from controller.core.ports import CycleNote, Retention, Settled
from controller.core.rules import window_tolerance

NOW = 100_000.0
KEEP = Retention(window=60, gap=31)
UP = Change("up", 7, 1, 3, at=0.0)
DOWN = Change("down", 7, 3, 1, at=0.0)
BOTH = pytest.mark.parametrize("change", [UP, DOWN], ids=["scale-up", "scale-down"])


def last_scale(history: History, direction: Direction) -> float | None:
    return history.last_up if direction is Direction.UP else history.last_down


def opened(change: Change, before: History | None = None, at: float = NOW) -> History:
    return recorded(before or History(), change, at)


# --- a change, from its record to its outcome ---


@BOTH
def test_a_cooldown_starts_when_the_change_is_recorded_and_only_in_its_direction(change: Change) -> None:
    before = History(last_up=NOW - 500, last_down=NOW - 700, count=change.before)
    history = opened(change, before)
    assert history.change == replace(change, at=NOW)
    assert last_scale(history, change.direction) == NOW
    other = Direction.DOWN if change.direction is Direction.UP else Direction.UP
    assert last_scale(history, other) == last_scale(before, other)
    assert history.count == change.before, "the platform has not shown it yet"


@BOTH
def test_a_cooldown_counts_from_the_answer_of_the_platform(change: Change) -> None:
    history = accepted(opened(change), change, NOW + 4)
    assert last_scale(history, change.direction) == NOW + 4
    assert history.change is not None
    assert (history.change.at, history.change.accepted_at) == (NOW, NOW + 4)


@pytest.mark.parametrize("outcome", [Settled.NEVER_SENT, Settled.REFUSED])
@pytest.mark.parametrize("before", [None, NOW - 500], ids=["no scale before it", "a scale before it"])
@BOTH
def test_a_change_that_changed_nothing_gives_its_cooldown_back(
    change: Change, before: float | None, outcome: Settled
) -> None:
    history = settled(opened(change, History(last_up=before, last_down=before)), change, outcome, 1, NOW + 9)
    assert (history.last_up, history.last_down, history.change) == (before, before, None)


@BOTH
def test_an_applied_change_counts_from_its_answer(change: Change) -> None:
    open_one = accepted(opened(change), change, NOW + 4)
    history = settled(open_one, change, Settled.APPLIED, change.after, NOW + 60)
    assert (history.count, history.change) == (change.after, None)
    assert last_scale(history, change.direction) == NOW + 4


@pytest.mark.parametrize("outcome", [Settled.APPLIED, Settled.NOT_HONOURED])
@BOTH
def test_a_change_without_an_answer_counts_from_when_its_outcome_is_known(change: Change, outcome: Settled) -> None:
    """It may have happened at any time until then."""
    history = settled(opened(change), change, outcome, 2, NOW + 60)
    assert last_scale(history, change.direction) == NOW + 60


@BOTH
def test_a_change_that_was_accepted_and_not_made_counts_from_when_that_is_known(change: Change) -> None:
    history = settled(accepted(opened(change), change, NOW + 4), change, Settled.NOT_HONOURED, 2, NOW + 60)
    assert last_scale(history, change.direction) == NOW + 60


@pytest.mark.parametrize(
    ("outcome", "is_accepted", "backs_off"),
    [
        (Settled.REFUSED, False, True),
        (Settled.NOT_HONOURED, True, True),
        (Settled.NOT_HONOURED, False, False),
        (Settled.NEVER_SENT, False, False),
    ],
)
def test_the_platform_is_backed_off_from_if_it_refused_or_did_not_do_what_it_accepted(
    outcome: Settled,
    *,
    is_accepted: bool,
    backs_off: bool,
) -> None:
    history = opened(UP, History(refused_at=5.0, refused_to=2, setbacks=1))
    history = accepted(history, UP, NOW + 4) if is_accepted else history
    history = settled(history, UP, outcome, 1, NOW + 9)
    told = (history.refused_at, history.refused_to, history.setbacks)
    assert told == ((NOW + 9, UP.after, 2) if backs_off else (5.0, 2, 1))


def test_an_applied_change_ends_the_backing_off() -> None:
    history = opened(UP, History(refused_at=5.0, refused_to=2, setbacks=3))
    history = settled(history, UP, Settled.APPLIED, 3, NOW)
    assert (history.refused_at, history.refused_to, history.setbacks) == (None, None, 0)


def test_a_stop_that_the_platform_does_not_show_is_kept_until_a_job_is_in_progress() -> None:
    history = settled(opened(DOWN), DOWN, Settled.NOT_HONOURED, 3, NOW, unconfirmed_stop="deployment")
    assert history.unconfirmed_stop == "deployment"
    assert noted(history, CycleNote(1, 3), KEEP, NOW).unconfirmed_stop == "deployment"
    assert noted(history, CycleNote(1, 3, working=True), KEEP, NOW).unconfirmed_stop is None
    again = settled(opened(UP, history), UP, Settled.APPLIED, 3, NOW)
    assert again.unconfirmed_stop == "deployment", "another change says nothing about it"


@pytest.mark.parametrize("open_one", [None, replace(UP, id="newer")], ids=["no open change", "a newer change"])
def test_an_old_change_settles_and_accepts_nothing(open_one: Change | None) -> None:
    history = History(last_up=NOW - 500, count=2)
    history = history if open_one is None else opened(open_one, history)
    assert settled(history, UP, Settled.NEVER_SENT, 1, NOW + 9, unconfirmed_stop="d", running=1) == history
    assert accepted(history, UP, NOW + 9) == history


def test_an_external_change_starts_both_cooldowns() -> None:
    history = with_external_change(History(last_up=5.0, count=3, start=Start(NOW, 1, 3)), 2, NOW)
    assert (history.last_up, history.last_down, history.count, history.start) == (NOW, NOW, 2, None)


TIMES = st.integers(0, 2000).map(lambda seconds: NOW - seconds)
STEPS = st.lists(
    st.one_of(
        st.sampled_from([UP, DOWN]),
        st.just("accepted"),
        st.sampled_from([Settled.APPLIED, Settled.NOT_HONOURED]),
        st.integers(0, 5),
    ),
    max_size=12,
)


@given(up=st.none() | TIMES, down=st.none() | TIMES, steps=STEPS)
def test_no_step_moves_a_cooldown_earlier_unless_nothing_was_changed(
    up: float | None, down: float | None, steps: Sequence[Change | str | Settled | int]
) -> None:
    """The one exception, a change that was never sent or was refused, has a test of its own."""
    history, now = History(last_up=up, last_down=down), NOW
    for step in steps:
        before, now = history, now + 1
        if isinstance(step, Change):
            history = recorded(history, step, now) if history.change is None else history
        elif isinstance(step, Settled):
            history = history if before.change is None else settled(history, before.change, step, 2, now)
        elif isinstance(step, int):
            history = with_external_change(history, step, now) if history.change is None else history
        else:
            history = history if before.change is None else accepted(history, before.change, now)
        for direction in (Direction.UP, Direction.DOWN):
            assert (last_scale(history, direction) or 0.0) >= (last_scale(before, direction) or 0.0)


@given(up=st.none() | TIMES, down=st.none() | TIMES, change=st.sampled_from([UP, DOWN]))
def test_record_and_never_sent_leave_every_time_as_it_was(up: float | None, down: float | None, change: Change) -> None:
    before = History(last_up=up, last_down=down, count=change.before, since=5.0, refused_at=7.0, setbacks=2)
    assert settled(opened(change, before), change, Settled.NEVER_SENT, change.before, NOW + 1) == before


# --- what a cycle read ---


def test_a_history_begins_with_its_first_note_and_its_count_is_kept_until_it_is_settled() -> None:
    history = noted(History(), CycleNote(3, 1), KEEP, NOW)
    assert (history.since, history.unbroken_since, history.count) == (NOW, NOW, 1)
    history = noted(history, CycleNote(2, 9), KEEP, NOW + 10)
    assert (history.since, history.unbroken_since, history.count) == (NOW, NOW, 1)
    assert [one.replicas for one in history.recommendations] == [3, 2]


def test_a_queue_in_which_jobs_were_seen_stays_known() -> None:
    history = noted(History(), CycleNote(1, 1, queue_seen="jobs"), KEEP, NOW)
    assert noted(history, CycleNote(0, 1), KEEP, NOW + 10).queue_seen == "jobs"


@pytest.mark.parametrize(
    ("silence", "window", "is_broken"),
    [
        pytest.param(31, 60, False, id="a reading that is just in time"),
        pytest.param(31.1, 60, True, id="no reading for longer than the gap"),
        pytest.param(10, 61, True, id="a longer window than was kept"),
        pytest.param(10, 30, False, id="a shorter window than was kept"),
        pytest.param(10, 60.000000000000007, False, id="the same window to a millisecond"),
    ],
)
def test_recommendations_are_unbroken_until_a_gap_or_a_longer_window(
    silence: float,
    window: float,
    *,
    is_broken: bool,
) -> None:
    history = noted(History(), CycleNote(3, 1), KEEP, NOW)
    history = noted(history, CycleNote(3, 1), Retention(window, KEEP.gap), NOW + silence)
    assert history.unbroken_since == (NOW + silence if is_broken else NOW)
    assert (history.since, history.window) == (NOW, round(window, 3))


def test_a_window_that_was_shortened_and_made_longer_again_is_not_known() -> None:
    history = noted(History(), CycleNote(3, 1), KEEP, NOW)
    history = noted(history, CycleNote(3, 1), Retention(0, 31), NOW + 10)
    assert history.recommendations == (), "without a window none is kept"
    assert noted(history, CycleNote(3, 1), KEEP, NOW + 20).unbroken_since == NOW + 20


@pytest.mark.parametrize(
    "note",
    [
        pytest.param(CycleNote(None, 1, read=False), id="the queue could not be read"),
        pytest.param(CycleNote(None, None), id="the platform could not be read"),
    ],
)
def test_a_cycle_that_could_not_read_both_adds_no_recommendation(note: CycleNote) -> None:
    history = noted(History(), CycleNote(3, 1), KEEP, NOW)
    after = noted(history, note, KEEP, NOW + 10)
    assert (after.recommendations, after.remembered_at) == (history.recommendations, NOW)


def unread(*steps: tuple[float, bool]) -> tuple[int, float | None]:
    """After cycles that could, or could not, read the queue: failures in a row, and the last successful reading."""
    history = History()
    for at, read in steps:
        history = noted(history, CycleNote(1 if read else None, 1, read=read), KEEP, NOW + at)
    return history.unread, history.queue_read_at


@pytest.mark.parametrize(
    ("steps", "count", "read_at"),
    [
        pytest.param([(0, True)], 0, 0, id="none failed"),
        pytest.param([(0, True), (10, False), (20, False)], 2, 0, id="two in a row"),
        pytest.param([(0, False), (10, False)], 2, None, id="the queue was never read"),
        pytest.param([(0, False), (10, True), (20, False)], 1, 10, id="one was read between two failures"),
        pytest.param([(0, False), (31, False)], 2, None, id="the next failure comes just in time"),
        pytest.param([(0, False), (31.1, False)], 1, None, id="no cycle for longer than the gap"),
        pytest.param([(0, False), (10, False), (20, True)], 0, 20, id="it was read again"),
    ],
)
def test_failed_readings_of_the_queue_are_counted_in_a_row(
    steps: list[tuple[float, bool]], count: int, read_at: float | None
) -> None:
    assert unread(*steps) == (count, None if read_at is None else NOW + read_at)


def test_a_reading_of_the_queue_alone_ends_the_failures() -> None:
    history = noted(History(), CycleNote(None, 1, read=False), KEEP, NOW)
    history = noted(history, CycleNote(None, None), KEEP, NOW + 1)
    assert (history.unread, history.queue_read_at) == (0, NOW + 1)
    assert noted(history, CycleNote(None, 1, read=False), KEEP, NOW + 2).unread == 1


def test_failures_before_the_last_reading_do_not_count_on() -> None:
    """A dry run puts together what two processes have noted."""
    history = History(unread=2, unread_at=NOW - 5, read_at=NOW - 1)
    assert noted(history, CycleNote(None, 1, read=False), KEEP, NOW).unread == 1


# --- the recommendations that are kept ---

LOOKS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), min_size=1, max_size=30)
"""Seconds since the look before, and what it recommended."""


def taken(looks: Sequence[tuple[int, int]]) -> list[Recommendation]:
    at, found = NOW, []
    for seconds, replicas in looks:
        at += seconds
        found.append(Recommendation(at, replicas))
    return found


def highest(recommendations: Sequence[Recommendation], window: float, now: float) -> int:
    """As decide() asks for it."""
    last = max((one.at for one in recommendations if one.at < now), default=now)
    since = now - window - window_tolerance(now - last)
    return max((one.replicas for one in recommendations if one.at >= since), default=0)


@given(looks=LOOKS, window=st.floats(0, 600), later=st.floats(0, 300))
def test_the_recommendations_that_are_dropped_never_decide_a_window_that_ends_later(
    looks: list[tuple[int, int]], window: float, later: float
) -> None:
    full = taken(looks)
    now = full[-1].at + later
    kept = needed(full)
    assert highest(kept, window, now) == highest(full, window, now)
    assert set(kept) <= set(full)


@given(looks=LOOKS)
def test_at_most_one_recommendation_for_each_count_is_kept_besides_the_newest_two(looks: list[tuple[int, int]]) -> None:
    kept = needed(taken(looks))
    assert list(kept) == sorted(kept, key=lambda one: one.at)
    older = [one.replicas for one in kept[:-2]]
    assert older == sorted(set(older), reverse=True)
    assert needed(kept) == kept


@given(looks=LOOKS, window=st.integers(1, 60))
def test_noting_cycle_after_cycle_keeps_the_highest_of_each_window_up_to_the_kept_one(
    looks: list[tuple[int, int]], window: int
) -> None:
    history, keep = History(), Retention(60, 50)
    full = taken(looks)
    for place, one in enumerate(full):
        history = noted(history, CycleNote(one.replicas, 1), keep, one.at)
        expected = highest(full[: place + 1], window, one.at)
        assert highest(history.recommendations, window, one.at) == expected
    assert all(one.at >= full[-1].at - keep.window - keep.gap for one in history.recommendations)


@pytest.mark.parametrize(("age", "kept"), [(60, [9, 1]), (91, [9, 1]), (91.1, [1])])
def test_a_recommendation_is_kept_for_the_window_and_one_gap(age: float, kept: list[int]) -> None:
    """A reading of one window ago may be a little late, and still decides."""
    history = noted(History(), CycleNote(9, 1), KEEP, NOW)
    history = noted(history, CycleNote(1, 1), KEEP, NOW + age)
    assert [one.replicas for one in history.recommendations] == kept


# --- how long a start takes ---


def seen(running: int, configured: int = 3) -> CycleNote:
    return CycleNote(1, configured, running=running)


def measured(start: Start, *readings: tuple[float, CycleNote]) -> float | None:
    """The start time that readings measure; each is (seconds after the change was accepted, what was read)."""
    history = History(start=start)
    for after, note in readings:
        history = noted(history, note, Retention(0.0, KEEP.gap), 1000 + after)
    return history.start_up_s


WHILE_ONE_RUNS = [(after, seen(1)) for after in range(1, 599, 20)]


@pytest.mark.parametrize(
    ("readings", "seconds"),
    [
        pytest.param(
            [(1, seen(1)), (10, seen(2)), (20, seen(3)), (30, seen(3))],
            20,
            id="a start is measured once, by the first reading that shows all",
        ),
        pytest.param(
            [(1, seen(1, 1)), (10, seen(1)), (20, seen(3))],
            20,
            id="a change that is not visible yet ends no start",
        ),
        pytest.param([(1, seen(1, 1)), (10, seen(3))], 10, id="a change becomes visible with all its workers"),
        pytest.param([(1, seen(3))], None, id="no reading showed a worker missing"),
        pytest.param(
            [(1, seen(1)), (10, seen(1, 4)), (20, seen(3))],
            None,
            id="the count was changed from outside meanwhile",
        ),
        pytest.param([*WHILE_ONE_RUNS, (599, seen(3))], 599, id="a start of 599 s is measured"),
        pytest.param([*WHILE_ONE_RUNS, (600, seen(3))], None, id="a start of 600 s is too long to be one"),
        pytest.param([(1, seen(1)), (10, seen(2)), (20, seen(2))], None, id="one worker is still missing"),
        pytest.param([(1, seen(0)), (10, seen(4))], 10, id="more workers run than were asked for"),
        pytest.param([(1, seen(1)), (32, seen(3))], 32, id="a reading that is a little late"),
        pytest.param([(1, seen(1)), (33, seen(3))], None, id="no reading for longer than the gap"),
        pytest.param([(1, seen(1)), (-1, seen(3))], None, id="the clock was set back"),
        pytest.param(
            [(1, seen(1)), (10, CycleNote(None, 3, running=1, read=False)), (20, seen(3))],
            20,
            id="a cycle that could not read the queue saw the workers",
        ),
        pytest.param(
            [(1, seen(1)), (10, CycleNote(None, None)), (20, seen(3))],
            20,
            id="a cycle that could not read the platform saw nothing",
        ),
    ],
)
def test_a_start_takes_from_its_acceptance_until_all_run(
    readings: list[tuple[float, CycleNote]], seconds: float | None
) -> None:
    assert measured(Start(1000, 1, 3), *readings) == seconds


def test_a_start_is_measured_from_an_accepted_scale_up_to_its_settlement() -> None:
    history = accepted(opened(UP), UP, NOW + 2)
    assert history.start == Start(NOW + 2, 1, 3)
    history = noted(history, seen(1), KEEP, NOW + 10)
    history = settled(history, UP, Settled.APPLIED, 3, NOW + 90, running=3)
    assert (history.start, history.start_up_s) == (None, 88), "the reading that settles it is newer than the note"


@pytest.mark.parametrize("change", [UP, DOWN], ids=["another scale-up", "a scale-down"])
def test_another_change_ends_the_measurement(change: Change) -> None:
    started = accepted(opened(UP), UP, NOW + 2)
    again = recorded(replace(started, change=None), change, NOW + 9)
    assert again.start is None
    after = accepted(again, change, NOW + 11).start
    assert after == (Start(NOW + 11, 1, 3) if change is UP else None)


def test_how_long_a_start_takes_is_the_median_of_the_newest_nine() -> None:
    history = History(start_ups=(10.0,))
    for took in (20.0, 30.0):
        history = replace(history, start=Start(NOW, 1, 3, seen=NOW + 1))
        history = noted(history, seen(3), KEEP, NOW + took)
    assert (history.start_ups, history.start_up_s) == ((10, 20, 30), 20)
    for took in range(40, 49):
        history = replace(history, start=Start(NOW, 1, 3, seen=NOW + 30))
        history = noted(history, seen(3), KEEP, NOW + took)
    assert (len(history.start_ups), history.start_up_s) == (9, 44)


# --- after the journal's clock was set back, or its data were lost ---


def test_timestamps_from_the_future_become_now() -> None:
    future = NOW + 86_400
    history = History(
        last_up=future,
        last_down=future,
        since=future,
        unbroken_since=future,
        remembered_at=future,
        recommendations=(Recommendation(NOW - 1, 3), Recommendation(NOW, 4), Recommendation(future, 9)),
        change=replace(UP, at=future),
        refused_at=future,
        read_at=future,
        unread=1,
        unread_at=future,
        load=Load(0.5, 100.0, future),
    )
    history = not_after(history, NOW)
    assert history.change is not None
    stamps = (history.last_up, history.last_down, history.since, history.unbroken_since, history.remembered_at)
    assert {*stamps, history.refused_at, history.read_at, history.unread_at, history.change.at} == {NOW}
    assert [one.replicas for one in history.recommendations] == [3, 4]
    assert history.load == Load(0.5, 100.0, NOW)


def test_times_that_have_been_and_missing_ones_stay_when_no_clock_was_set_back() -> None:
    history = opened(UP, History(last_down=NOW - 5, recommendations=(Recommendation(NOW, 1),)))
    assert not_after(history, NOW) == history
    assert not_after(History(), NOW) == History()


def test_a_measurement_from_the_future_is_dropped_by_the_next_note() -> None:
    history = noted(History(start=Start(NOW + 500, 1, 3)), seen(1), KEEP, NOW)
    assert history.start is None


def test_after_a_restart_of_the_server_what_it_lost_is_unknown() -> None:
    history = History(since=5.0, last_up=6.0, count=3)
    assert doubted(history, NOW) == replace(history, since=NOW)


KNOWN = Known(up_age=20.0, down_age=40.0, count=3)
OF_OURS = Known(up_age=20.0, count=3, change=UP, change_age=20.0)
OLD = History(last_up=NOW - 300, last_down=NOW - 300, since=NOW - 900, count=1)
LEADING = pytest.mark.parametrize("leads", [True, False], ids=["leader", "standby"])


@LEADING
def test_a_record_that_was_written_since_knows_more_than_this_process(*, leads: bool) -> None:
    assert given_back(OLD, KNOWN, Loss.NEWER, NOW, leads=leads) == OLD
    assert given_back(OLD, OF_OURS, Loss.NEWER, NOW, leads=leads) == OLD


@LEADING
def test_a_record_that_was_not_written_since_gets_later_times_only(*, leads: bool) -> None:
    """As after a jump of the journal's clock, by which all ages seem longer."""
    history = given_back(OLD, OF_OURS, Loss.SAME, NOW, leads=leads)
    assert history == replace(OLD, last_up=NOW - 20), "neither the count nor a change that was settled by another"
    history = given_back(OLD, Known(up_age=400.0, down_age=299.96), Loss.SAME, NOW, leads=leads)
    assert history == OLD, "40 ms later is the same moment"


@LEADING
def test_a_record_that_was_rolled_back_gets_all_that_this_process_knows(*, leads: bool) -> None:
    history = given_back(OLD, KNOWN, Loss.ROLLED_BACK, NOW, leads=leads)
    assert history == History(last_up=NOW - 20, last_down=NOW - 40, since=NOW, count=3)
    history = given_back(opened(DOWN, OLD, at=NOW - 300), OF_OURS, Loss.ROLLED_BACK, NOW, leads=leads)
    assert history.change == replace(UP, at=NOW - 20)


def test_a_change_that_was_settled_before_the_rollback_is_closed_again_by_the_leader_alone() -> None:
    """A standby may have missed that another change was opened."""
    history = opened(UP, OLD, at=NOW - 300)
    assert given_back(history, KNOWN, Loss.ROLLED_BACK, NOW).change is None
    assert given_back(history, KNOWN, Loss.ROLLED_BACK, NOW, leads=False).change == history.change


@LEADING
@pytest.mark.parametrize("loss", [Loss.EMPTIED, Loss.ROLLED_BACK])
def test_of_the_overrides_those_that_an_operator_changed_last_hold_after_a_loss(loss: Loss, *, leads: bool) -> None:
    older, newer = Overrides(NOW - 300), Overrides(NOW - 30)
    for record, known, left in ((older, newer, newer), (newer, older, newer), (Overrides(), older, older)):
        history = replace(OLD, overrides=record)
        assert given_back(history, Known(overrides=known), loss, NOW, leads=leads).overrides == left


@LEADING
@pytest.mark.parametrize("loss", [Loss.NEWER, Loss.SAME])
def test_a_record_that_lost_nothing_has_the_overrides(loss: Loss, *, leads: bool) -> None:
    history = given_back(OLD, Known(overrides=Overrides(NOW - 30)), loss, NOW, leads=leads)
    assert history.overrides == Overrides()


def test_an_emptied_record_gets_all_that_the_leader_knows() -> None:
    history = given_back(History(), OF_OURS, Loss.EMPTIED, NOW)
    assert history == History(last_up=NOW - 20, since=NOW, count=3, change=replace(UP, at=NOW - 20))


def test_an_emptied_record_that_another_process_has_given_back_is_replaced_by_the_leader_alone() -> None:
    theirs = replace(OLD, change=replace(DOWN, at=NOW - 300))
    history = given_back(theirs, OF_OURS, Loss.EMPTIED, NOW)
    assert (history.count, history.change, history.since) == (3, replace(UP, at=NOW - 20), NOW)
    history = given_back(theirs, OF_OURS, Loss.EMPTIED, NOW, leads=False)
    assert history == replace(theirs, last_up=NOW - 20)


def test_a_standby_gives_back_to_an_emptied_record_what_is_missing_there() -> None:
    history = given_back(History(last_down=NOW - 300), OF_OURS, Loss.EMPTIED, NOW, leads=False)
    assert history == History(last_up=NOW - 20, last_down=NOW - 300, count=3, change=replace(UP, at=NOW - 20))


@pytest.mark.parametrize("loss", Loss)
@LEADING
def test_a_process_that_has_seen_nothing_gives_nothing_back(
    loss: Loss,
    *,
    leads: bool,
) -> None:
    lost = loss is Loss.ROLLED_BACK or (loss is Loss.EMPTIED and leads)
    expected = replace(OLD, since=NOW) if lost else OLD
    assert given_back(OLD, None, loss, NOW, leads=leads) == expected


def test_the_cooldown_of_a_change_that_was_given_back_stays_even_if_nothing_was_sent() -> None:
    """How it was before that change is lost."""
    history = given_back(History(), OF_OURS, Loss.EMPTIED, NOW)
    assert settled(history, UP, Settled.NEVER_SENT, 1, NOW + 9).last_up == NOW - 20


@pytest.mark.parametrize("loss", [Loss.SAME, Loss.NEWER])
def test_the_open_change_is_never_older_than_this_process_knows(loss: Loss) -> None:
    history = given_back(opened(UP, OLD, at=NOW - 300), OF_OURS, loss, NOW)
    assert history.change is not None
    assert history.change.at == NOW - 20
    younger = opened(UP, OLD, at=NOW - 5)
    assert given_back(younger, OF_OURS, loss, NOW).change == younger.change


AGES = st.none() | st.integers(0, 4000).map(float)
CHANGES = st.sampled_from([None, UP, DOWN, replace(UP, id="other")])


@st.composite
def knowns(draw: st.DrawFn) -> Known | None:
    change = draw(CHANGES)
    count = draw(st.none() | st.integers(0, 5))
    return draw(st.none() | st.just(Known(draw(AGES), draw(AGES), count, change, draw(st.integers(0, 4000)))))


@st.composite
def histories(draw: st.DrawFn) -> History:
    change = draw(CHANGES)
    return History(
        last_up=draw(st.none() | TIMES),
        last_down=draw(st.none() | TIMES),
        since=draw(st.none() | TIMES),
        count=draw(st.none() | st.integers(0, 5)),
        change=None if change is None else replace(change, at=draw(TIMES)),
    )


@given(history=histories(), known=knowns(), loss=st.sampled_from(Loss), leads=st.booleans())
def test_giving_back_twice_is_the_same_as_once(
    history: History,
    known: Known | None,
    loss: Loss,
    *,
    leads: bool,
) -> None:
    once = given_back(history, known, loss, NOW, leads=leads)
    assert given_back(once, known, loss, NOW, leads=leads) == once


@given(history=histories(), known=knowns(), loss=st.sampled_from(Loss), leads=st.booleans())
def test_giving_back_makes_no_process_act_sooner(
    history: History,
    known: Known | None,
    loss: Loss,
    *,
    leads: bool,
) -> None:
    after = given_back(history, known, loss, NOW, leads=leads)
    for name in ("last_up", "last_down", "since"):
        assert (getattr(after, name) or 0.0) >= (getattr(history, name) or 0.0), name
    if not leads and history.change is not None:
        assert after.change is not None, "a standby closes no change"
    if history.change is not None and after.change is not None and history.change.id == after.change.id:
        is_lost = loss in {Loss.EMPTIED, Loss.ROLLED_BACK}
        assert after.change.at >= history.change.at or is_lost


@given(counts=st.lists(st.integers(0, 2000), min_size=1, max_size=40), more=st.integers(0, 1800))
def test_however_many_recommendations_fall_the_highest_of_a_window_is_never_too_low(
    counts: list[int], more: int
) -> None:
    falling = [Recommendation(float(place), 5000 - place) for place in range(more)]
    every = [*falling, *(Recommendation(float(more + place), count) for place, count in enumerate(counts))]
    kept = needed(every)
    assert len(kept) <= 502
    for since in (0, more // 2, more - 1, more + 1):
        true = max((one.replicas for one in every if one.at >= since), default=0)
        assert max((one.replicas for one in kept if one.at >= since), default=0) >= true
