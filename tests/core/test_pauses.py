"""How long a worker stays that is not needed: what a pause is, what is learned from pauses, what a stop costs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.history import noted, thinned
from controller.core.model import Finished, History, LongRun, Recommendation, ServiceTime
from controller.core.pauses import (
    FEWEST_PAUSES,
    LONGEST_S,
    MOST_PAUSES,
    PLACES,
    Cost,
    kept_for,
    learned,
    looked,
    relearned,
    rounded,
    slot,
    with_pauses,
)
from controller.core.ports import CycleNote
from controller.core.wanted import retention
from controller.policy import WorkerPolicy

NOW = 1_000_000.0


def aiming(most: int = 5, **wishes: object) -> WorkerPolicy:
    fields = {"service": "svc", "queue": {"table": "job"}, "max_replicas": most, "target_wait": "20s", **wishes}
    return WorkerPolicy.model_validate(fields)


KEEP = retention(aiming(), 31.0)
COST = Cost(start_up_s=20.0, arrivals_per_s=0.0, total_s=24.0)


# --- what counts as a pause ---


def after(*looks: tuple[float, int, bool], history: History | None = None) -> History:
    """The history after polls and quick checks (True) at these seconds, which recommend so many workers."""
    history, woken = history or History(), list[Recommendation]()
    for at, replicas, is_woken in looks:
        if is_woken:
            woken.append(Recommendation(NOW + at, replicas))
            continue
        note = CycleNote(replicas, 1, looks=thinned(woken))
        history, woken = noted(history, note, KEEP, NOW + at), []
    return history


@pytest.mark.parametrize(
    ("looks", "pauses"),
    [
        pytest.param([(0, 1, False), (10, 0, False), (20, 1, False)], ((20,),), id="one poll in between saw less"),
        pytest.param([(0, 1, False), (10, 1, False), (20, 1, False)], (), id="each poll needed it"),
        pytest.param([(0, 1, False), (4, 1, True), (9, 1, True), (10, 1, False)], (), id="quick checks needed it"),
        pytest.param([(0, 1, False), (4, 0, True), (6, 1, True), (10, 1, False)], (), id="only a quick check saw less"),
        pytest.param(
            [(0, 0, False), (4, 1, True), (10, 0, False), (13, 1, True), (20, 0, False)],
            ((9,),),
            id="from one quick check to another",
        ),
        pytest.param(
            [(0, 3, False), (10, 1, False), (20, 2, False), (30, 3, False)], ((), (20,), (30,)), id="each has its own"
        ),
        pytest.param([(0, 5, False), (10, 0, False), (20, 9, False)], ((20,),) * 5, id="up to max_replicas"),
    ],
)
def test_a_pause_is_the_time_between_two_needs_with_a_poll_that_saw_less(
    looks: list[tuple[float, int, bool]], pauses: tuple[tuple[float, ...], ...]
) -> None:
    assert after(*looks).pauses == pauses


def test_a_gap_in_the_readings_is_no_pause() -> None:
    polled = after((0, 1, False), (10, 0, False))
    assert after((50, 1, False), history=polled).pauses == ()
    assert after((20, 0, False), (30, 0, False), (40, 1, False), history=polled).pauses == ((40,),)


def test_a_pause_may_be_longer_than_a_worker_stays() -> None:
    polls = [(float(at), 0, False) for at in range(10, 2000, 10)]
    assert after((0, 1, False), *polls, (2000, 1, False)).pauses == ((LONGEST_S + 0.25,),)


def test_the_later_workers_share_their_pauses() -> None:
    assert [slot(worker) for worker in (1, 20, 21, 400)] == [0, 19, 20, 20]
    assert len(with_pauses((), [(400, 3.0)])) == PLACES


def test_the_newest_500_pauses_are_kept() -> None:
    pauses = with_pauses(((1.0,) * MOST_PAUSES,), [(1, 2.1)])
    assert (len(pauses[0]), pauses[0][-2:]) == (MOST_PAUSES, (1.0, 2.0))


LOOKS = st.lists(st.tuples(st.sampled_from([1, 3, 10]), st.integers(0, 6), st.booleans()), max_size=60)


@given(LOOKS)
def test_pauses_are_those_of_a_plain_count_over_all_looks(steps: list[tuple[int, int, bool]]) -> None:
    """Though of all looks only those are kept that may still matter."""
    at, looks = 0.0, list[tuple[float, int, bool]]()
    for step, replicas, is_woken in steps:
        at += step
        looks.append((at, replicas, is_woken))
    looks.append((at + 1, 0, False))
    polls = [at for at, _, is_woken in looks if not is_woken]
    plain = []
    for worker in range(1, 6):
        needed = [at for at, replicas, _ in looks if replicas >= worker]
        plain.append(
            tuple(
                rounded(later - earlier)
                for earlier, later in itertools.pairwise(needed)
                if any(earlier < poll < later for poll in polls)
            )
        )
    # A gap in the history is a matter of its own; here a poll comes often enough.
    if all(later - earlier <= KEEP.gap for earlier, later in itertools.pairwise(polls)):
        seen = after(*looks).pauses
        assert [*seen, *[()] * (5 - len(seen))] == plain


# --- what is learned ---


def paid(pauses: list[float], kept_s: float, cost: Cost) -> float:
    return sum(min(one, kept_s) + (cost.total_s if one > kept_s else 0.0) for one in pauses)


@given(st.lists(st.floats(0, 1200).map(rounded), min_size=FEWEST_PAUSES, max_size=80), st.floats(5, 300))
def test_no_other_time_would_have_cost_less_in_these_pauses(pauses: list[float], start_up_s: float) -> None:
    cost = Cost.of(20.0, start_up_s, 0.1)
    kept_s = learned(sorted(pauses), cost)
    assert kept_s is not None
    assert cost.least_s <= kept_s <= LONGEST_S
    others = {cost.least_s, LONGEST_S, *(one for one in pauses if cost.least_s <= one <= LONGEST_S)}
    best = min([0.0, *(one for one in pauses if one <= LONGEST_S)], key=lambda one: paid(pauses, one, cost))
    if cost.least_s <= best:
        assert paid(pauses, kept_s, cost) <= min(paid(pauses, other, cost) for other in others) + 1e-6


@given(
    st.lists(st.integers(1, 40) | st.integers(1, 4000), min_size=FEWEST_PAUSES, max_size=MOST_PAUSES),
    st.sampled_from([1.0, 12.0, 24.0]) | st.floats(1, 2000),
)
def test_of_times_that_cost_the_same_the_shortest_is_learned(quarters: list[int], total_s: float) -> None:
    """Though not each pause is tried: times that cannot cost less are skipped."""
    pauses, cost = [rounded(one / 4) for one in quarters], Cost(5.0, 0.0, total_s)
    times = [0.0, *(one for one in pauses if one <= LONGEST_S)]
    plain = min(times, key=lambda kept_s: (round(paid(pauses, kept_s, cost), 6), kept_s))
    assert learned(sorted(pauses), cost) == cost.limited(plain)


@pytest.mark.parametrize(
    ("pauses", "kept_s"),
    [
        pytest.param([12.0] * 100, 12.0, id="pauses of 12 s are shorter than a start is worth"),
        pytest.param([600.0] * 100, 6.0, id="long pauses: it goes as soon as it may"),
        pytest.param([12.0] * 90 + [600.0] * 10, 12.0, id="a few long ones"),
        pytest.param([12.0] * 29, None, id="29 pauses are too few"),
        pytest.param([2000.0] * 30, 6.0, id="longer than any worker stays"),
    ],
)
def test_a_worker_stays_through_pauses_that_cost_less_than_a_wrong_stop(
    pauses: list[float], kept_s: float | None
) -> None:
    assert learned(sorted(pauses), COST) == kept_s


@pytest.mark.parametrize(
    ("target_wait", "start_up_s", "arrivals_per_s", "total_s"),
    [
        pytest.param(20, 20, 0.1, 20 + 0.2 * (20 + 0.1 * 200), id="L + v (L + λ L² / 2), v = 4 s / 20 s"),
        pytest.param(60, 20, 0.0, 20 + 20 / 15, id="no arrivals are known"),
        pytest.param(5, None, 0.0, 18, id="no start was measured: 10 s"),
        pytest.param(5, 1, 0.0, 9, id="a start takes 5 s at least"),
        pytest.param(5, 999, 0.0, 540, id="a start takes 5 min at most"),
    ],
)
def test_what_a_wrong_stop_costs(
    target_wait: float, start_up_s: float | None, arrivals_per_s: float, total_s: float
) -> None:
    assert Cost.of(target_wait, start_up_s, arrivals_per_s).total_s == pytest.approx(total_s)


def test_until_30_pauses_are_known_a_worker_stays_for_what_a_wrong_stop_costs() -> None:
    service = ServiceTime(1.0, 1.0, 500, arrivals_per_s=1000.0)
    assert kept_for(aiming(2), History(start_ups=(20.0,)), None) == (24.0, 24.0)
    assert kept_for(aiming(2), History(start_ups=(20.0,)), service) == (LONGEST_S, LONGEST_S)
    assert kept_for(aiming(3), History(start_ups=(20.0,), kept_s=(7.0, None)), None) == (7.0, 24.0, 24.0)


def test_times_are_learned_anew_after_five_minutes() -> None:
    history = History(start_ups=(20.0,), pauses=((12.0,) * 50,))
    first = relearned(history, aiming(), None, NOW)
    assert (first.kept_s, first.learned_at) == ((12.0,), NOW)
    changed = replace(first, pauses=((600.0,) * 50,))
    assert relearned(changed, aiming(), None, NOW + 299) == changed
    assert relearned(changed, aiming(), None, NOW + 300).kept_s == (6.0,)


@given(LOOKS)
def test_a_look_leaves_what_tells_when_each_worker_was_last_needed(steps: list[tuple[int, int, bool]]) -> None:
    at, kept, every = 0.0, list[Recommendation](), list[Recommendation]()
    for step, replicas, _ in steps:
        at += step
        every.append(Recommendation(at, replicas))
        looked(kept, every[-1], None, 0)
    for worker in range(7):
        last = max((one.at for one in every if one.replicas >= worker), default=None)
        assert max((one.at for one in kept if one.replicas >= worker), default=None) == last


# --- the mean over the long run ---


def jobs(*seconds: float, first: int = 0) -> list[Finished]:
    return [Finished(float(first + number), one) for number, one in enumerate(seconds)]


def test_each_finished_job_enters_the_long_run_once() -> None:
    first = LongRun.after(None, jobs(1.0, 3.0))
    again = LongRun.after(first, jobs(1.0, 3.0, 5.0))
    assert (first, again) == (LongRun(2.0, 2, 1.0), LongRun(3.0, 3, 2.0))
    assert LongRun.after(again, jobs(1.0, 3.0, 5.0)) is again
    assert LongRun.after(None, []) is None


def test_after_5000_jobs_each_new_one_moves_the_mean_by_a_5000th() -> None:
    full = LongRun(10.0, LongRun.MOST, 0.0)
    assert LongRun.after(full, jobs(5010.0, first=1)) == LongRun(11.0, LongRun.MOST, 1.0)


def test_the_longer_of_the_two_means_holds() -> None:
    newest = ServiceTime(2.0, 1.0, 500, arrivals_per_s=3.0)
    assert LongRun(1.0, 900, 0.0).with_newest(newest) == newest
    assert LongRun(4.0, 900, 0.0).with_newest(newest) == ServiceTime(4.0, 1.0, 500, arrivals_per_s=3.0)
