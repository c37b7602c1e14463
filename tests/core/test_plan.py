"""plan(): which steps a pass takes, for what was read: one table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.model import Change, History, QueueDepth, RateUsage, Replicas, ServiceState, Shares
from controller.core.plan import Plan, Seen, plan
from controller.core.ports import Retention, Settled, Unavailable
from controller.core.reasons import Reason
from controller.core.steps import Fail, Hold, Note, RecordExternalChange, Send, Settle, Share, UpdateWatch
from controller.policy import WorkerPolicy
from tests.support.examples import examples
from tests.support.sources import POSTGRESQL, RAILWAY, SOURCES

NOW, BOUND = 10_000.0, 60.0
DATA: dict[str, Any] = {
    "service": "svc",
    "queue": {"table": "job"},
    "tiers": [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"replicas": 4}],
    "max_replicas": 4,
    "scale_up": {"cooldown": "30s"},
    "scale_down": {"cooldown": "120s"},
}
POLICY = WorkerPolicy.model_validate(DATA)
AT_LEAST_3 = WorkerPolicy.model_validate({**DATA, "min_replicas": 3})
LIMITED = WorkerPolicy.model_validate({**DATA, "rate_limit": {"rpm": 60}})
AWAY = Unavailable(POSTGRESQL, "is away")
GONE = Unavailable(RAILWAY, "is away")
KNOWN = History(since=0.0, count=2, queue_seen=POLICY.only_queue.identity)
RUNNING = Replicas(2, 2, 2, ServiceState.RUNNING, deployment="d1")
SHOWS_4, SHOWS_3 = replace(RUNNING, configured=4), replace(RUNNING, configured=3)
DOUBTFUL = QueueDepth(0, 0, unnamed="80 rows are 'queued'")
MANY, ONE, NONE = QueueDepth(40, 5), QueueDepth(1, 0), QueueDepth(0, 0)


def going(after: int, *, ago: float, accepted: bool = True, epoch: int = 7, stops: str | None = None) -> Change:
    at = NOW - ago
    return Change("c1", epoch, 2, after, at, accepted_at=at if accepted else None, stops=stops)


@dataclass(frozen=True)
class Case:
    """A pass and the kinds of its steps. events: their names, in order."""

    steps: tuple[type, ...]
    queue: QueueDepth | Unavailable = MANY
    replicas: Replicas | Unavailable = RUNNING
    history: History = KNOWN
    policy: WorkerPolicy = POLICY
    events: tuple[str, ...] = ()
    reason: Reason | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def planned(self) -> Plan:
        return plan(seen(self.queue, self.replicas, self.history, self.policy, **self.more))


def seen(
    queue: QueueDepth | Unavailable,
    replicas: Replicas | Unavailable,
    history: History,
    policy: WorkerPolicy = POLICY,
    **more: Any,
) -> Seen:
    given: dict[str, Any] = {
        "retention": Retention(0.0, 31.0),
        "landing_bound": BOUND,
        "epoch": 7,
        "ident": "new",
        "sources": SOURCES,
    }
    return Seen(policy=policy, queue=queue, replicas=replicas, history=history, now=NOW, **(given | more))


CASES: dict[str, Case] = {
    "more jobs than workers: a change is recorded and sent": Case((Note, UpdateWatch, Send)),
    "the count fits: nothing is sent": Case(
        (Note, UpdateWatch, Hold),
        queue=ONE,
        replicas=replace(RUNNING, configured=1, running=1),
        history=replace(KNOWN, count=1),
        reason=Reason.TIER,
    ),
    "in a cooldown: nothing is sent": Case(
        (Note, UpdateWatch, Hold), history=replace(KNOWN, last_up=NOW - 29), reason=Reason.SCALE_UP_COOLDOWN
    ),
    "an open change that is visible is closed, and the pass goes on": Case(
        (Note, Settle, UpdateWatch, Hold),
        replicas=SHOWS_4,
        history=replace(KNOWN, change=going(4, ago=9)),
        reason=Reason.TIER,
    ),
    "one of an earlier leader is closed with a word": Case(
        (Note, Settle, UpdateWatch, Hold),
        replicas=SHOWS_4,
        history=replace(KNOWN, change=going(4, ago=9, epoch=6)),
        events=("intent_settled",),
    ),
    "an open change that is not visible yet is waited for": Case(
        (Note, UpdateWatch, Hold), history=replace(KNOWN, change=going(4, ago=59)), reason=Reason.INTENT_OPEN
    ),
    "one that was not made within the landing bound is given up, and backed off from": Case(
        (Note, Settle, UpdateWatch, Hold),
        history=replace(KNOWN, change=going(4, ago=61), last_up=NOW - 61),
        events=("not_honoured",),
        reason=Reason.SCALE_UP_COOLDOWN,
    ),
    "a stop of workers that drain is waited for": Case(
        (Note, UpdateWatch, Hold),
        replicas=replace(RUNNING, draining_s=30.0),
        history=replace(KNOWN, change=going(0, ago=89, stops="d1")),
        reason=Reason.INTENT_OPEN,
    ),
    "a change that this process knows to be unsent is closed at once": Case(
        (Note, Settle, UpdateWatch, Send),
        history=replace(KNOWN, change=going(4, ago=1, accepted=False), last_up=NOW - 1),
        events=("intent_settled",),
        more={"unsent": frozenset({"c1"})},
    ),
    "a count that somebody changed starts the cooldowns": Case(
        (Note, UpdateWatch, RecordExternalChange, Hold),
        replicas=SHOWS_3,
        events=("external_change",),
        reason=Reason.SCALE_UP_COOLDOWN,
    ),
    "not while a change is open": Case(
        (Note, UpdateWatch, Hold),
        replicas=SHOWS_3,
        history=replace(KNOWN, change=going(4, ago=5)),
        reason=Reason.INTENT_OPEN,
    ),
    "the queue cannot be read: the count stays": Case((Note, UpdateWatch, Fail), queue=AWAY),
    "the platform cannot be read: the count stays": Case((Note, Fail), replicas=GONE),
    "neither can be read: nothing is noted": Case((Fail,), queue=AWAY, replicas=GONE),
    "below min_replicas while the queue cannot be read: corrected": Case(
        (Note, UpdateWatch, Send), queue=AWAY, policy=AT_LEAST_3
    ),
    "the same while a change is open: the count stays": Case(
        (Note, UpdateWatch, Fail), queue=AWAY, history=replace(KNOWN, change=going(4, ago=5)), policy=AT_LEAST_3
    ),
    "a doubtful depth of 0 counts as unreadable": Case(
        (Note, UpdateWatch, Fail), queue=DOUBTFUL, history=replace(KNOWN, queue_seen="")
    ),
    "it is believed where jobs were seen before": Case((Note, UpdateWatch, Send), queue=DOUBTFUL),
    "a platform that refused is not asked again at once": Case(
        (Note, UpdateWatch, Hold),
        history=replace(KNOWN, refused_at=NOW - 29, refused_to=4, setbacks=1),
        reason=Reason.BACKING_OFF,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pass_takes_these_steps(name: str) -> None:
    case = CASES[name]
    planned = case.planned
    assert tuple(type(step) for step in planned.steps) == case.steps
    assert tuple(event.name for event in planned.events) == case.events
    if case.reason is not None:
        because = planned.last.because if isinstance(planned.last, Hold) else ()
        decided = planned.decision.because if planned.decision else ()
        assert (because or decided)[-1].reason is case.reason


def test_a_change_is_in_the_history_that_is_written_before_it_is_sent() -> None:
    planned = CASES["more jobs than workers: a change is recorded and sent"].planned
    assert isinstance(planned.last, Send)
    change = planned.history.change
    assert change is not None
    assert (change.id, change.epoch, change.before, change.after) == ("new", 7, 2, 4)
    assert planned.history.last_up == NOW
    assert planned.decided_by.change is None, "the decision went by the history before it"


def test_a_stop_says_which_deployment_it_stops() -> None:
    planned = plan(seen(NONE, RUNNING, KNOWN))
    assert isinstance(planned.last, Send)
    assert planned.last.change.stops == "d1"


@pytest.mark.parametrize("outcome", ["unconfirmed", "confirmed"])
def test_a_stop_that_was_accepted_and_is_not_shown_is_unconfirmed_only_for_the_deployment_it_stopped(
    outcome: str,
) -> None:
    replicas = RUNNING if outcome == "unconfirmed" else replace(RUNNING, deployment="d2")
    planned = plan(seen(MANY, replicas, replace(KNOWN, change=going(0, ago=100, stops="d1"))))
    (settle,) = [step for step in planned.steps if isinstance(step, Settle)]
    assert settle.outcome is Settled.NOT_HONOURED
    assert settle.history.unconfirmed_stop == ("d1" if outcome == "unconfirmed" else None)


@pytest.mark.parametrize(
    ("published", "steps"),
    [
        pytest.param(Shares(60, 15, 4), (Note, UpdateWatch, Send), id="the workers read these shares already"),
        pytest.param(Shares(60, 30, 4), (Note, UpdateWatch, Share, Send), id="more workers need smaller shares first"),
        pytest.param(None, (Note, UpdateWatch, Share, Send), id="nothing is published"),
    ],
)
def test_shares_are_published_before_a_change_and_only_if_they_differ(
    published: Shares | None, steps: tuple[type, ...]
) -> None:
    rate = RateUsage(0, 60, published=published)
    planned = plan(seen(MANY, RUNNING, KNOWN, LIMITED, rate=rate))
    assert tuple(type(step) for step in planned.steps) == steps


def test_every_step_has_words_for_explain() -> None:
    said = {type(step): step.words for case in CASES.values() for step in case.planned.steps}
    assert said.keys() == {Note, Settle, UpdateWatch, RecordExternalChange, Hold, Fail, Send}
    assert [kind for kind, words in said.items() if not words] == [UpdateWatch], (
        "without a condition there is nothing to watch"
    )


counts = st.integers(0, 6)
ages = st.sampled_from([0.0, 5.0, 29.0, 31.0, 61.0, 121.0, 1000.0])


@settings(max_examples=examples(80, 2000), deadline=None)
@given(
    depth=st.integers(0, 60) | st.none(),
    configured=counts | st.none(),
    known=counts | st.none(),
    after=counts | st.none(),
    ago=ages,
    up=ages | st.none(),
    down=ages | st.none(),
)
def test_one_step_ends_a_pass_and_what_cannot_be_read_never_lowers_the_count(
    *,
    depth: int | None,
    configured: int | None,
    known: int | None,
    after: int | None,
    ago: float,
    up: float | None,
    down: float | None,
) -> None:
    change = None if after is None else replace(going(after, ago=ago), before=after + 1)
    history = History(since=0.0, count=known, change=change, queue_seen=POLICY.only_queue.identity)
    history = replace(history, last_up=None if up is None else NOW - up, last_down=None if down is None else NOW - down)
    replicas = GONE if configured is None else replace(RUNNING, configured=configured, running=configured)
    planned = plan(seen(AWAY if depth is None else QueueDepth(depth, 0), replicas, history))
    ends = [step for step in planned.steps if isinstance(step, Hold | Fail | Send)]
    assert ends == [planned.last]
    if isinstance(planned.last, Send):
        assert configured is not None
        assert planned.history.change == planned.last.change, "recorded before it is sent"
        assert depth is not None or planned.last.change.after > configured
    else:
        assert planned.history.change in (None, change), "no other change is recorded"
