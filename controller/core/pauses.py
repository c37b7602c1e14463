"""How long a worker stays that is not needed: learned from the pauses between two needs of it. Pure.

Worker k is needed by a look that recommends k workers or more. A pause of worker k is the time from the last such look
to the next one, if a poll in between recommended fewer. Keeping worker k for t seconds after it was last needed costs
min(pause, t) worker-seconds in each pause, and in a pause longer than t also what a wrong stop costs. So t is the value
that would have cost least in the newest pauses (the break-even rule of ski rental, on what was measured).

What a wrong stop costs, in worker-seconds: the start that is paid again, L, and the waits of the jobs that arrive
meanwhile. The first waits L, those behind it λ · L² / 2 together, for λ arrivals a second. A second of waiting is worth
v = 4 s / target_wait worker-seconds: a policy that accepts long waits counts them for little. With fewer than 30
pauses, t is that cost itself, which is the break-even point if nothing is known about the pauses. Where jobs use nearly
all that max_replicas can do, these waits count for more (core/load.py).

All times are seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, MutableSequence, Sequence
from dataclasses import replace
from typing import NamedTuple

from controller.core.load import Load
from controller.core.model import History, LongRun, Recommendation, ServiceTime
from controller.core.units import in_words
from controller.policy import USABLE_START_UP_S, WorkerPolicy

LONGEST_S = 900.0
"""A worker that is not needed is kept for at most this."""
MOST_PAUSES = 500
"""Newest pauses that are kept of each worker."""
FEWEST_PAUSES = 30
LEARN_AGAIN_S = 300.0
FEWEST_ARRIVALS = 30
"""Fewer jobs could be one burst, whose rate says nothing; no rate is the careful answer."""
_OWN = 20
"""Each worker up to this has pauses of its own; the later ones share one list, because there are few of each."""
PLACES = _OWN + 1
STEP_S = 0.25
"""Pauses are rounded to this."""
_UNMEASURED_L = 10.0
"""Too small an L costs little, and too large a one much, so half the usual start stands in for an unmeasured one."""
_LEAST_PART, _WORTH_S = 0.3, 4.0


class Cost(NamedTuple):
    """What a wrong stop costs, and from what that follows; see the module.

    times: how often the waits in it count, by the load of the last day (None: unknown).
    """

    start_up_s: float
    arrivals_per_s: float
    total_s: float
    times: float = 1.0
    load: Load | None = None

    @classmethod
    def of(cls, target_wait: float, start_up_s: float | None, arrivals_per_s: float, load: Load | None = None) -> Cost:
        """start_up_s: None: not measured. A target_wait of 0 counts as 100 ms."""
        least, most = USABLE_START_UP_S
        start = _UNMEASURED_L if start_up_s is None else min(max(least, start_up_s), most)
        worth = _WORTH_S / max(target_wait, 0.1)
        waits = worth * (start + arrivals_per_s * start * start / 2)
        times = 1.0 if load is None else load.times(worth)
        return cls(start, arrivals_per_s, start + waits * times, times, load)

    @property
    def least_s(self) -> float:
        """No worker goes sooner: in this time jobs of one burst are still on their way."""
        return _LEAST_PART * self.start_up_s

    @property
    def unlearned_s(self) -> float:
        """How long a worker stays whose pauses are not known: as long as a stop would cost."""
        return self.limited(self.total_s)

    def limited(self, kept_s: float) -> float:
        return min(max(kept_s, self.least_s), LONGEST_S)


def slot(worker: int) -> int:
    """The place of a worker's pauses and of its learned time; workers are counted from 1."""
    return min(worker, _OWN + 1) - 1


def looked(
    needed: MutableSequence[Recommendation], look: Recommendation, polled_at: float | None, most: int
) -> list[tuple[int, float]]:
    """Adds a look to the recommendations in place, and returns the pauses that it ends, by worker up to `most`.

    needed: as from history.needed(), oldest and highest first. polled_at: when the last poll before this look was.
    """
    ended: list[tuple[int, float]] = []
    lowest = 0
    while needed:
        at, replicas = needed[-1]
        if polled_at is not None and polled_at > at:
            highest = min(replicas, look.replicas, most)
            if highest > lowest:
                pause = look.at - at
                ended.extend((worker, pause) for worker in range(lowest + 1, highest + 1))
        if replicas > look.replicas:
            break
        lowest = replicas
        needed.pop()
    needed.append(look)
    return ended


def with_pauses(pauses: Sequence[Sequence[float]], ended: Iterable[tuple[int, float]]) -> tuple[tuple[float, ...], ...]:
    """With these pauses as the newest; in each place at most MOST_PAUSES."""
    after = [tuple(one) for one in pauses]
    for worker, pause in ended:
        place = slot(worker)
        after.extend(() for _ in range(place + 1 - len(after)))
        after[place] = (*after[place][1 - MOST_PAUSES :], rounded(pause))
    return tuple(after)


def rounded(pause: float) -> float:
    """A pause as it is kept: one that is longer than any worker waits is only known to be longer."""
    return min(round(pause / STEP_S) * STEP_S, LONGEST_S + STEP_S)


def learned(ascending: Sequence[float], cost: Cost, guess_s: float = 0.0) -> float | None:
    """For how long to keep this worker, from its pauses in ascending order; None: too few are known.

    guess_s: the same is found with any guess, and it is found sooner with one that is nearly right.
    """
    few = len(ascending) < FEWEST_PAUSES
    return None if few else cost.limited(_cheapest(ascending, cost.total_s, guess_s))


def _cheapest(ascending: Sequence[float], stop: float, guess_s: float) -> float:
    """The time that costs least in these pauses; of several, the shortest. Sums are exact: multiples of STEP_S."""
    count, places = len(ascending), bisect_right(ascending, LONGEST_S)
    least, kept = count * stop, 0.0
    if guessed := bisect_right(ascending, guess_s, 0, places):
        bound = sum(ascending[:guessed]) + (count - guessed) * (ascending[guessed - 1] + stop)
        least = min(least, math.nextafter(bound, math.inf))
    place, summed, not_longer = 0, 0, 0.0
    while place < places:
        not_longer += sum(ascending[summed : place + 1])
        summed = place + 1
        pause, longer = ascending[place], count - summed
        total = not_longer + longer * (pause + stop)
        if total < least:
            least, kept = total, pause
        elif total - longer * stop > least:
            break  # any longer time costs at least this, even if it spares every wrong stop
        # A longer time spares at most one stop per place, so the next that can cost less is that many places on.
        place += int((total - least) / stop) or 1
    return kept


def is_due(learned_at: float | None, now: float) -> bool:
    """Whether it is time to learn again."""
    return learned_at is None or now - learned_at >= LEARN_AGAIN_S


def relearned(
    history: History,
    policy: WorkerPolicy,
    service: ServiceTime | None,
    now: float,
) -> History:
    """With new times, if the last ones are old enough."""
    if not is_due(history.learned_at, now):
        return history
    cost = _cost_now(policy, history, service)
    return replace(history, kept_s=tuple(learned(sorted(one), cost) for one in history.pauses), learned_at=now)


def _cost_now(policy: WorkerPolicy, history: History, service: ServiceTime | None) -> Cost:
    return cost_of_a_wrong_stop(policy, service, history.start_up_s, history.load)


def cost_of_a_wrong_stop(
    policy: WorkerPolicy, service: ServiceTime | None, start_up_s: float | None, load: Load | None
) -> Cost:
    """start_up_s, load: of the history; None: not known yet."""
    arrivals_per_s = 0.0 if service is None else service.arrivals_per_s
    return Cost.of(policy.strictest_wait or 0.0, start_up_s, arrivals_per_s, load)


def kept_for(policy: WorkerPolicy, history: History, service: ServiceTime | None) -> tuple[float, ...]:
    """By place, see slot(): for how long a worker stays that is not needed."""
    cost = _cost_now(policy, history, service)
    unknown = cost.unlearned_s
    known = dict(enumerate(history.kept_s))
    return tuple(
        unknown if (known_s := known.get(place)) is None else known_s for place in range(slot(policy.highest_max) + 1)
    )


class Stay(NamedTuple):
    """For how long one worker stays that is not needed. pauses: how many are known; is_learned: whether they decide."""

    worker: int
    kept_s: float
    pauses: int
    is_learned: bool


class WayDown(NamedTuple):
    """What `explain` shows of a policy that learns when to stop. starts: measured ones; long_run: of the jobs."""

    cost: Cost
    starts: int
    each: tuple[Stay, ...]
    long_run: LongRun | None

    @classmethod
    def of(cls, policy: WorkerPolicy, history: History, service: ServiceTime | None) -> WayDown:
        each = []
        for place, kept in enumerate(kept_for(policy, history, service)):
            known = len(history.pauses[place]) if place < len(history.pauses) else 0
            is_learned = place < len(history.kept_s) and history.kept_s[place] is not None
            each.append(Stay(place + 1, kept, known, is_learned))
        cost = _cost_now(policy, history, service)
        return cls(cost, len(history.start_ups), tuple(each), history.long_run)

    def as_object(self) -> dict[str, object]:
        return {
            "start_up_s": self.cost.start_up_s,
            "arrivals_per_s": round(self.cost.arrivals_per_s, 6),
            "cost_s": round(self.cost.total_s, 3),
            "load": None if self.cost.load is None else round(self.cost.load.share, 3),
            "kept_s": [round(one.kept_s, 3) for one in self.each],
            "pauses": [one.pauses for one in self.each],
            "long_run_mean_s": None if self.long_run is None else round(self.long_run.mean_s, 3),
            "long_run_jobs": 0 if self.long_run is None else self.long_run.jobs,
        }

    @property
    def sentences(self) -> tuple[str, ...]:
        """`a start takes 20 s (…), …, so a wrong stop costs 22 s` and `worker 1 stays 44 s (500 pauses), …`."""
        cost = self.cost
        measured = f"median of {self.starts}" if self.starts else "assumed, none was measured"
        arrive = f"{cost.arrivals_per_s:.2g} jobs arrive a second" if cost.arrivals_per_s else "arrivals are unknown"
        why = f"a start takes {in_words(cost.start_up_s)} ({measured}), {arrive}: a wrong stop costs"
        each = [
            f"worker {one.worker} {in_words(one.kept_s)} ({one.pauses} pauses{'' if one.is_learned else ', too few'})"
            for one in self.each
        ]
        near = ""
        if cost.load is not None and cost.times > 1:
            used = f"jobs used {cost.load.share:.0%} of what max_replicas can do in the last day"
            near = f" (its waits count {cost.times:.1f} times, because {used})"
        return f"{why} {in_words(cost.total_s)}{near}", f"not needed, they stay: {', '.join(each)}"
