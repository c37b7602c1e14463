"""A budget: what is charged in which period, how max falls with the spend, and which workers that removes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.budget import (
    ALL,
    OWN,
    Other,
    Period,
    Shared,
    Spend,
    Spent,
    Standing,
    Tally,
    charged,
    larger,
    standings,
)
from controller.core.history import Known, Loss, given_back
from controller.core.model import Decision, History, QueueDepth, Replicas, ServiceState
from controller.core.override import Blocks, Kind, Override, Overrides
from controller.core.plan import Plan, Seen, plan
from controller.core.ports import Retention, Unavailable
from controller.core.price import Price
from controller.core.reasons import Reason
from controller.loop.budget_status import BudgetStatus
from controller.policy import Budget, WorkerPolicy
from tests.support.sources import SOURCES

DAILY = {"amount": "100$", "per": "day"}
DATA: dict[str, Any] = {
    "service": "svc",
    "queue": {"table": "job"},
    "tiers": [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"replicas": 6}],
    "max_replicas": 6,
    "scale_up": {"cooldown": "0s"},
    "scale_down": {"cooldown": "0s"},
    "worker_size": {"price_per_hour": "3600$"},  # a worker-second is a dollar
}
GAP = 31.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOON, MIDNIGHT = at("2026-06-10 12:00"), at("2026-06-10 00:00")


def budget(**keys: Any) -> Budget:
    return Budget.model_validate({**DAILY, **keys})


def worker(own: dict[str, Any] | None = None, **keys: Any) -> WorkerPolicy:
    limited = {} if own is None else {"budget": {**DAILY, **own}}
    return WorkerPolicy.model_validate({**DATA, **limited, **keys})


@pytest.mark.parametrize(
    ("per", "zone", "now", "begins", "ends"),
    [
        ("hour", "UTC", "2026-06-10 12:34", "2026-06-10 12:00", "2026-06-10 13:00"),
        ("hour", "Asia/Kolkata", "2026-06-10 12:34", "2026-06-10 12:30", "2026-06-10 13:30"),
        ("day", "UTC", "2026-06-10 00:00", "2026-06-10 00:00", "2026-06-11 00:00"),
        ("day", "Europe/Berlin", "2026-06-10 23:00", "2026-06-10 22:00", "2026-06-11 22:00"),
        ("week", "UTC", "2026-06-14 23:59", "2026-06-08 00:00", "2026-06-15 00:00"),
        ("month", "UTC", "2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"),
        ("day", "Europe/Berlin", "2026-03-29 12:00", "2026-03-28 23:00", "2026-03-29 22:00"),
        ("month", "America/New_York", "2026-11-15 12:00", "2026-11-01 04:00", "2026-12-01 05:00"),
    ],
    ids=str,
)
def test_a_period_is_the_calendars_in_its_time_zone(per: str, zone: str, now: str, begins: str, ends: str) -> None:
    assert Period.of(budget(per=per, timezone=zone), at(now)) == (at(begins), at(ends))


@given(
    per=st.sampled_from(["hour", "day", "week", "month"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Asia/Kolkata"]),
    now=st.floats(at("2020-01-01"), at("2035-01-01")),
)
def test_each_moment_is_in_its_period_and_the_next_one_begins_at_its_end(per: str, zone: str, now: float) -> None:
    one = budget(per=per, timezone=zone)
    period = Period.of(one, now)
    assert period.begins <= now < period.ends
    if per != "hour":  # where a clock is changed by half an hour, one hour is shorter
        assert Period.of(one, period.ends).begins == period.ends


def test_time_is_charged_with_the_count_of_the_look_before_it() -> None:
    spent = charged(None, [budget()], 2, NOON, GAP)
    spent = charged(spent, [budget()], 5, NOON + 10, GAP)
    spent = charged(spent, [budget()], 0, NOON + 30, GAP)
    spent = charged(spent, [budget()], 0, NOON + 50, GAP)
    assert spent.tallies == {"day UTC": Tally(MIDNIGHT, NOON, 2 * 10 + 5 * 20)}


def test_time_without_a_reading_is_charged_and_told_beside_the_rest() -> None:
    spent = charged(charged(None, [budget()], 2, NOON, GAP), [budget()], 2, NOON + 1000, GAP)
    assert spent.tallies["day UTC"][2:] == (2000, 2000)
    spent = charged(spent, [budget()], None, NOON + 1010, GAP)  # the platform cannot be read
    assert (spent.tallies["day UTC"][2:], spent.count) == ((2020, 2020), 2)


def test_a_new_period_is_charged_from_its_begin_on() -> None:
    late = at("2026-06-10 23:59:50")
    spent = charged(charged(None, [budget()], 3, late, GAP), [budget()], 3, late + 20, GAP)
    assert spent.tallies == {"day UTC": Tally(MIDNIGHT + 86_400, MIDNIGHT + 86_400, 30)}


def test_a_clock_that_was_set_back_charges_nothing_twice() -> None:
    spent = charged(charged(None, [budget()], 3, NOON, GAP), [budget()], 3, NOON + 20, GAP)
    spent = charged(spent.not_after(NOON + 5), [budget()], 3, NOON + 5, GAP)
    assert charged(spent, [budget()], 3, NOON + 6, GAP).tallies["day UTC"].worker_s == 63


@pytest.mark.parametrize("back_s", [5, 300, 7200])
def test_after_a_clock_was_set_back_time_is_charged_at_once_and_not_only_when_the_clock_has_caught_up(
    back_s: int,
) -> None:
    """Also where the budget is younger than the step: its tally then begins in the future."""
    spent, now = charged(None, [budget()], 3, NOON, GAP), NOON - back_s
    spent = charged(spent.not_after(now), [budget()], 3, now, GAP)
    assert charged(spent, [budget()], 3, now + 10, GAP).tallies == {"day UTC": Tally(MIDNIGHT, now, 30)}


@given(
    looks=st.lists(st.tuples(st.floats(0, 4000), st.none() | st.integers(0, 9)), max_size=30),
    per=st.sampled_from(["hour", "day"]),
)
def test_no_second_of_a_period_is_charged_twice_or_left_out(looks: list[tuple[float, int | None]], per: str) -> None:
    one, now = budget(per=per), NOON
    spent = charged(None, [one], 4, now, GAP)
    (key,) = spent.tallies
    known = [(now, 4)]
    for passed, count in looks:
        now += passed
        spent = charged(spent, [one], count, now, GAP)
        known.append((now, known[-1][1] if count is None else count))
    begins = spent.tallies[key].begins
    pairs = itertools.pairwise(known)
    expected = sum(max(0.0, end - max(begin, begins)) * count for (begin, count), (end, _) in pairs)
    assert spent.tallies[key].worker_s == pytest.approx(expected)
    assert spent.tallies[key].unseen_s <= spent.tallies[key].worker_s + 1e-6
    assert Spent.from_text(spent.as_text()) == Spent.from_text(Spent.from_text(spent.as_text()).as_text())  # type: ignore[union-attr]  # it is one


@pytest.mark.parametrize(
    "text",
    [
        '[1,2,{"day UTC":[0,0,-1,0]},{}]',
        "[1,-2,{},{}]",
        "[1,2]",
        f"[1{'0' * 400},2,{{}},{{}}]",
        "[" * 100_000,
        '{"a":1}',
        '[1,2,{"day UTC":[0,0,NaN,0]},{}]',
        "[1,2,[],{}]",
    ],
)
def test_a_record_that_holds_no_spend_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Spent.from_text(text)


def spent_of(dollars: float, now: float = NOON, **more: Any) -> Spent:
    return Spent(now, 0, {"day UTC": Tally(MIDNIGHT, MIDNIGHT, dollars)}, **more)


ONE, TWO = Price(an_hour=3600.0), Price(an_hour=7200.0)
"""Dollars a second."""
LIMITS = Price(8.0, 8.0)


def unsized(spent: Spent, shared: Shared | None = None, *, own: bool = True) -> Standing:
    """Of a worker without a worker_size."""
    policy = worker({} if own else None).model_copy(update={"worker_size": None})
    return standings("w", policy, spent, shared, NOON)[0]


def test_without_a_size_a_worker_counts_with_its_limits_which_are_an_upper_bound() -> None:
    found = unsized(spent_of(1_000, limits=LIMITS))
    assert found.spend.dollars == pytest.approx(1_000 * LIMITS.per_second)
    assert found.words.startswith("at most $0.09 of $100.00 are spent in this day (0 %), until")
    assert found.words.endswith(
        "(a worker counts with the limits that the platform reports, for want of a worker_size)"
    )
    assert found.cap(worker({})) is None
    assert unsized(spent_of(1e6, limits=LIMITS)).step == 2


def test_without_a_size_and_without_limits_a_budget_limits_nothing_and_says_so() -> None:
    found = unsized(spent_of(1e9))
    assert (found.step, found.is_unknown, found.cap(worker({}))) == (0, True, None)
    assert "is unknown, so this budget limits nothing" in found.words
    shown = BudgetStatus.of(found, worker({}))
    assert (shown.spent, shown.is_upper_bound, shown.max_replicas) == (None, False, 6)


def test_in_the_budget_of_all_a_worker_without_a_price_is_named() -> None:
    shared = Shared(budget(), (Other("b", spent_of(30), ONE), Other("c", spent_of(1_000, limits=LIMITS), None)))
    found = unsized(spent_of(1e9), shared, own=False)
    assert found.spend.dollars == pytest.approx(30 + 1_000 * LIMITS.per_second)
    assert found.words.startswith("at most $30.09 of")
    assert "a worker of c counts with the limits" in found.words
    assert "without w, whose spend is unknown" in found.words


def test_limits_are_remembered_while_the_platform_cannot_be_read_and_gone_once_it_reports_none() -> None:
    spent = charged(None, [budget()], 2, NOON, GAP, limits=LIMITS)
    assert Spent.from_text(spent.as_text()) == spent
    spent = charged(spent, [budget()], None, NOON + 10, GAP)
    assert spent.limits == LIMITS
    assert charged(spent, [budget()], 2, NOON + 20, GAP).limits is None
    with pytest.raises(ValueError, match="spend"):
        Spent.from_text('[1,2,{},{"limits":[-1,2]}]')


def standing(dollars: float, policy: WorkerPolicy) -> Standing:
    (one,) = standings("w", policy, spent_of(dollars), None, NOON)
    return one


@pytest.mark.parametrize(
    ("floor", "counts"),
    [
        (0, [6, 6, 4, 2, 0]),
        ("min", [6, 6, 5, 3, 1]),
        (3, [6, 6, 5, 4, 3]),
    ],
    ids=str,
)
def test_max_falls_by_thirds_at_80_90_and_100_percent(floor: int | str, counts: list[int]) -> None:
    policy = worker({"at_budget": floor}, min_replicas=1)
    found = [standing(dollars, policy).count(policy) for dollars in (0, 79.9, 80, 90, 100)]
    assert found == counts


@given(dollars=st.floats(0, 300), most=st.integers(0, 50), least=st.integers(0, 50), floor=st.integers(0, 50))
def test_max_never_rises_with_the_spend_and_never_falls_below_its_floor(
    dollars: float, most: int, least: int, floor: int
) -> None:
    policy = worker({"at_budget": min(floor, 6)}).model_copy(
        update={"max_replicas": most, "min_replicas": min(least, most)}
    )
    now, later = standing(dollars, policy).count(policy), standing(dollars + 7, policy).count(policy)
    floor = min(floor, 6)
    assert min(floor, most) <= later <= now <= most
    assert standing(100, policy).count(policy) == min(floor, most)


def replicas(count: int) -> Replicas:
    return Replicas(count, count, count, ServiceState.RUNNING)


def seen_at(
    now: float, policy: WorkerPolicy, queue: QueueDepth | Unavailable, count: int, history: History, *, gap: float = GAP
) -> Seen:
    return Seen(policy, queue, replicas(count), history, now, SOURCES, Retention(0.0, gap), 60.0, worker="w")


def override(kind: Kind, count: int = 0, **more: Any) -> Override:
    return Override("o1", kind, "ann", NOON - 60, NOON + 86_400, replicas=count, is_told=True, **more)


@dataclass(frozen=True)
class Case:
    """With `spent` of 100 $ and jobs that want 6, `count` workers become `desired`; busy: jobs in progress."""

    spent: float
    count: int
    desired: int
    reason: Reason
    busy: int = 0
    policy: WorkerPolicy = worker({"at_budget": 0}, jobs_per_worker=1)  # noqa: RUF009  # it is frozen
    each: tuple[Override, ...] = ()
    is_read: bool = True

    @property
    def plan(self) -> Plan:
        history = History(since=NOON - 86_400, spent=spent_of(self.spent), overrides=Overrides(NOON - 60, self.each))
        queue = QueueDepth(99 - self.busy, self.busy) if self.is_read else Unavailable(SOURCES.queue, "is away")
        if not self.is_read:
            history = replace(history, unread=9, unread_at=NOON, read_at=NOON - 600)
        seen = Seen(
            self.policy, queue, replicas(self.count), history, NOON, SOURCES, Retention(0.0, GAP), 60.0, worker="w"
        )
        return plan(seen)

    @property
    def decision(self) -> Decision:
        decision = self.plan.decision
        assert decision is not None
        return decision


LOST = worker({"at_budget": 0}, jobs_per_worker=1, on_unavailable={"after": "1m", "at_least": 5})
CASES = {
    "below 80 % it changes nothing": Case(79, 2, 6, Reason.TIER),
    "at 80 % fewer are added": Case(80, 2, 4, Reason.NEAR_BUDGET),
    "at 100 % none is added": Case(100, 0, 0, Reason.OVER_BUDGET),
    "idle workers above it go": Case(80, 6, 4, Reason.NEAR_BUDGET),
    "busy workers above it stay": Case(80, 6, 6, Reason.TIER, busy=6),
    "of the workers above it, as many stay as are busy": Case(90, 6, 3, Reason.NEAR_BUDGET, busy=3),
    "busy workers stay when all is spent": Case(109, 6, 6, Reason.TIER, busy=6),
    "busy workers go once it is overrun": Case(110, 6, 0, Reason.OVER_BUDGET, busy=6),
    "without an overrun, busy workers go when all is spent": Case(
        100, 6, 1, Reason.OVER_BUDGET, busy=6, policy=worker({"overrun": "0%"}, jobs_per_worker=1, min_replicas=1)
    ),
    "where it is unknown which are busy, the count falls as by any scale-down": Case(
        90, 6, 2, Reason.NEAR_BUDGET, busy=6, policy=worker({"at_budget": 0})
    ),
    "a step limit holds for it": Case(
        90, 6, 5, Reason.SCALE_DOWN_STEP, policy=worker({"at_budget": 0}, scale_down={"cooldown": "0s", "max_step": 1})
    ),
    "the window does not keep workers above it": Case(
        90,
        6,
        2,
        Reason.NEAR_BUDGET,
        policy=worker({"at_budget": 0}, scale_down={"cooldown": "0s", "stabilization_window": "5m"}),
    ),
    "at_budget: min keeps min_replicas": Case(105, 0, 2, Reason.OVER_BUDGET, policy=worker({}, min_replicas=2)),
    "a lower at_budget lowers min_replicas": Case(
        105, 1, 0, Reason.OVER_BUDGET, policy=worker({"at_budget": 0}, min_replicas=2)
    ),
    "a held count stays within it": Case(80, 0, 4, Reason.NEAR_BUDGET, each=(override(Kind.HOLD, 6),)),
    "a forced hold goes above it": Case(120, 0, 6, Reason.HELD, each=(override(Kind.HOLD, 6, is_forced=True),)),
    "a floor stays within it": Case(90, 0, 2, Reason.NEAR_BUDGET, each=(override(Kind.AT_LEAST, 5),)),
    "a forced floor goes above it": Case(
        120, 0, 5, Reason.AT_LEAST, each=(override(Kind.AT_LEAST, 5, is_forced=True),)
    ),
    "a pause keeps the workers above it": Case(90, 6, 6, Reason.TIER, each=(override(Kind.PAUSE, blocks=Blocks.DOWN),)),
    "without a reading of the queue no more are added than it allows": Case(
        90, 0, 2, Reason.NEAR_BUDGET, policy=LOST, is_read=False
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_decided_under_a_budget(case: Case) -> None:
    assert (case.decision.desired, case.decision.because[-1].reason) == (case.desired, case.reason)


@given(
    spent=st.floats(0, 130),
    count=st.integers(0, 8),
    busy=st.integers(0, 8),
    floor=st.sampled_from(["min", 0, 2]),
    least=st.integers(0, 2),
)
def test_a_budget_adds_none_above_its_max_and_removes_no_busy_worker_until_it_is_overrun(
    spent: float, count: int, busy: int, floor: int | str, least: int
) -> None:
    policy = worker({"at_budget": floor}, jobs_per_worker=1, min_replicas=least)
    decision, most = Case(spent, count, 0, Reason.TIER, busy, policy).decision, standing(spent, policy).count(policy)
    assert decision.desired <= max(most, min(count, policy.max_replicas))
    if spent < 109.99:
        assert decision.desired >= min(busy, count, policy.max_replicas)
    if spent > 110.01:
        assert decision.desired <= most


def test_each_step_is_reported_once_and_the_new_period_too() -> None:
    policy, history, now = worker({"at_budget": 0}), History(spent=spent_of(70)), NOON
    told: list[tuple[str, object]] = []
    for second in range(60):
        now = NOON + second
        seen = seen_at(now, policy, QueueDepth(99, 0), 1, history, gap=GAP)
        planned = plan(seen)
        told += [
            (str(event.fields["message"]), event.fields["max_replicas"])
            for event in planned.events
            if event.name == "budget"
        ]
        history = replace(planned.history, change=None)
    assert [most for _, most in told] == [4, 2, 0]
    assert told[0][0] == "$80.00 of $100.00 are spent in this day (80 %), until 2026-06-11 00:00 UTC: max falls 6 → 4"
    now = MIDNIGHT + 86_400 + 1
    seen = seen_at(now, policy, QueueDepth(99, 0), 1, history, gap=1e6)
    (event,) = (event for event in plan(seen).events if event.name == "budget")
    assert str(event.fields["message"]).startswith("max is 6 again: $1.00 of $100.00 are spent in this day (1 %)")


def test_the_budget_of_all_counts_what_each_has_spent() -> None:
    others = (Other("b", spent_of(30), ONE), Other("c", spent_of(10), TWO), Other("d", None, ONE))
    (one,) = standings("a", worker(), spent_of(25), Shared(budget(), others), NOON)
    assert (one.scope, one.spend.dollars, one.step) == (ALL, 75, 0)
    assert one.words.endswith("(without d, whose spend is unknown)")


def test_of_two_budgets_the_lower_max_holds() -> None:
    policy = worker({"at_budget": 0}, jobs_per_worker=1)
    history = History(since=NOON - 86_400, spent=spent_of(80))
    shared = Shared(budget(at_budget=0), (Other("b", spent_of(15), ONE),))
    seen = seen_at(NOON, policy, QueueDepth(99, 0), 0, history, gap=GAP)
    planned = plan(replace(seen, shared=shared))
    assert [one.scope for one in planned.standings] == [OWN, ALL]
    assert planned.decision is not None
    assert planned.decision.desired == 2


def test_what_a_lost_record_had_spent_is_given_back() -> None:
    kept = spent_of(80)
    assert given_back(History(), Known(spent=kept), Loss.EMPTIED, NOON).spent == kept
    newer = spent_of(90, NOON + 5)
    assert given_back(History(spent=newer), Known(spent=kept), Loss.ROLLED_BACK, NOON).spent == newer
    assert larger(None, kept) == larger(kept, None) == kept


def test_a_record_that_others_began_anew_gets_back_what_was_spent_before_but_one_that_was_written_since_is_right() -> (
    None
):
    kept, anew = spent_of(80, NOON - 30), spent_of(1, NOON)
    assert given_back(History(spent=anew), Known(spent=kept), Loss.SAME, NOON).spent == kept
    assert given_back(History(spent=anew), Known(spent=kept), Loss.NEWER, NOON).spent == anew


def test_what_a_process_remembers_of_the_time_before_the_clock_was_set_back_is_charged_from_now_on() -> None:
    kept = charged(spent_of(80, NOON + 300), [budget()], 2, NOON + 300, GAP)
    back = given_back(History(), Known(spent=kept), Loss.EMPTIED, NOON).spent
    assert charged(back, [budget()], 2, NOON + 10, GAP).tallies["day UTC"].worker_s == pytest.approx(
        kept.tallies["day UTC"].worker_s + 20
    )


def test_what_was_spent_after_a_period_does_not_replace_its_spend_when_the_clock_is_set_back_into_it() -> None:
    kept = Spent(NEXT_DAY + 20, 2, {"day UTC": Tally(NEXT_DAY, NEXT_DAY, 9)})
    older = Spent(NEXT_DAY - 60, 2, {"day UTC": Tally(MIDNIGHT, MIDNIGHT, 500)})
    assert given_back(History(spent=older), Known(spent=kept), Loss.ROLLED_BACK, NEXT_DAY - 20).spent == older


@given(clock=st.lists(st.tuples(st.floats(-3600, 3599), st.integers(0, 5)), min_size=2, max_size=20))
def test_a_clock_that_is_set_across_the_end_of_a_period_loses_nothing_of_either(clock: list[tuple[float, int]]) -> None:
    """Also through the text of the record: a process that knows nothing else goes on with it."""
    hourly, spent, known = budget(per="hour"), None, dict[float, float]()
    for step, count in clock:
        now = NOON + step
        spent = charged(None if spent is None else spent.not_after(now), [hourly], count, now, GAP)
        tally = spent.tallies["hour UTC"]
        assert tally.begins == Period.of(hourly, now).begins
        assert tally.worker_s >= known.get(tally.begins, 0.0) - 0.001 * len(clock)
        known[tally.begins] = tally.worker_s
        spent = Spent.from_text(spent.as_text())


def test_a_clock_that_runs_a_whole_period_ahead_and_is_set_right_goes_on_with_what_was_spent() -> None:
    spent = charged(charged(None, [budget()], 3, NOON, GAP), [budget()], 3, NOON + 20, GAP)
    ahead = charged(spent, [budget()], 3, NOON + 40 * 86_400, GAP)
    right = charged(ahead.not_after(NOON + 30), [budget()], 3, NOON + 30, GAP)
    assert right.tallies["day UTC"].worker_s == spent.tallies["day UTC"].worker_s
    assert charged(right, [budget()], 3, NOON + 40, GAP).tallies["day UTC"].worker_s == 3 * 30


def test_of_another_worker_it_counts_what_it_spent_in_this_period_although_its_record_is_in_the_next() -> None:
    hourly = budget(per="hour")
    ahead = charged(
        charged(charged(None, [hourly], 2, NOON, GAP), [hourly], 2, NOON + 10, GAP), [hourly], 2, NOON + 3601, GAP
    )
    price = Price(1.0, 1.0)
    other = Other("w", ahead, price)
    of_this, of_next = (Spend.of(other, hourly, NOON + start).dollars for start in (0, 3600))
    assert of_this == 20 * price.per_second > of_next > 0
    only_later = other._replace(spent=replace(ahead, replaced={}))
    assert Spend.of(only_later, hourly, NOON).unknown == ("w",)


@pytest.mark.parametrize(
    "replaced", ['{"day UTC": [1, 2, -3, 0]}', '{"day UTC": [1]}', "[]", '"day"', '{"day UTC": [1, 2, NaN, 0]}']
)
def test_a_record_with_a_tally_that_cannot_be_is_no_spend(replaced: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Spent.from_text(f'[1, 2, {{}}, {{"replaced": {replaced}}}]')


NEXT_DAY = MIDNIGHT + 86_400


@pytest.mark.parametrize(
    ("ours", "theirs", "is_ours"),
    [
        (Spent(NOON, 1), Spent(NOON + 9, 1), False),
        (Spent(NOON, 1, {"day UTC": Tally(MIDNIGHT, MIDNIGHT, 9)}), Spent(NOON + 9, 1), True),
        (
            Spent(NOON, 1, {"day UTC": Tally(MIDNIGHT, MIDNIGHT, 9)}),
            Spent(NOON + 9, 1, {"day UTC": Tally(MIDNIGHT, NOON + 9, 2)}),
            True,
        ),
        (
            Spent(NOON, 1, {"day UTC": Tally(MIDNIGHT, MIDNIGHT, 9)}),
            Spent(NEXT_DAY, 1, {"day UTC": Tally(NEXT_DAY, NEXT_DAY, 2)}),
            False,
        ),
        (
            Spent(NOON + 9, 1, {"day UTC": Tally(MIDNIGHT, MIDNIGHT, 9)}),
            Spent(NOON, 1, {"day UTC": Tally(MIDNIGHT, MIDNIGHT, 9)}),
            True,
        ),
        (
            Spent(NOON + 300, 1, {"day UTC": Tally(MIDNIGHT, MIDNIGHT, 9)}),
            Spent(NOON, 1, {"day UTC": Tally(MIDNIGHT, MIDNIGHT, 12)}),
            False,
        ),
    ],
    ids=[
        "nothing to compare, so the one charged later",
        "one knows nothing of any period",
        "more was spent, though another is charged later",
        "the later period",
        "as much, charged later",
        "more was spent since the clock was set back",
    ],
)
def test_of_two_spends_the_one_that_knows_more_is_kept(ours: Spent, theirs: Spent, *, is_ours: bool) -> None:
    assert larger(ours, theirs) == larger(theirs, ours) == (ours if is_ours else theirs)
