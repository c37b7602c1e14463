"""A pool: how its total is shared out, and that its workers never take more than it has."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.model import Change, History, QueueDepth, Replicas, ServiceState
from controller.core.plan import Seen, plan
from controller.core.pools import Member, Pool, counted_now, share_of, share_out
from controller.core.ports import Retention
from controller.core.reasons import Reason
from controller.policy import WorkerPolicy
from tests.support.sources import SOURCES

NOW = 1e9


def member(worker: str, wants: int, *, counted: int = 0, priority: int = 0, least: int = 0) -> Member:
    return Member(worker, priority, counted, wants, least)


@pytest.mark.parametrize(
    ("members", "shares"),
    [
        ((member("a", 3), member("b", 4)), {"a": 3, "b": 4}),
        ((member("a", 9), member("b", 9)), {"a": 5, "b": 5}),
        ((member("a", 2), member("b", 9)), {"a": 2, "b": 8}),
        ((member("a", 9), member("b", 9), member("c", 9)), {"a": 4, "b": 3, "c": 3}),
        ((member("a", 9, priority=1), member("b", 9)), {"a": 9, "b": 1}),
        ((member("a", 20, priority=1), member("b", 9, least=2)), {"a": 8, "b": 2}),
        ((member("a", 20), member("b", 9, least=8)), {"a": 2, "b": 8}),
        ((member("a", 1, counted=6), member("b", 6)), {"a": 4, "b": 6}),
        ((member("a", 1, counted=6), member("b", 20)), {"a": 1, "b": 9}),
    ],
    ids=[
        "all get what they want where it is enough",
        "equals share what is not enough for both",
        "of equals, one that wants less leaves the rest to the other",
        "what does not divide goes to the first by name",
        "the higher priority comes first",
        "the minimum of a lower priority comes before the wishes of a higher one",
        "a minimum above the fair share stays",
        "what no other wants is kept",
        "what another wants is not kept",
    ],
)
def test_how_a_total_of_10_is_shared_out(members: tuple[Member, ...], shares: dict[str, int]) -> None:
    assert share_out(10, members) == shares


MEMBERS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=5
)


def named(drawn: list[tuple[int, int, int, int]]) -> list[Member]:
    return [Member(str(place), one[0], one[1], max(one[2], one[3]), one[3]) for place, one in enumerate(drawn)]


@given(drawn=MEMBERS, limit=st.integers(15, 40))
def test_shares_keep_the_minimums_and_the_total_and_leave_no_wish_open_beside_free_room(
    drawn: list[tuple[int, int, int, int]], limit: int
) -> None:
    members = named(drawn)
    shares = share_out(limit, members)
    assert sum(shares.values()) <= limit
    for one in members:
        assert one.least <= shares[one.worker] <= max(one.wants, one.counted)
        assert shares[one.worker] >= one.wants or sum(shares.values()) == limit
    for one in members:
        for other in members:
            if one.priority > other.priority and shares[one.worker] < one.wants:
                assert shares[other.worker] <= other.least, "a lower one has more than its min"
            if one.priority == other.priority and shares[one.worker] < one.wants:
                assert shares[other.worker] <= max(shares[one.worker] + 1, other.least), "equals are unequal"


@given(drawn=MEMBERS, limit=st.integers(15, 40), data=st.data())
def test_however_the_wishes_change_the_sum_never_rises_above_the_total_and_what_is_wanted_is_reached(
    drawn: list[tuple[int, int, int, int]], limit: int, data: st.DataObject
) -> None:
    members = {one.worker: one._replace(counted=0) for one in named(drawn)}
    counted = dict.fromkeys(members, 0)

    def passed(worker: str, busy: int) -> None:
        """One pass: it goes up to its share, or down as far as its workers are not busy."""
        me = members[worker]
        others = tuple(one._replace(counted=counted[name]) for name, one in members.items() if name != worker)
        share = share_of(Pool("p", limit, me.priority, others), worker, counted[worker], me.wants, me.least)
        desired = min(max(me.wants, me.least), share.count)
        counted[worker] = max(desired, min(counted[worker], busy))

    for _ in range(data.draw(st.integers(0, 12))):
        name = data.draw(st.sampled_from(sorted(members)))
        members[name] = members[name]._replace(wants=max(members[name].least, data.draw(st.integers(0, 12))))
        before = sum(counted.values())
        passed(name, busy=data.draw(st.integers(0, 12)))
        assert sum(counted.values()) <= max(limit, before)
    for _ in range(2):
        for name in sorted(members):
            passed(name, busy=0)
    settled = share_out(limit, [one._replace(counted=counted[name]) for name, one in members.items()])
    assert all(counted[name] == min(settled[name], max(one.wants, one.least)) for name, one in members.items())


def test_a_change_that_may_still_show_counts_with_its_higher_count() -> None:
    change = Change("c", 1, 2, 5, NOW)
    assert [counted_now(2, change), counted_now(2, None), counted_now(7, change)] == [5, 2, 7]


def worker(**keys: Any) -> WorkerPolicy:
    data = {
        "service": "svc",
        "queue": {"table": "job"},
        "tiers": [{"up_to": 0, "replicas": 0}, {"replicas": 6}],
        "max_replicas": 6,
        "scale_down": {"cooldown": "0s"},
        "jobs_per_worker": 1,
    }
    return WorkerPolicy.model_validate({**data, **keys})


@pytest.mark.parametrize(
    ("count", "busy", "others", "desired", "reason"),
    [
        (0, 0, (member("b", 4, counted=4),), 6, Reason.TIER),
        (0, 0, (member("b", 8, counted=8),), 2, Reason.POOL),
        (0, 0, (member("b", 12, counted=10),), 0, Reason.POOL),
        (6, 0, (member("b", 9, counted=4, priority=1),), 1, Reason.POOL),
        (6, 6, (member("b", 9, counted=4, priority=1),), 6, Reason.TIER),
        (6, 3, (member("b", 9, counted=4, priority=1),), 3, Reason.POOL),
    ],
    ids=[
        "there is room",
        "it takes what is free, although its fair share is more",
        "nothing is free until the others give way",
        "it gives way to a higher priority that waits",
        "busy workers do not give way",
        "only idle workers give way",
    ],
)
def test_what_is_decided_in_a_pool_of_10(
    count: int, busy: int, others: tuple[Member, ...], desired: int, reason: Reason
) -> None:
    replicas = Replicas(count, count, count, ServiceState.RUNNING)
    history = History(since=NOW - 86_400)
    seen = Seen(
        worker(),
        QueueDepth(99, busy),
        replicas,
        history,
        NOW,
        SOURCES,
        Retention(0.0, 31.0),
        60.0,
        worker="a",
        pool=Pool("p", 10, 0, others),
    )
    decision = plan(seen).decision
    assert decision is not None
    assert (decision.desired, decision.because[-1].reason) == (desired, reason)
