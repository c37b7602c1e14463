"""Replicas with different policies: the first correction comes at once, and from then on they keep the cooldowns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from controller.core.cap import Cap
from controller.core.history import Known, Loss, given_back, settled, with_external_change
from controller.core.model import Change, Decision, History, Observation, QueueDepth, Replicas, ServiceState
from controller.core.override import Kind, Override, Overrides
from controller.core.plan import plan
from controller.core.ports import Settled
from controller.core.reasons import Because, Reason
from controller.core.rules import decide, fall_back, trail
from controller.policy import WorkerPolicy
from tests.core.test_plan import DATA, NOW, ONE, seen

UP, DOWN = Reason.SCALE_UP_COOLDOWN, Reason.SCALE_DOWN_COOLDOWN
OTHERS = "7..9"
NIGHT = {"cron": "0 0 * * *", "for": "24h", "timezone": "UTC"}


def worker(**more: Any) -> WorkerPolicy:
    return WorkerPolicy.model_validate({**DATA, **more})


BY_NIGHT = worker(max_replicas=2, schedules=[NIGHT | {"min_replicas": 1}])


@dataclass(frozen=True)
class Case:
    """`count` workers, which were asked for within the limits `by`, `ago` seconds ago; 1 job wants 1 worker."""

    count: int
    desired: int
    reason: Reason
    policy: WorkerPolicy = worker(min_replicas=1, max_replicas=2)  # noqa: RUF009  # it is frozen
    by: str = f"{OTHERS} after 1..2"
    ago: float = 29.0
    caps: tuple[Cap, ...] = ()
    override: Override | None = None

    @property
    def history(self) -> History:
        overrides = Overrides() if self.override is None else Overrides(NOW - 1, (self.override,))
        at = NOW - self.ago
        return History(at, at, 0.0, scaled_within=self.by, count=self.count, overrides=overrides)

    @property
    def decision(self) -> Decision:
        return decide(self.policy, Observation(ONE, shown(self.count), caps=self.caps), self.history, NOW)


def shown(count: int) -> Replicas:
    return Replicas(count, count, count, ServiceState.RUNNING)


CASES = {
    "above max: the cooldown of scale-down comes first": Case(4, 4, DOWN),
    "below min: the cooldown of scale-up comes first": Case(0, 0, UP),
    "above max, after the cooldown": Case(4, 2, Reason.ABOVE_MAXIMUM, ago=120.0),
    "below min, after the cooldown": Case(0, 1, Reason.BELOW_MINIMUM, ago=30.0),
    "above max, asked for by a policy with the same limits: at once": Case(4, 2, Reason.ABOVE_MAXIMUM, by="1..2"),
    "above max, and no policy is known to have asked for it: at once": Case(4, 2, Reason.ABOVE_MAXIMUM, by=""),
    "an edited policy corrects at once what the one before asked for": Case(4, 2, Reason.ABOVE_MAXIMUM, by=OTHERS),
    "one that is edited again corrects at once, too": Case(4, 2, Reason.ABOVE_MAXIMUM, by=f"{OTHERS} after 0..5"),
    "a raised min comes at once": Case(0, 1, Reason.BELOW_MINIMUM, by=OTHERS),
    "the other policy has another schedule": Case(4, 4, DOWN, BY_NIGHT, by=f"0..2 after {BY_NIGHT.limits}"),
    "an operator's floor comes at once": Case(
        0, 2, Reason.AT_LEAST, override=Override("o1", Kind.AT_LEAST, "ann", NOW - 1, NOW + 60, replicas=2)
    ),
    "a count that an operator holds comes at once": Case(
        4, 2, Reason.HELD, override=Override("o1", Kind.HOLD, "ann", NOW - 1, NOW + 60, replicas=2)
    ),
    "an overrun budget ends at once": Case(
        4, 1, Reason.OVER_BUDGET, caps=(Cap(1, Because(Reason.OVER_BUDGET, "all is spent"), is_hard=True),)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_count_outside_min_and_max_that_another_policy_asked_for(case: Case) -> None:
    assert (case.decision.desired, case.decision.reason) == (case.desired, case.reason)


def test_the_reason_says_that_another_policy_asked_for_it_and_how_long_it_stays() -> None:
    words = "a policy with another min or max asked for 4 workers, so scale-down cools down for 1 min 31 s more"
    case = CASES["above max: the cooldown of scale-down comes first"]
    assert case.decision.because[-1].words == words
    steps = trail(case.policy, Observation(ONE, shown(4)), case.history, NOW)
    assert [one.rule for one in steps] == ["correction to min and max", "cooldown"]


@pytest.mark.parametrize(("ago", "desired"), [(29.0, None), (30.0, 1)])
@pytest.mark.parametrize("unread_for_s", [0.0, 100.0])
def test_without_a_reading_of_the_queue_the_correction_to_min_waits_as_well(
    ago: float, desired: int | None, unread_for_s: float
) -> None:
    policy = worker(min_replicas=1, max_replicas=2, on_unavailable={"after": "60s", "at_least": 1})
    history = replace(CASES["below min: the cooldown of scale-up comes first"].history, last_up=NOW - ago)
    decision = fall_back(policy, shown(0), history, NOW, unread_for_s=unread_for_s, rate=None)
    assert decision is not None
    assert (decision.desired if decision.changes_something else None) == desired


def test_each_change_says_by_which_limits_it_was_made_until_somebody_else_changes_the_count() -> None:
    planned = plan(seen(QueueDepth(40, 5), shown(2), History(since=0.0, count=2, scaled_within=OTHERS))).history
    assert planned.change is not None
    assert planned.scaled_within == OTHERS
    for outcome in Settled:
        after = settled(planned, planned.change, outcome, 4, NOW)
        assert after.scaled_within == (f"0..4 after {OTHERS}" if outcome is Settled.APPLIED else OTHERS)
        assert with_external_change(after, 3, NOW).scaled_within == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "0..4"),
        ("0..4", "0..4"),
        ("1..2", "0..4 after 1..2"),
        ("1..2 after 0..4", "0..4 after 1..2"),
        ("0..4 after 1..2", "0..4 after 1..2"),
        ("1..2 after 3..5", "0..4 after 1..2"),
    ],
)
def test_the_record_keeps_the_last_two_different_limits(before: str, after: str) -> None:
    change = Change("c", 1, 2, 4, NOW, within="0..4")
    history = History(since=0.0, count=2, change=change, scaled_within=before)
    assert settled(history, change, Settled.APPLIED, 4, NOW).scaled_within == after


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("leads", [True, False])
def test_a_record_that_lost_its_count_gets_the_limits_back_with_it(loss: Loss, *, leads: bool) -> None:
    known = Known(count=4, scaled_within=OTHERS)
    is_lost = loss in {Loss.EMPTIED, Loss.ROLLED_BACK}
    given = given_back(History(), known, loss, NOW, leads=leads)
    assert (given.count, given.scaled_within) == ((4, OTHERS) if is_lost else (None, ""))


def test_two_policies_have_the_same_limits_only_with_the_same_min_max_and_schedules() -> None:
    by_night = worker(schedules=[NIGHT | {"min_replicas": 1}])
    assert worker().limits == worker(scale_up={"cooldown": "1s"}).limits == "0..4"
    assert len({worker().limits, worker(min_replicas=1).limits, worker(max_replicas=3).limits, by_night.limits}) == 4
    assert by_night.limits == worker(schedules=[NIGHT | {"min_replicas": 1}]).limits
