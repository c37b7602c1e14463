"""What the workers of a period have cost, and how the highest count falls as the spend nears the amount. Pure.

Spend is worker-seconds times the price of a worker: that of its `worker_size`, or of the limits that the platform
reports for it, an upper bound. While neither is known, the spend is unknown, and the budget limits nothing.

A worker counts while the platform shows it as an instance that is not over: starting, running or draining. The time
between two looks is charged with the count of the first one, also where no controller looked: what ran then is unknown,
and unknown is not 0. How much of the spend was charged so is told beside it.

At 80, 90 and 100 % of the amount, the highest count falls by a third of the way from max_replicas to `at_budget`:

    max_replicas 5, at_budget 0    from 80 %: 4    from 90 %: 2    from 100 %: 0

A lowered max adds no worker, and removes those that are idle. Busy ones stay until they are idle, or until the spend
exceeds the amount by `overrun`; from then on what is above it is removed at once (rule 1), because workers with a
backlog are never idle, and a budget that waits for them would limit nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from controller.core.cap import Cap
from controller.core.price import Price
from controller.core.reasons import Because, Reason
from controller.core.units import iso, money, percent
from controller.policy import Budget, WorkerPolicy, zone_of

STEPS = (0.8, 0.9, 1.0)
"""Shares of the amount at which the highest count falls."""
_LIMITS, _REPLACED = "limits", "replaced"
OWN, ALL = "worker", "all"
"""Whose budget it is: that of one worker, or that of all workers together."""
_HOUR_S = 3600.0
_MOST_TALLIES = 4
_LARGEST = 1e15


class Period(NamedTuple):
    """In seconds since the epoch; it ends before `ends`."""

    begins: float
    ends: float

    @classmethod
    def of(cls, budget: Budget, now: float) -> Self:
        """The calendar's period that `now` is in, by the clock of the budget's time zone."""
        here = datetime.fromtimestamp(now, zone_of(budget.timezone))
        if budget.per == "hour":
            offset = here.utcoffset() or timedelta()
            begins = now - (now + offset.total_seconds()) % _HOUR_S
            return cls(begins, begins + _HOUR_S)
        day = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if budget.per == "day":
            return cls(day.timestamp(), (day + timedelta(days=1)).timestamp())
        if budget.per == "week":
            day -= timedelta(days=day.weekday())
            return cls(day.timestamp(), (day + timedelta(days=7)).timestamp())
        first = day.replace(day=1)
        return cls(first.timestamp(), (first + timedelta(days=32)).replace(day=1).timestamp())


class Tally(NamedTuple):
    """The worker-seconds of one period. since: from when on they are known; `begins`, if all of them are.

    unseen_s: those of them that were charged for a time in which the count was unknown.
    """

    begins: float
    since: float
    worker_s: float = 0.0
    unseen_s: float = 0.0

    @property
    def is_sound(self) -> bool:
        """A stored text may hold anything."""
        return all(math.isfinite(one) and 0 <= one < _LARGEST for one in self)


@dataclass(frozen=True, slots=True)
class Spent:
    """What one worker's service has used, as its record has it.

    at: when it was last charged. count: instances at that time. tallies: by kind of period, such as `month UTC`.
    told: by whose budget, the step that was last reported. limits: what the platform last reported that one worker may
    use at most; the price of a worker whose policy has no worker_size. replaced: by kind of period, the tally of the
    period before this one, or after a clock was set back, of the one after it. If the clock is set across the end of a
    period, that tally goes on, and not one from 0.
    """

    at: float
    count: int
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)
    limits: Price | None = None
    replaced: Mapping[str, Tally] = field(default_factory=dict)

    def as_text(self) -> str:
        """For the record."""
        # Beside what was told, where the version before leaves out what it does not know.
        beside: dict[str, Any] = dict(self.told)
        if self.limits is not None:
            beside[_LIMITS] = [self.limits.memory_gb, self.limits.cpu]
        if self.replaced:
            beside[_REPLACED] = _rounded(self.replaced)
        return json.dumps([round(self.at, 3), self.count, _rounded(self.tallies), beside], separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str | None) -> Self | None:
        """Of as_text(); None of "".

        Raises:
            ValueError, TypeError: it is no such text.
        """
        if not text:
            return None
        try:
            at, count, tallies, beside = json.loads(text)
            limits = _object(beside).get(_LIMITS)
            found = cls(
                float(at),
                _whole(count),
                _tallies(tallies),
                {key: _whole(step) for key, step in beside.items() if key in {OWN, ALL}},
                None if limits is None else Price(*map(float, limits[:2])),
                _tallies(beside.get(_REPLACED, {})),
            )
        except (OverflowError, RecursionError):
            raise ValueError("is no spend") from None
        figures = (found.at, *((found.limits.memory_gb, found.limits.cpu) if found.limits else ()))
        if not all(0 <= one < _LARGEST for one in figures):
            raise ValueError("is no spend")
        return found

    def tally_of(self, key: str, begins: float) -> Tally | None:
        """Of the period that begins then; the last one, if none is known of it."""
        last, replaced = self.tallies.get(key), self.replaced.get(key)
        return replaced if replaced is not None and replaced.begins == begins else last

    def not_after(self, now: float) -> Self:
        """After a clock was set back: without this, nothing is charged until it has caught up.

        What was spent in a period that has not begun yet says nothing of the one that it is now; it waits for its time.
        """
        tallies, replaced = dict(self.tallies), dict(self.replaced)
        for key, tally in self.tallies.items():
            if tally.begins > now:
                del tallies[key]
                before = replaced.get(key)
                replaced[key] = tally
                if before is not None and before.begins <= now:
                    tallies[key] = before
        tallies = {key: one._replace(since=min(one.since, now)) for key, one in tallies.items()}
        if self.at <= now and tallies == self.tallies:
            return self
        return replace(self, at=min(self.at, now), tallies=tallies, replaced=replaced)


def _rounded(tallies: Mapping[str, Tally]) -> Mapping[str, Sequence[float]]:
    return {key: [round(one, 3) for one in tally] for key, tally in tallies.items()}


def _tallies(value: Any) -> Mapping[str, Tally]:
    tallies = {str(key): Tally(*map(float, one)) for key, one in _object(value).items()}
    if len(tallies) > _MOST_TALLIES or not all(tally.is_sound for tally in tallies.values()):
        raise ValueError("is no spend")
    return tallies


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("is no object")  # noqa: TRY004  # one kind of error for all that a record may hold
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1e9:
        raise ValueError("is not a count")
    return value


def larger(ours: Spent | None, theirs: Spent | None) -> Spent | None:
    """The one that knows more, after a record was lost: of the later period, or with more worker-seconds.

    Then the one with more tallies, and last of all the one that was charged later: spend only grows within a period,
    and a clock that was set back makes the time of a charge untrue.
    """
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    both = sorted(ours.tallies.keys() & theirs.tallies.keys())

    def knows(one: Spent) -> tuple[list[tuple[float, float]], int, float]:
        shared = [(one.tallies[key].begins, one.tallies[key].worker_s) for key in both]
        return shared, len(one.tallies), one.at

    return ours if knows(ours) > knows(theirs) else theirs


def charged(
    before: Spent | None,
    budgets: Iterable[Budget],
    count: int | None,
    now: float,
    gap: float,
    *,
    limits: Price | None = None,
) -> Spent:
    """With the time since the last look. count: instances now; None: unknown, so the last known count goes on.

    gap: seconds between two looks from which on the time between them counts as one in which nothing was seen. limits:
    of one instance, as the look found them.
    """
    if before is None:
        before = Spent(now, count or 0)
    tallies, replaced = {}, {}
    for budget in budgets:
        key = _key(budget)
        tally, other = _tally_of(Period.of(budget, now).begins, before.tallies.get(key), before.replaced.get(key), now)
        used = max(0.0, now - max(before.at, tally.since)) * before.count
        unseen = used if count is None or now - before.at > gap else 0.0
        tallies[key] = tally._replace(worker_s=tally.worker_s + used, unseen_s=tally.unseen_s + unseen)
        if other is not None:
            replaced[key] = other
    if count is None:
        return Spent(now, before.count, tallies, before.told, before.limits, replaced)
    return Spent(now, count, tallies, before.told, limits, replaced)


def _tally_of(begins: float, last: Tally | None, replaced: Tally | None, now: float) -> tuple[Tally, Tally | None]:
    """The tally of the period that begins then, and the one to keep beside it."""
    if last is not None and last.begins == begins:
        return last, replaced
    if replaced is not None and replaced.begins == begins:
        return replaced, last
    if last is None or last.begins > now:
        return Tally(begins, max(now, begins)), last or replaced
    return Tally(begins, begins), last


def _key(budget: Budget) -> str:
    return f"{budget.per} {budget.timezone}"


class Spend(NamedTuple):
    """Dollars of one worker or of several, in one period.

    since: from when on it is known; None: all of it is. unseen: charged for a time in which the count was unknown.
    unknown: workers of which nothing is known, or no price. limits: workers that count with what they may use at most.
    is_unpriced: it is of one worker, of which no price is known.
    """

    dollars: float = 0.0
    since: float | None = None
    unseen: float = 0.0
    unknown: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    is_unpriced: bool = False

    @classmethod
    def of(cls, other: Other, budget: Budget, begins: float) -> Self:
        """A tally of an earlier period says that nothing was charged in this one yet; a later one says nothing."""
        spent, price = other.spent, other.price
        tally = None if spent is None else spent.tally_of(_key(budget), begins)
        if tally is None or price is None or tally.begins > begins:
            return cls(unknown=(other.worker,), is_unpriced=price is None)
        by_limits = () if other.size is not None else (other.worker,)
        if tally.begins != begins:
            return cls(limits=by_limits)
        since = tally.since if tally.since > tally.begins else None
        each = price.per_second
        return cls(tally.worker_s * each, since, tally.unseen_s * each, limits=by_limits)

    def plus(self, other: Spend) -> Spend:
        since = max((one for one in (self.since, other.since) if one is not None), default=None)
        return Spend(
            self.dollars + other.dollars,
            since,
            self.unseen + other.unseen,
            (*self.unknown, *other.unknown),
            (*self.limits, *other.limits),
        )


class Other(NamedTuple):
    """A worker under a budget. spent: as its record had it last; None: nothing is known.

    size: the price of one worker as the policy has it; None: by the limits that the platform reports.
    """

    worker: str
    spent: Spent | None
    size: Price | None

    @property
    def price(self) -> Price | None:
        """None: unknown."""
        if self.size is not None:
            return self.size
        return None if self.spent is None else self.spent.limits


@dataclass(frozen=True, slots=True)
class Shared:
    """The budget of all workers, and what is known of the others."""

    budget: Budget
    others: Sequence[Other] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget at a moment. scope: OWN or ALL."""

    budget: Budget
    scope: str
    spend: Spend
    period: Period

    @property
    def is_unknown(self) -> bool:
        """No price of its one worker is known, so it limits nothing."""
        return self.scope == OWN and self.spend.is_unpriced

    @property
    def share(self) -> float:
        return self.spend.dollars / self.budget.amount

    @property
    def step(self) -> int:
        """How many of STEPS are reached."""
        return sum(self.share >= step - 1e-9 for step in STEPS)

    @property
    def is_overrun(self) -> bool:
        return self.share >= 1 + self.budget.overrun - 1e-9

    def count(self, policy: WorkerPolicy, step: int | None = None) -> int:
        """The highest count now, or at another step. policy: with min_replicas and max_replicas as they are now."""
        step = self.step if step is None else step
        most = policy.max_replicas
        floor = policy.min_replicas if self.budget.at_budget == "min" else min(int(self.budget.at_budget), most)
        return floor + math.ceil((most - floor) * (len(STEPS) - step) / len(STEPS))

    def cap(self, policy: WorkerPolicy) -> Cap | None:
        """None below the first step."""
        if not self.step:
            return None
        count = self.count(policy)
        reason = Reason.OVER_BUDGET if self.step == len(STEPS) else Reason.NEAR_BUDGET
        return Cap(count, Because(reason, f"max is {count}, because {self.words}"), is_hard=self.is_overrun)

    @property
    def until(self) -> str:
        """`2026-12-01 00:00 UTC`."""
        ends = datetime.fromtimestamp(self.period.ends, zone_of(self.budget.timezone))
        return f"{ends:%Y-%m-%d %H:%M} {self.budget.timezone}"

    @property
    def words(self) -> str:
        """`$33.20 of $40.00 are spent in this month (83 %), until 2026-12-01 00:00 UTC`."""
        whose = " by all workers" if self.scope == ALL else ""
        spend, amount = self.spend, self.budget.amount
        if self.is_unknown:
            return (
                f"how much of {money(amount)} is spent in this {self.budget.per} is unknown, so this budget limits "
                "nothing: the policy has no worker_size, and the platform reports no limits of the service; write one"
            )
        most = "at most " if spend.limits else ""
        said = f"{most}{money(spend.dollars)} of {money(amount)} are spent{whose} in this {self.budget.per}"
        said += f" ({percent(math.floor(100 * self.share + 1e-6) / 100)}), until {self.until}"
        notes = []
        if spend.since is not None:
            notes.append(f"known since {iso(spend.since)[:19]}Z")
        if spend.unseen:
            notes.append(f"{money(spend.unseen)} of it charged for time without a reading")
        if spend.limits:
            whom = "a worker" if self.scope == OWN else "a worker of " + ", ".join(spend.limits)
            notes.append(f"{whom} counts with the limits that the platform reports, for want of a worker_size")
        if spend.unknown:
            notes.append(f"without {', '.join(spend.unknown)}, whose spend is unknown")
        return f"{said} ({'; '.join(notes)})" if notes else said


def budgets_of(policy: WorkerPolicy, shared: Shared | None) -> tuple[tuple[str, Budget], ...]:
    """Those that a worker is under: its own first."""
    own = () if policy.budget is None else ((OWN, policy.budget),)
    return (*own, *(() if shared is None else ((ALL, shared.budget),)))


def standings(
    worker: str, policy: WorkerPolicy, spent: Spent | None, shared: Shared | None, now: float
) -> tuple[Standing, ...]:
    """Each budget that the worker is under."""
    found = []
    me = Other(worker, spent, None if policy.worker_size is None else policy.worker_size.price)
    for scope, budget in budgets_of(policy, shared):
        period = Period.of(budget, now)
        spend = Spend.of(me, budget, period.begins)
        if scope == ALL and shared is not None:
            for other in shared.others:
                spend = spend.plus(Spend.of(other, budget, period.begins))
        found.append(Standing(budget, scope, spend, period))
    return tuple(found)


def told_words(standing: Standing, before: int, was: int, now: int) -> str:
    """Of a step that was reached, or left. before: the step that was told last. was, now: the highest count."""
    if standing.step > before:
        fell = f"max falls {was} → {now}" if now < was else f"max stays {now}"
        return f"{standing.words}: {fell}"
    return f"max is {now} again: {standing.words}"
