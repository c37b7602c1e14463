"""The count of requests: over any pattern of them never more than Railway allows, and always room for a change."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters.railway.budget import CEILING_S, CONFIRMATIONS, HOBBY, Budget, Quota
from controller.core.ports import NotSent


@dataclass
class HandClock:
    now: float = 1000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def budget(quota: int = 10, window: float = 100.0) -> tuple[Budget, HandClock]:
    clock = HandClock()
    return Budget(clock, Quota(quota, window)), clock


def sent(spend: object) -> bool:
    assert callable(spend)
    try:
        spend()
    except NotSent:
        return False
    return True


@pytest.mark.parametrize(
    ("header", "quota", "window"),
    [
        ('"default";q=100;w=3600', 100, 3600),
        ("default; q=10000; w=60", 10000, 60),
        ('"a";q=50;w=1, "b";q=70;w=2', 50, 1),
        ('"odd";q=1;w=999999, "b";q=70;w=2', 70, 2),
        ("q=1000000;w=86400", 1_000_000, 86_400),
        ("q=29;w=3600", 29, 3600),
    ],
)
def test_a_quota_is_in_force_once_three_answers_in_a_row_have_said_it(header: str, quota: int, window: float) -> None:
    one = Budget(HandClock())
    for _ in range(CONFIRMATIONS - 1):
        one.learn(header)
        assert one.told == (quota, window)
        assert (one.quota, one.window_s) == HOBBY
        one.learn("")  # an answer without one, such as an error of Railway's edge, neither says nor denies it
    one.learn(header)
    assert (one.quota, one.window_s) == (quota, window)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nothing of the kind",
        *("q=0;w=3600", "q=10;w=0", "q=-100;w=3600", "q=100;w=-1", "q=NaN;w=3600", "q=1e9;w=3600", "q=100;w=1e400"),
        *("q=²;w=3600", "q=" + "9" * 400 + ";w=3600", "q=100;w=" + "9" * 400, "q=٣٠٠;w=3600"),
        *("q=1;w=999999", "q=1;w=1", "q=9;w=60"),  # too few for a reading and a change
        *("q=28;w=3600", "q=10;w=2400", "q=10;w=86400"),  # not even one reading in 5 min, once half is used
        *("q=1000001;w=3600", "q=9999999;w=9999999", "q=1000;w=86401"),
        "q=100, w=3600",
    ],
)
def test_what_is_no_credible_quota_is_passed_over_however_often_it_is_said(header: str) -> None:
    one = Budget(HandClock())
    for _ in range(10):
        one.learn(header)
    assert (one.quota, one.window_s) == HOBBY
    assert one.told == HOBBY


def test_odd_answers_between_ordinary_ones_change_nothing() -> None:
    one = Budget(HandClock())
    for number in range(100):
        one.learn("q=35;w=3600" if number % 3 else "q=1000;w=3600")
        one.learn(f"q={40 + number};w=3600")
        assert (one.quota, one.window_s) == HOBBY


def test_a_smaller_quota_leaves_room_to_read_on_whatever_was_used_before() -> None:
    one, _ = budget(1000, 3600)
    for _ in range(700):
        one.spend_on_query()
    for _ in range(CONFIRMATIONS):
        one.learn("q=100;w=3600")
    assert (one.quota, one.requests().used) == (100, 40)
    assert [sent(one.spend_on_query) for _ in range(41)].count(True) == 40


@pytest.mark.costly
@given(st.lists(st.text(max_size=60) | st.from_regex(r"q=\d{1,8};w=\d{1,8}"), max_size=40), st.floats(0, 20))
def test_whatever_headers_say_cycles_are_not_stretched_beyond_the_ceiling(headers: list[str], pause: float) -> None:
    one, clock = budget(1000, 3600)
    for header in headers:
        one.learn(header)
        sent(one.spend_on_query)
        clock.now += pause
        assert 0 <= one.pace(per_cycle=20) <= CEILING_S
        assert Quota(one.quota, one.window_s).is_credible


@pytest.mark.costly
@pytest.mark.parametrize("header", ["q=10;w=1200", "q=29;w=3600", "q=1000;w=3600", "q=720;w=86400"])
def test_a_reading_at_the_given_pace_is_never_refused_however_small_the_quota(header: str) -> None:
    one, clock = budget(1000, 3600)
    for _ in range(500):
        one.spend_on_query()
    for _ in range(CONFIRMATIONS):
        one.learn(header)
    assert one.quota < 1000 or header.startswith("q=1000;")
    for _ in range(2000):
        one.spend_on_query()
        clock.now += max(10.0, one.pace())


def test_reading_stops_before_the_last_fifth_and_says_for_how_long() -> None:
    one, clock = budget()
    for _ in range(8):
        one.spend_on_query()
        clock.now += 1
    with pytest.raises(
        NotSent, match="not read for another 1 min 32 s: 8 of the 10 requests that it allows in 1 min 40 s are used"
    ):
        one.spend_on_query()
    one.spend_on_mutation()
    one.spend_on_mutation()
    with pytest.raises(NotSent, match="not changed for another 1 min 32 s: all 10 requests"):
        one.spend_on_mutation()
    clock.now += 92
    one.spend_on_mutation()


def test_a_refused_request_is_not_counted() -> None:
    one, _ = budget()
    assert [sent(one.spend_on_query) for _ in range(20)].count(True) == 8
    assert one.requests().used == 8


def test_nothing_is_sent_before_railway_s_own_time_is_over() -> None:
    one, clock = budget()
    one.pause(30)
    one.pause(5)
    assert (one.wait_s, one.pace()) == (30, 0), "the cycles go on, and say what they wait for"
    clock.now += 31
    assert one.wait_s == 0


# Whole seconds, mostly: so that the ends of windows are met exactly.
REQUESTS = st.lists(st.tuples(st.integers(0, 12) | st.floats(0, 40), st.booleans()), max_size=120)


@given(st.integers(1, 15), REQUESTS)
def test_no_window_ever_holds_more_than_the_quota_nor_more_queries_than_four_fifths(
    quota: int, pattern: list[tuple[float, bool]]
) -> None:
    one, clock = budget(quota)
    went: list[tuple[float, bool]] = []
    for pause, is_query in pattern:
        clock.now += pause
        if sent(one.spend_on_query if is_query else one.spend_on_mutation):
            went.append((clock.now, is_query))
    for at, _ in went:
        window = [is_query for then, is_query in went if at - 100 < then <= at]
        assert len(window) <= quota
        assert window.count(True) <= quota - quota // 5


@given(st.integers(5, 30), REQUESTS)
def test_wherever_a_query_went_out_a_fifth_was_left_for_mutations(
    quota: int, pattern: list[tuple[float, bool]]
) -> None:
    one, clock = budget(quota)
    for pause, is_query in pattern:
        clock.now += pause
        if sent(one.spend_on_query if is_query else one.spend_on_mutation) and is_query:
            assert quota - one.requests().used >= quota // 5


BURSTS = st.lists(st.tuples(st.floats(0, 50), st.integers(0, 3), st.integers(0, 3)), max_size=30)


@given(st.integers(5, 40), st.integers(1, 3), BURSTS)
def test_cycles_at_the_given_pace_never_run_out_of_queries(
    quota: int, per_cycle: int, before: list[tuple[float, int, int]]
) -> None:
    """Whichever requests were sent before; only an earlier cycle or another mutation could find no request left."""
    one, clock = budget(quota)
    for pause, queries, mutations in before:
        clock.now += pause
        for spend in (*[one.spend_on_query] * queries, *[one.spend_on_mutation] * mutations):
            sent(spend)
    for _ in range(5 * quota):
        pace = one.pace(per_cycle)
        clock.now += pace + 1e-6 if pace else 0.5
        if pace:
            assert [sent(one.spend_on_query) for _ in range(per_cycle)] == [True] * per_cycle
        else:
            sent(one.spend_on_query)


def test_a_plentiful_budget_stretches_nothing() -> None:
    """Railway's smallest paid plan, an interval of 10 s, and a change now and then: a whole day."""
    one, clock = budget(1000, 3600)
    for cycle in range(8640):
        one.spend_on_query()
        if cycle % 40 == 0:
            one.spend_on_mutation()
            one.spend_on_query()
        assert one.pace() == 0
        clock.now += 10


def test_a_small_budget_is_used_up_to_four_fifths_and_never_ends() -> None:
    """The free plan at the same interval: 80 readings an hour, which is one in 45 s."""
    one, clock = budget(100, 3600)
    paces: list[float] = []
    for _ in range(1000):
        one.spend_on_query()
        paces.append(one.pace())
        clock.now += max(10, paces[-1] + 0.001)
    assert max(paces) < 90
    assert sum(paces[-80:]) / 80 == pytest.approx(45, rel=0.1)


def test_the_pace_grows_with_every_request_out_of_turn_up_to_its_ceiling() -> None:
    one, _ = budget(100, 3600)
    paces = []
    for _ in range(80):
        one.spend_on_query()
        paces.append(one.pace())
    assert paces[:39] == [0] * 39
    assert all(later > earlier or later == CEILING_S for earlier, later in itertools.pairwise(paces[39:]))
    assert paces[-1] == CEILING_S == 300
