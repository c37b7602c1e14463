"""The table is the specification; the properties hold on random days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.adapters.railway.reading import WITH_A_VOLUME, one_in_each
from controller.core.model import (
    Decision,
    Direction,
    History,
    Observation,
    PlatformLimit,
    QueueDepth,
    Rate,
    RateUnread,
    RateUsage,
    Recommendation,
    Replicas,
    ServiceState,
)
from controller.core.reasons import REASONS, Reason
from controller.core.rules import cooldowns_left, decide, fall_back, recommend, trail
from controller.core.wanted import kept_window, windows
from controller.policy import WorkerPolicy
from tests.support.drawn_limits import limits
from tests.support.examples import examples

NOW = 1_000_000.0
LONG_AGO = NOW - 86_400
SHIPPED = {
    "service": "svc",
    "queue": {"table": "generation_job"},
    "tiers": [
        {"up_to": 0, "replicas": 0},
        {"up_to": 10, "replicas": 1},
        {"up_to": 30, "replicas": 2},
        {"up_to": 60, "replicas": 3},
        {"up_to": 100, "replicas": 4},
        {"replicas": 5},
    ],
    "max_replicas": 5,
}


def policy(**changes: object) -> WorkerPolicy:
    return WorkerPolicy.model_validate({**SHIPPED, **changes})


def regions(count: int) -> PlatformLimit | None:
    return one_in_each({f"region {number}": 1 for number in range(count)})


def observed(
    depth: int, configured: int, *, processing: int = 0, running: int | None = None, rate: Rate = None
) -> Observation:
    return Observation(
        QueueDepth(depth - processing, processing),
        Replicas(configured, configured if running is None else running, configured, ServiceState.RUNNING),
        rate,
    )


def beyond_counting(configured: int, *, limit: int) -> Observation:
    """More jobs in progress than were counted."""
    return replace(observed(limit, configured), queue=QueueDepth(0, limit, limit=limit))


def history(
    *, up: float | None = None, down: float | None = None, since: float | None = LONG_AGO, unbroken: float | None = None
) -> History:
    """Stamps as seconds before NOW."""
    return History(
        last_up=None if up is None else NOW - up,
        last_down=None if down is None else NOW - down,
        since=since,
        unbroken_since=unbroken,
    )


@pytest.mark.parametrize(
    ("depth", "replicas"),
    [(0, 0), (1, 1), (10, 1), (11, 2), (30, 2), (31, 3), (60, 3), (61, 4), (100, 4), (101, 5), (1000, 5)],
)
def test_each_depth_wants_the_workers_of_its_tier(depth: int, replicas: int) -> None:
    assert recommend(policy(), QueueDepth(depth, 0)) == replicas


@dataclass(frozen=True)
class Case:
    title: str
    depth: int
    configured: int
    desired: int
    reasons: list[Reason]
    history: History = field(default_factory=history)
    policy: Mapping[str, object] = field(default_factory=dict)


UP, DOWN, TIER = Reason.SCALE_UP_COOLDOWN, Reason.SCALE_DOWN_COOLDOWN, Reason.TIER
BELOW, MAX = Reason.BELOW_MINIMUM, Reason.MAXIMUM
WINDOW = {"scale_down": {"cooldown": "0s", "stabilization_window": "60s"}}
PAST = History(
    since=LONG_AGO,
    unbroken_since=NOW - 60,
    recommendations=(Recommendation(NOW - 61, 5), Recommendation(NOW - 60, 3), Recommendation(NOW, 1)),
)

TABLE = [
    Case("an idle queue needs no worker", 0, 0, 0, [TIER]),
    Case("the first job wakes the first worker", 1, 0, 1, [TIER]),
    Case("a burst goes up in one step", 1000, 0, 5, [TIER]),
    Case("a count that is right is left alone", 15, 2, 2, [TIER]),
    Case("a scale-up waits for the cooldown of the last scale-up", 15, 1, 1, [TIER, UP], history(up=29)),
    Case("a scale-up is allowed when its cooldown is over", 15, 1, 2, [TIER], history(up=30)),
    Case("a scale-up does not wait for the last scale-down", 15, 1, 2, [TIER], history(down=1)),
    Case("a scale-down waits for the last scale-down", 0, 2, 2, [TIER, DOWN], history(down=119)),
    Case("a scale-down waits for the last scale-up", 0, 2, 2, [TIER, DOWN], history(up=119, down=500)),
    Case("a scale-down is allowed when both are long past", 0, 2, 0, [TIER], history(up=120, down=120)),
    Case("without any history a scale-up is allowed at once", 15, 0, 2, [TIER], history(since=None)),
    Case("without any history a scale-down waits one cooldown", 0, 2, 2, [TIER, DOWN], history(since=None)),
    Case("a memory that began just now makes down wait", 0, 2, 2, [TIER, DOWN], history(since=NOW - 60)),
    Case("a stamp from the future holds for one cooldown at most", 15, 1, 1, [TIER, UP], history(up=-500)),
    Case("fewer than min is corrected at once", 0, 0, 1, [Reason.BELOW_MINIMUM], history(up=1), {"min_replicas": 1}),
    Case("fewer than min goes at once to what is wanted", 200, 0, 5, [BELOW, TIER], history(up=1), {"min_replicas": 3}),
    Case(
        *("fewer than min never goes past max", 200, 0, 4, [BELOW, TIER, MAX]),
        policy={"min_replicas": 3, "max_replicas": 4},
    ),
    Case(
        title="the part beyond min is limited by the step",
        depth=200,
        configured=1,
        desired=3,
        reasons=[BELOW, TIER, Reason.SCALE_UP_STEP],
        policy={"min_replicas": 2, "scale_up": {"max_step": 2}},
    ),
    Case(
        title="a step smaller than what lacks to min takes nothing back",
        depth=200,
        configured=0,
        desired=3,
        reasons=[BELOW, TIER, Reason.SCALE_UP_STEP],
        policy={"min_replicas": 3, "scale_up": {"max_step": 1}},
    ),
    Case("fewer than min, and fewer wanted, goes to min", 5, 0, 3, [BELOW], history(up=1), {"min_replicas": 3}),
    Case("more than max is corrected at once", 1000, 9, 5, [Reason.ABOVE_MAXIMUM], history(up=1, down=1)),
    Case("an idle queue keeps min", 0, 2, 1, [TIER, Reason.MINIMUM], history(), {"min_replicas": 1}),
    Case("max has the last word over the tiers", 1000, 0, 3, [TIER, Reason.MAXIMUM], history(), {"max_replicas": 3}),
    Case("a step up is limited", 1000, 0, 2, [TIER, Reason.SCALE_UP_STEP], history(), {"scale_up": {"max_step": 2}}),
    Case("a step down is limited", 0, 5, 4, [TIER, Reason.SCALE_DOWN_STEP], history(), {"scale_down": {"max_step": 1}}),
    Case("the window keeps what was wanted in it", 1, 5, 3, [TIER, Reason.STABILIZATION_WINDOW], PAST, WINDOW),
    Case("the window never adds workers", 1, 2, 2, [TIER, Reason.STABILIZATION_WINDOW], PAST, WINDOW),
    Case("the window does not slow the way up", 101, 1, 5, [TIER], PAST, WINDOW),
    Case(
        *("without a memory of the whole window there is no way down", 0, 3, 3, [TIER, Reason.MEMORY_TOO_SHORT]),
        history=history(unbroken=NOW - 59),
        policy=WINDOW,
    ),
    Case("without any memory there is no way down", 0, 3, 3, [TIER, Reason.MEMORY_TOO_SHORT], history(), WINDOW),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"tiers: {case.title}")
def test_the_table(case: Case) -> None:
    decision = decide(policy(**case.policy), observed(case.depth, case.configured), case.history, NOW)
    assert (decision.desired, list(decision.reasons)) == (case.desired, case.reasons)


BUSY, RATE, UNREAD = Reason.BUSY, Reason.RATE_LIMIT, Reason.RATE_UNKNOWN


@dataclass(frozen=True)
class Work:
    """A case in which some of the jobs are being worked on, up to five by each worker where the policy is not None."""

    title: str
    depth: int
    processing: int
    configured: int
    desired: int
    reasons: list[Reason]
    history: History = field(default_factory=history)
    policy: Mapping[str, object] = field(default_factory=dict)


WORK_TABLE = [
    Work("workers that are not needed are removed", 9, 5, 4, 1, [TIER]),
    Work("going down stops at as many as the work needs", 9, 9, 4, 2, [TIER, BUSY]),
    Work("the workers that the work needs are rounded up", 6, 6, 4, 2, [TIER, BUSY]),
    Work("a single job keeps its worker", 1, 1, 3, 1, [TIER, BUSY], history(), {"tiers": [{"replicas": 0}]}),
    Work("where all are busy no worker is removed", 10, 10, 2, 2, [TIER, BUSY]),
    Work("more work than they can do adds no worker", 10, 10, 1, 1, [TIER], history()),
    Work(
        *("more work than they can do adds no worker, fewer wanted", 10, 10, 1, 1, [TIER, BUSY]),
        policy={"tiers": [{"replicas": 0}]},
    ),
    Work("busy workers do not slow a scale-up", 30, 30, 1, 2, [TIER]),
    Work("waiting jobs keep no worker", 9, 0, 4, 1, [TIER]),
    Work("without jobs_per_worker no busy worker is kept", 9, 9, 4, 1, [TIER], policy={"jobs_per_worker": None}),
    Work("more than max is corrected, busy or not", 45, 45, 9, 5, [Reason.ABOVE_MAXIMUM]),
    Work("fewer than min is corrected", 9, 9, 0, 1, [Reason.BELOW_MINIMUM], history(), {"min_replicas": 1}),
    Work("the busy are spared before the cooldown is looked at", 9, 9, 4, 4, [TIER, BUSY, DOWN], history(down=1)),
    Work(
        *("the busy are spared before the window is looked at", 6, 6, 5, 3, [TIER, BUSY, Reason.STABILIZATION_WINDOW]),
        history=PAST,
        policy=WINDOW,
    ),
    Work("a window that wants fewer than are busy says nothing", 16, 16, 5, 4, [TIER, BUSY], PAST, WINDOW),
    Work(
        *("a step takes fewer than the busy would allow", 6, 6, 5, 4, [TIER, BUSY, Reason.SCALE_DOWN_STEP]),
        policy={"scale_down": {"max_step": 1}},
    ),
]


@pytest.mark.parametrize("case", WORK_TABLE, ids=lambda case: f"busy workers: {case.title}")
def test_the_table_of_who_is_busy(case: Work) -> None:
    changes = {"jobs_per_worker": 5, **case.policy}
    seen = observed(case.depth, case.configured, processing=case.processing)
    decision = decide(policy(**changes), seen, case.history, NOW)
    assert (decision.desired, list(decision.reasons)) == (case.desired, case.reasons)


@dataclass(frozen=True)
class Rated:
    """A case in which the workers share 60 requests a minute; used None: unknown."""

    title: str
    used: int | None
    depth: int
    configured: int
    desired: int
    reasons: list[Reason]
    history: History = field(default_factory=history)
    policy: Mapping[str, object] = field(default_factory=dict)

    @property
    def rate(self) -> Rate:
        return RateUnread("Redis: holds rubbish") if self.used is None else RateUsage(self.used, 60)


MIN_AND_STEP: Mapping[str, object] = {"min_replicas": 1, "scale_up": {"max_step": 1}}
RATED_TABLE = [
    Rated("one request left lets workers be added", 59, 15, 1, 2, [TIER]),
    Rated("no request left adds no worker", 60, 15, 1, 1, [TIER, RATE]),
    Rated("more requests than allowed add no worker", 75, 15, 1, 1, [TIER, RATE]),
    Rated("no request left adds not even the first worker", 60, 15, 0, 0, [TIER, RATE]),
    Rated("no request left stops no scale-down", 60, 0, 2, 0, [TIER]),
    Rated("a right count is left alone", 60, 15, 2, 2, [TIER]),
    Rated("no request left, and below min is corrected", 60, 5, 0, 1, [BELOW], history(), {"min_replicas": 1}),
    Rated(
        *("no request left, and below min goes to min only", 60, 15, 0, 1, [BELOW, TIER, RATE]),
        policy={"min_replicas": 1},
    ),
    Rated("no request left, and the step has nothing to limit", 60, 15, 0, 1, [BELOW, TIER, RATE], policy=MIN_AND_STEP),
    Rated("one request left lets it go past min", 59, 15, 0, 2, [BELOW, TIER], history(), {"min_replicas": 1}),
    Rated("no request left, and above max is corrected", 60, 15, 9, 5, [Reason.ABOVE_MAXIMUM]),
    Rated("a cooldown is the reason before the rate limit is", 60, 15, 1, 1, [TIER, UP], history(up=1)),
    Rated("a step has nothing left to limit", 60, 500, 1, 1, [TIER, RATE], history(), {"scale_up": {"max_step": 2}}),
    Rated("max has nothing left to limit", 60, 500, 1, 1, [TIER, RATE], history(), {"max_replicas": 3}),
    Rated("requests unknown adds no worker", None, 15, 1, 1, [TIER, UNREAD]),
    Rated("requests unknown adds not even the first worker", None, 15, 0, 0, [TIER, UNREAD]),
    Rated("requests unknown stops no scale-down", None, 0, 2, 0, [TIER]),
    Rated(
        *("requests unknown, and below min is corrected", None, 15, 0, 1, [BELOW, TIER, UNREAD]),
        policy={"min_replicas": 1},
    ),
    Rated("requests unknown, and above max is corrected", None, 15, 9, 5, [Reason.ABOVE_MAXIMUM]),
]


@pytest.mark.parametrize("case", RATED_TABLE, ids=lambda case: f"rate limit: {case.title}")
def test_the_table_of_the_rate_limit(case: Rated) -> None:
    seen = observed(case.depth, case.configured, rate=case.rate)
    decision = decide(policy(**case.policy), seen, case.history, NOW)
    assert (decision.desired, list(decision.reasons)) == (case.desired, case.reasons)


@dataclass(frozen=True)
class Blind:
    """A case without a reading of the queue; desired None: no decision."""

    title: str
    unread_for_s: float
    configured: int
    desired: int | None
    reasons: list[Reason]
    history: History = field(default_factory=history)
    policy: Mapping[str, object] = field(default_factory=dict)
    rate: Rate = None


FALLBACK, STEP = Reason.FALLBACK, Reason.SCALE_UP_STEP
HOLDING: Mapping[str, object] = {"on_unavailable": None}
BLIND_TABLE = [
    Blind("without on_unavailable it holds", 86_400, 1, None, [], history(), HOLDING),
    Blind("it holds before after is over", 299, 1, None, []),
    Blind(
        title="fewer than min is corrected without waiting for after",
        unread_for_s=0,
        configured=0,
        desired=2,
        reasons=[BELOW],
        history=history(up=1),
        policy={"min_replicas": 2},
        rate=RateUsage(60, 60),
    ),
    Blind(
        title="fewer than min is corrected without on_unavailable",
        unread_for_s=0,
        configured=1,
        desired=2,
        reasons=[BELOW],
        policy={"min_replicas": 2, "on_unavailable": None},
    ),
    Blind("min is no reason to remove a worker", 0, 3, None, [], policy={"min_replicas": 2}),
    Blind("a count above max is left alone before after is over", 0, 9, None, [], policy={"min_replicas": 2}),
    Blind("it goes to at_least when after is over", 300, 1, 3, [FALLBACK]),
    Blind("it goes to at_least from 0 workers", 300, 0, 3, [FALLBACK]),
    Blind("at_least is no reason to remove a worker", 300, 4, 4, [FALLBACK]),
    Blind("at_least changes nothing where it runs already", 300, 3, 3, [FALLBACK]),
    Blind("the cooldown of the last scale-up is waited for", 300, 1, 1, [FALLBACK, UP], history(up=29)),
    Blind("when the cooldown is over it goes to at_least", 300, 1, 3, [FALLBACK], history(up=30)),
    Blind("the last scale-down is not waited for", 300, 1, 3, [FALLBACK], history(down=1)),
    Blind("without any history it goes to at_least at once", 300, 1, 3, [FALLBACK], history(since=None)),
    Blind("a step limits the way to at_least", 300, 0, 2, [FALLBACK, STEP], history(), {"scale_up": {"max_step": 2}}),
    Blind("a count above max is left alone: its work is unknown", 300, 9, 9, [FALLBACK]),
    Blind(
        *("fewer than min is corrected, whatever the cooldown says", 300, 0, 1, [FALLBACK, UP, Reason.MINIMUM]),
        *(history(up=1), {"min_replicas": 1}),
    ),
    Blind(
        *("fewer than min is corrected, whatever the step says", 300, 0, 2, [FALLBACK, STEP, Reason.MINIMUM]),
        *(history(), {"min_replicas": 2, "scale_up": {"max_step": 1}}),
    ),
    Blind("one request left lets workers be added", 300, 1, 3, [FALLBACK], rate=RateUsage(59, 60)),
    Blind("no request left adds no worker", 300, 1, 1, [FALLBACK, RATE], rate=RateUsage(60, 60)),
    Blind("requests unknown adds no worker", 300, 1, 1, [FALLBACK, UNREAD], rate=RateUnread("Redis: holds rubbish")),
    Blind(
        *("a cooldown is the reason before the rate limit is", 300, 1, 1, [FALLBACK, UP]),
        *(
            history(up=1),
            {},
            RateUsage(60, 60),
        ),
    ),
    Blind(
        *("fewer than min is corrected, however many requests are used", 300, 0, 1, [FALLBACK, RATE, Reason.MINIMUM]),
        *(history(), {"min_replicas": 1}, RateUsage(60, 60)),
    ),
    Blind(
        *("fewer than min is corrected, requests unknown", 300, 0, 1, [FALLBACK, UNREAD, Reason.MINIMUM]),
        *(history(), {"min_replicas": 1}, RateUnread("Redis: holds rubbish")),
    ),
    Blind(
        *("how many are busy is unknown, and no worker is removed", 300, 4, 4, [FALLBACK]),
        *(history(), {"jobs_per_worker": 1}),
    ),
]


@pytest.mark.parametrize("case", BLIND_TABLE, ids=lambda case: f"queue unread: {case.title}")
def test_the_table_of_what_is_done_without_a_reading(case: Blind) -> None:
    changes = {"on_unavailable": {"after": "5m", "at_least": 3}, **case.policy}
    replicas = observed(0, case.configured).replicas
    decision = fall_back(policy(**changes), replicas, case.history, NOW, unread_for_s=case.unread_for_s, rate=case.rate)
    if case.desired is None:
        assert decision is None
    else:
        assert decision is not None
        recommended = 2 if case.reasons == [BELOW] else 3
        assert (decision.desired, list(decision.reasons), decision.recommended) == (
            case.desired,
            case.reasons,
            recommended,
        )


@pytest.mark.parametrize(
    ("unread_for_s", "limits", "reasons"),
    [
        (300.0, {"largest": WITH_A_VOLUME}, [Reason.FALLBACK, Reason.VOLUME]),
        (300.0, {"smallest": regions(4)}, [Reason.FALLBACK, Reason.REGIONS]),
        (0.0, {"largest": WITH_A_VOLUME}, [Reason.BELOW_MINIMUM, Reason.VOLUME]),
        (0.0, {"smallest": regions(4)}, [Reason.BELOW_MINIMUM, Reason.REGIONS]),
    ],
    ids=[
        "at_least, of a service with a volume",
        "at_least, of a service in four regions",
        "min, of a service with a volume",
        "min, of a service in four regions",
    ],
)
def test_without_a_reading_nothing_is_asked_for_that_the_platform_cannot_do(
    unread_for_s: float, limits: dict[str, PlatformLimit], reasons: list[Reason]
) -> None:
    blind = policy(min_replicas=2, on_unavailable={"after": "5m", "at_least": 3})
    replicas = replace(observed(0, 0).replicas, smallest=limits.get("smallest"), largest=limits.get("largest"))
    decision = fall_back(blind, replicas, history(), NOW, unread_for_s=unread_for_s, rate=None)
    assert decision is not None
    assert (decision.desired, list(decision.reasons)) == (next(iter(limits.values())).count, reasons)


def test_a_change_without_a_reading_says_so_in_a_sentence() -> None:
    blind = policy(on_unavailable={"after": "5m", "at_least": 3})
    decision = fall_back(blind, observed(0, 1).replicas, history(), NOW, unread_for_s=360.2, rate=None)
    assert decision is not None
    assert decision.sentence == "the queue could not be read for 6 min 1 s, so at least 3 workers: 1 → 3"


def test_the_current_count_is_the_configured_one_so_that_starting_workers_are_not_ordered_twice() -> None:
    decision = decide(policy(), observed(1000, 5, running=0), history(), NOW)
    assert not decision.changes_something


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (
            decide(policy(), observed(15, 1, processing=5), history(), NOW),
            "15 jobs (10 pending, 5 processing) want 2 workers: 1 → 2",
        ),
        (
            decide(policy(), observed(8, 3), history(down=46), NOW),
            "hold at 3: 8 jobs (8 pending, 0 processing) want 1 worker, scale-down cools down for 1 min 14 s more",
        ),
        (decide(policy(), observed(0, 0), history(), NOW), "hold at 0: 0 jobs want 0 workers"),
        (
            decide(policy(min_replicas=2), observed(0, 1), history(), NOW),
            "1 worker where min_replicas is 2: 1 → 2",
        ),
        (
            decide(policy(jobs_per_worker=5), observed(9, 4, processing=9), history(), NOW),
            (
                "9 jobs (0 pending, 9 processing) want 1 worker, 9 jobs are in progress, up to 5 per worker, "
                "so at least 2 workers: 4 → 2"
            ),
        ),
        (
            decide(policy(jobs_per_worker=5), beyond_counting(4, limit=10), history(), NOW),
            (
                "hold at 4: 10+ jobs (0 pending, 10+ processing) want 1 worker, 10+ jobs are in progress, up to 5 "
                "per worker, so no worker can be removed"
            ),
        ),
        (
            decide(policy(jobs_per_worker=1, tiers=[{"replicas": 0}]), observed(1, 1, processing=1), history(), NOW),
            (
                "hold at 1: 1 job (0 pending, 1 processing) wants 0 workers, 1 job is in progress, up to 1 per "
                "worker, so no worker can be removed"
            ),
        ),
        (
            decide(policy(), observed(15, 1, rate=RateUsage(60, 60)), history(), NOW),
            (
                "hold at 1: 15 jobs (15 pending, 0 processing) want 2 workers, 60 of 60 requests are used in this "
                "minute, so more workers could not go faster"
            ),
        ),
        (
            decide(policy(), observed(15, 1, rate=RateUnread("Redis: k holds no number; count it")), history(), NOW),
            (
                "hold at 1: 15 jobs (15 pending, 0 processing) want 2 workers, the number of requests used in this "
                "minute is unknown, so no worker is added: Redis: k holds no number; count it"
            ),
        ),
    ],
    ids=[
        *("the words of a change", "the words of a cooldown", "the words of no change", "the words of a correction"),
        *("the words of busy workers", "the words of more busy jobs than were counted", "the words of all busy"),
        *("the words of a used-up rate limit", "the words of an unread rate limit"),
    ],
)
def test_the_sentence_says_what_a_person_can_act_on(decision: Decision, sentence: str) -> None:
    assert decision.sentence == sentence


def test_the_trail_ends_where_the_decision_does_and_shows_what_each_rule_said() -> None:
    arguments = (policy(max_replicas=3), observed(1000, 1), history(up=5), NOW)
    steps = trail(*arguments)
    assert steps[-1].desired == decide(*arguments).desired
    assert [(step.rule, step.desired) for step in steps if step.because] == [
        ("tier or target wait", 5),
        ("cooldown", 1),
    ]


def test_the_trail_shows_whom_the_work_keeps_and_whom_the_rate_limit_keeps_away() -> None:
    going = trail(policy(jobs_per_worker=5), observed(9, 4, processing=9), history(), NOW)
    coming = trail(policy(), observed(15, 1, rate=RateUsage(60, 60)), history(), NOW)
    said = [[(step.rule, step.desired) for step in steps if step.because] for steps in (going, coming)]
    assert said == [
        [("tier or target wait", 1), ("busy workers", 2)],
        [("tier or target wait", 2), ("rate limit", 1)],
    ]
    assert [step.rule for step in going] == [
        "correction to min and max",
        "tier or target wait",
        "busy workers",
        "stabilization window",
        "cooldown",
        "rate limit",
        "step limit",
        "min and max",
        "limits of the platform",
    ]


def test_the_trail_of_a_count_below_min_shows_how_far_beyond_min_it_goes() -> None:
    steps = trail(policy(min_replicas=3, scale_up={"max_step": 4}), observed(200, 0), history(up=1), NOW)
    assert [(step.rule, step.desired) for step in steps if step.because] == [
        ("correction to min and max", 3),
        ("tier or target wait", 5),
        ("step limit", 4),
    ]
    assert [step.rule for step in steps[2:]] == ["rate limit", "step limit", "min and max", "limits of the platform"]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_says_what_it_means_and_what_to_do_about_it(reason: Reason) -> None:
    meaning, fix = REASONS[reason]
    assert meaning
    assert fix


# --- properties -------------------------------------------------------------------------------------------------------


@st.composite
def policies(draw: st.DrawFn) -> WorkerPolicy:
    bounds = sorted(draw(st.sets(st.integers(0, 200), max_size=5)))
    counts = sorted(draw(st.lists(st.integers(0, 8), min_size=len(bounds) + 1, max_size=len(bounds) + 1)))
    tiers: list[dict[str, int]] = [
        {"up_to": up_to, "replicas": count} for up_to, count in zip(bounds, counts, strict=False)
    ]
    fields = draw(limits(8))
    maximum, minimum = fields["max_replicas"], fields["min_replicas"]
    least = draw(st.none() | st.integers(max(1, minimum), maximum)) if maximum else None
    return policy(
        on_unavailable=None if least is None else {"after": f"{draw(st.integers(1, 600))}s", "at_least": least},
        tiers=[*tiers, {"replicas": counts[-1]}],
        **fields,
    )


@settings(max_examples=examples(5, 400))
@given(policies(), st.integers(0, 2**32))
def test_every_rule_holds_over_random_days(policy: WorkerPolicy, seed: int) -> None:
    """A day in one-minute cycles: bursts, lulls, lost readings, used-up minutes, restarts of only the process."""
    dice = Random(seed)
    interval, count, now = 60.0, dice.randint(0, 10), NOW
    past = History(since=None)
    depth = 0
    for _ in range(1440):
        now += interval
        depth = next_depth(depth, dice)
        if dice.random() < 0.02:
            continue  # a lost reading: nothing is recorded and nothing is decided
        past = remembered(past, policy, recommend(policy, QueueDepth(depth, 0)), now, 3 * interval)
        seen = observed(depth, count, processing=min(depth, dice.choice([0, 3, depth])), rate=any_rate(dice))
        decision = decide(policy, seen, past, now)
        check(policy, seen, decision, past, now)
        if decision.direction is Direction.UP:
            past = stamped(past, last_up=now)
        elif decision.direction is Direction.DOWN:
            past = stamped(past, last_down=now)
        count = decision.desired


def any_rate(dice: Random) -> Rate:
    return dice.choice(
        [None, RateUsage(dice.randint(0, 60), 60), RateUsage(dice.randint(60, 90), 60), RateUnread("no")]
    )


def next_depth(depth: int, dice: Random) -> int:
    if dice.random() < 0.02:
        return dice.choice([0, 0, 1, dice.randint(0, 500)])
    return max(0, depth + dice.randint(-6, 5))


def remembered(past: History, policy: WorkerPolicy, recommended: int, now: float, gap: float) -> History:
    window = kept_window(policy)
    kept = tuple(one for one in past.recommendations if one.at >= now - window - gap)
    broken = not kept or now - kept[-1].at > gap
    return replace(
        past,
        since=past.since if past.since is not None else now,
        unbroken_since=now if broken else past.unbroken_since,
        recommendations=(*kept, Recommendation(now, recommended)),
    )


def stamped(past: History, *, last_up: float | None = None, last_down: float | None = None) -> History:
    return replace(past, last_up=last_up or past.last_up, last_down=last_down or past.last_down)


def check(policy: WorkerPolicy, seen: Observation, decision: Decision, past: History, now: float) -> None:
    assert policy.min_replicas <= decision.desired <= policy.max_replicas
    assert decision.reasons
    out_of_range = not policy.min_replicas <= decision.current <= policy.max_replicas
    if not decision.changes_something or out_of_range:
        return
    ups = [at for at in (past.last_up,) if at is not None]
    downs = [at for at in (past.last_up, past.last_down, past.since) if at is not None]
    if decision.direction is Direction.UP:
        assert all(now - at >= policy.scale_up.cooldown for at in ups)
        assert decision.desired <= max(decision.recommended, policy.min_replicas)
        assert seen.rate is None or (isinstance(seen.rate, RateUsage) and seen.rate.used < seen.rate.limit)
    else:
        each = policy.jobs_per_worker if policy.target_wait is None else policy.concurrency
        assert each is None or decision.desired * each >= min(seen.queue.processing, policy.max_replicas * each)
        assert all(now - at >= policy.scale_down.cooldown for at in downs)
        assert decision.desired >= min(decision.current, decision.recommended, policy.max_replicas)
        window = windows(policy, past, seen.service)
        for worker in range(decision.desired + 1, decision.current + 1):
            if window(worker):
                since = now - window(worker)
                assert past.unbroken_since is not None
                assert past.unbroken_since <= since
                assert all(one.replicas < worker for one in past.recommendations if one.at >= since)


@given(policies(), st.integers(0, 300), st.integers(0, 9), st.integers(-100, 900), st.integers(-100, 900))
def test_the_same_inputs_give_the_same_decision(
    policy: WorkerPolicy, depth: int, count: int, up: int, down: int
) -> None:
    past = history(up=up, down=down)
    assert decide(policy, observed(depth, count), past, NOW) == decide(policy, observed(depth, count), past, NOW)


RATES = (
    st.none()
    | st.builds(RateUsage, used=st.integers(0, 120), limit=st.just(60))
    | st.builds(RateUnread, why=st.just("Redis: holds rubbish"))
)


@given(policies(), st.integers(0, 300), st.integers(0, 9), st.integers(-100, 900), RATES)
def test_a_rate_that_is_used_up_or_unread_lets_all_go_down_and_none_come_but_by_a_correction(
    policy: WorkerPolicy, depth: int, count: int, ago: int, rate: Rate
) -> None:
    seen = observed(depth, count, rate=rate)
    free = decide(policy, replace(seen, rate=None), history(up=ago, down=ago), NOW)
    decision = decide(policy, seen, history(up=ago, down=ago), NOW)
    open_still = rate is None or (isinstance(rate, RateUsage) and rate.used < rate.limit)
    corrected = count < policy.min_replicas
    if free.direction is Direction.UP and not open_still:
        assert decision.desired == (policy.min_replicas if corrected else count)
    else:
        assert decision.desired == free.desired


@given(policies(), st.integers(0, 300), st.integers(0, 300), st.integers(0, 9), st.integers(-100, 900))
def test_who_is_busy_only_ever_keeps_workers_and_never_adds_one(
    policy: WorkerPolicy, depth: int, processing: int, count: int, ago: int
) -> None:
    seen = observed(depth, count, processing=min(depth, processing))
    careless = decide(policy.model_copy(update={"jobs_per_worker": None}), seen, history(up=ago, down=ago), NOW)
    decision = decide(policy, seen, history(up=ago, down=ago), NOW)
    assert careless.desired <= decision.desired <= max(count, careless.desired)
    if count > policy.max_replicas:
        assert decision == careless


@given(policies(), st.integers(0, 12), st.integers(-100, 900), st.integers(-100, 900), st.integers(0, 900), RATES)
def test_without_a_reading_none_is_removed_and_none_is_added_too_many_or_too_soon(  # noqa: PLR0917  # what is drawn
    policy: WorkerPolicy, count: int, up: int, down: int, unread: int, rate: Rate
) -> None:
    past = history(up=up, down=down)
    decision = fall_back(policy, observed(0, count).replicas, past, NOW, unread_for_s=unread, rate=rate)
    wish = policy.on_unavailable
    waits = wish is None or unread < wish.after
    assert (decision is None) == (waits and count >= policy.min_replicas)
    if decision is None:
        return
    if waits or wish is None:
        assert (decision.desired, decision.reasons) == (policy.min_replicas, (Reason.BELOW_MINIMUM,))
        return
    assert decision.reasons[0] is Reason.FALLBACK
    assert count <= decision.desired <= max(count, policy.max_replicas)
    if decision.changes_something and count >= policy.min_replicas:
        assert decision.desired <= wish.at_least
        assert cooldowns_left(policy, past, NOW)[0] == 0
        assert rate is None or (isinstance(rate, RateUsage) and rate.used < rate.limit)
        assert decision.desired - count <= (policy.scale_up.max_step or decision.desired)


@pytest.mark.parametrize(
    ("depth", "configured", "smallest", "largest", "maximum", "desired", "reason"),
    [
        (5, 2, 2, None, 5, 2, Reason.REGIONS),  # one is wanted, and each of two regions keeps one
        (5, 3, 2, None, 5, 2, Reason.REGIONS),
        (5, 0, 2, None, 5, 2, Reason.REGIONS),
        (0, 2, 2, None, 5, 0, Reason.TIER),  # zero is a stop
        (5, 0, 2, None, 1, 2, Reason.REGIONS),  # a maximum below the regions: the nearest count
        (5, 2, 2, None, 1, 2, Reason.REGIONS),
        (50, 0, 3, None, 2, 3, Reason.REGIONS),
        (50, 9, 3, None, 2, 3, Reason.REGIONS),
        (5, 9, 3, None, 2, 3, Reason.REGIONS),
        (0, 9, 3, None, 2, 3, Reason.REGIONS),
        (50, 3, 3, None, 2, 3, Reason.REGIONS),
        (0, 3, 3, None, 2, 0, Reason.TIER),  # zero can be had
        (50, 9, 3, None, 0, 0, Reason.ABOVE_MAXIMUM),
        (50, 9, 3, None, 3, 3, Reason.ABOVE_MAXIMUM),
        (50, 9, 3, None, 4, 4, Reason.ABOVE_MAXIMUM),
        (5, 2, 3, None, 5, 2, Reason.REGIONS),  # more regions than replicas, until it is deployed: none can go
        (50, 2, 3, None, 3, 3, Reason.TIER),
        (50, 1, 3, None, 2, 3, Reason.REGIONS),
        (50, 1, 1, 1, 5, 1, Reason.VOLUME),
        (50, 0, 1, 1, 5, 1, Reason.VOLUME),
        (5, 0, 1, 1, 5, 1, Reason.TIER),
    ],
)
def test_nothing_is_decided_that_the_platform_cannot_be_asked_for(  # noqa: PLR0917  # a table
    depth: int, configured: int, smallest: int, largest: int | None, maximum: int, desired: int, reason: Reason
) -> None:
    seen = observed(depth, configured)
    seen = replace(
        seen, replicas=replace(seen.replicas, smallest=regions(smallest), largest=WITH_A_VOLUME if largest else None)
    )
    tiers = [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"replicas": maximum}]
    decision = decide(policy(max_replicas=maximum, tiers=tiers), seen, history(), NOW)
    assert (decision.desired, decision.reason) == (desired, reason)


@pytest.mark.parametrize(
    ("configured", "smallest", "step", "desired", "reasons"),
    [
        (5, 3, 2, 3, [TIER, Reason.SCALE_DOWN_STEP]),
        (4, 3, 2, 3, [TIER, Reason.SCALE_DOWN_STEP, Reason.REGIONS]),
        (3, 3, 2, 0, [TIER]),
        (2, 2, 1, 0, [TIER]),
        (2, 3, 1, 0, [TIER]),
    ],
    ids=[
        "a step that ends at the smallest",
        "a step that would end below the smallest",
        "from the smallest to 0",
        "from two regions to 0",
        "from fewer than the regions, until they are deployed",
    ],
)
def test_a_step_shorter_than_the_smallest_count_keeps_no_idle_service_from_zero(
    configured: int, smallest: int, step: int, desired: int, reasons: list[Reason]
) -> None:
    """Between one worker in each region and 0 there is no count, so a step between them could never be taken."""
    seen = observed(0, configured)
    seen = replace(seen, replicas=replace(seen.replicas, smallest=regions(smallest)))
    decision = decide(policy(scale_down={"max_step": step}), seen, history(), NOW)
    assert (decision.desired, list(decision.reasons)) == (desired, reasons)


@pytest.mark.parametrize(
    ("configured", "minimum", "maximum", "smallest", "desired", "reason"),
    [
        (0, 1, 5, 3, 3, Reason.REGIONS),
        (0, 3, 5, 3, 3, Reason.BELOW_MINIMUM),
        (0, 4, 5, 3, 4, Reason.BELOW_MINIMUM),
        (0, 1, 1, 3, 3, Reason.REGIONS),
        (3, 1, 2, 3, 3, Reason.REGIONS),
        (9, 1, 2, 3, 3, Reason.REGIONS),
        (9, 2, 2, 3, 3, Reason.REGIONS),
        (2, 3, 5, 4, 4, Reason.REGIONS),
    ],
)
def test_a_minimum_is_kept_by_the_nearest_count_that_the_regions_allow(  # noqa: PLR0917  # a table
    configured: int, minimum: int, maximum: int, smallest: int, desired: int, reason: Reason
) -> None:
    seen = observed(0, configured)
    seen = replace(seen, replicas=replace(seen.replicas, smallest=regions(smallest)))
    tiers = [{"up_to": 0, "replicas": minimum}, {"replicas": maximum}]
    decision = decide(policy(min_replicas=minimum, max_replicas=maximum, tiers=tiers), seen, history(), NOW)
    assert (decision.desired, decision.reason) == (desired, reason)


def test_a_maximum_below_the_number_of_regions_names_both_ways_out() -> None:
    seen = observed(50, 9)
    seen = replace(seen, replicas=replace(seen.replicas, smallest=regions(3)))
    tiers = [{"up_to": 0, "replicas": 0}, {"replicas": 2}]
    assert decide(policy(max_replicas=2, tiers=tiers), seen, history(), NOW).sentence == (
        "9 workers where max_replicas is 2, the service is configured for 3 regions, at least 1 worker in each, and "
        "max_replicas is 2: raise max_replicas to 3, or remove a region from the service: 9 → 3"
    )


@given(policies(), st.integers(0, 300), st.integers(0, 9), st.integers(2, 4))
def test_regions_never_let_a_count_be_asked_for_that_leaves_one_without_a_worker(
    policy: WorkerPolicy, depth: int, count: int, smallest: int
) -> None:
    seen = observed(depth, count)
    seen = replace(seen, replicas=replace(seen.replicas, smallest=regions(smallest)))
    decision = decide(policy, seen, history(), NOW)
    assert not decision.changes_something or decision.desired == 0 or decision.desired >= smallest
    assert decision.desired <= max(policy.max_replicas, smallest, count)


@pytest.mark.parametrize(("at_least", "smallest", "desired"), [(1, 3, 3), (3, 3, 3), (4, 3, 4)])
def test_falling_back_goes_to_the_nearest_count_that_the_regions_allow(
    at_least: int, smallest: int, desired: int
) -> None:
    blind = policy(on_unavailable={"after": "60s", "at_least": at_least})
    replicas = replace(observed(0, 0).replicas, smallest=regions(smallest))
    decision = fall_back(blind, replicas, history(), NOW, unread_for_s=61, rate=None)
    assert decision is not None
    assert decision.desired == desired
