"""Which counts are allowed right now, and who says so: the policy, its schedule, a cap, or an override. Pure.

All rules go by the policy that allowed() returns: its min_replicas and max_replicas are those of this moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.core.cap import Cap, lowest
from controller.core.override import Blocks, Kind, Override, Overrides
from controller.core.reasons import Because, Reason
from controller.core.schedule import in_force, words_until
from controller.policy import Schedule, WorkerPolicy


@dataclass(frozen=True, slots=True)
class Allowed:
    """policy: with min_replicas and max_replicas as they are now.

    lowest, highest: why, where it is not the policy's own line. held: the count that an operator holds. pause: an
    override that stops scaling in one direction or both. cap: below max_replicas, the lowest that binds; None: none.
    """

    policy: WorkerPolicy
    lowest: Because | None = None
    highest: Because | None = None
    held: Because | None = None
    pause: Override | None = None
    now: float = 0.0
    cap: Cap | None = None

    @property
    def most(self) -> int:
        """The highest count to which workers are added now."""
        return self.policy.max_replicas if self.cap is None else min(self.cap.count, self.policy.max_replicas)

    @property
    def at_least(self) -> Because:
        return self.lowest or Because(Reason.MINIMUM, f"min_replicas is {self.policy.min_replicas}")

    @property
    def at_most(self) -> Because:
        return self.highest or Because(Reason.MAXIMUM, f"max_replicas is {self.policy.max_replicas}")

    @property
    def leaves_all(self) -> bool:
        """A forced pause: not even a count outside min..max is corrected."""
        return self.pause is not None and self.pause.is_forced and self.pause.blocks is Blocks.BOTH

    def paused(self, *, up: bool) -> Because | None:
        """Why the count does not go up, or down; None: it may."""
        pause = self.pause
        if pause is None or pause.blocks is (Blocks.DOWN if up else Blocks.UP):
            return None
        return Because(Reason.PAUSED, pause.words(self.now))


def allowed(policy: WorkerPolicy, overrides: Overrides, now: float, caps: Sequence[Cap] = ()) -> Allowed:
    """What holds at `now`, by the journal's clock.

    The schedule that is on replaces min_replicas and max_replicas, caps apply to these, and overrides to the result: a
    floor and a held count stay within it unless they are forced; what it changes about an override is said.
    """
    here = _scheduled(policy, now) if policy.schedules else Allowed(policy, now=now)
    here = _capped(here, caps) if caps else here
    if not overrides.each:
        return here
    pause, hold, floor = (overrides.in_force(kind, now) for kind in (Kind.PAUSE, Kind.HOLD, Kind.AT_LEAST))
    here = replace(here, pause=pause)
    if hold is not None:
        return _held(here, hold)
    return here if floor is None else _with_floor(here, floor)


def of_the_hour(policy: WorkerPolicy, now: float) -> WorkerPolicy:
    """With min_replicas and max_replicas as the schedule has them that is on, whatever operators ask for."""
    return _scheduled(policy, now).policy if policy.schedules else policy


def _capped(here: Allowed, caps: Sequence[Cap]) -> Allowed:
    """A cap below min_replicas lowers that, too; a hard one is max_replicas."""
    for cap in caps:
        policy = here.policy
        if cap.count < policy.min_replicas:
            here = replace(here, policy=_between(policy, cap.count, policy.max_replicas), lowest=cap.because)
        if cap.is_hard and cap.count < policy.max_replicas:
            here = replace(here, policy=_between(here.policy, here.policy.min_replicas, cap.count), highest=cap.because)
    soft = lowest(cap for cap in caps if cap.count < here.policy.max_replicas)
    return replace(here, cap=soft)


def _scheduled(policy: WorkerPolicy, now: float) -> Allowed:
    stretch = in_force(policy.schedules, now)
    if stretch.place is None:
        return Allowed(policy, now=now)
    schedule = policy.schedules[stretch.place]
    until = words_until(stretch.until, schedule, now)

    def because(key: str, count: int | None) -> Because | None:
        return None if count is None else Because(Reason.SCHEDULE, schedule_words(key, count, schedule, until))

    least, most = schedule.min_replicas, schedule.max_replicas
    return Allowed(
        _between(
            policy, policy.min_replicas if least is None else least, policy.max_replicas if most is None else most
        ),
        because("min_replicas", least),
        because("max_replicas", most),
        now=now,
    )


def schedule_words(key: str, count: int, schedule: Schedule, until: str) -> str:
    """`min_replicas is 2 by the schedule 0 8 * * mon-fri, until 18:00 Europe/Berlin`."""
    return f"{key} is {count} by the schedule `{schedule.cron}`{f', {until}' if until else ''}"


def _held(here: Allowed, hold: Override) -> Allowed:
    policy = here.policy
    count = hold.replicas if hold.is_forced else min(max(hold.replicas, policy.min_replicas), policy.max_replicas)
    words = hold.words(here.now) + _moved(hold.replicas, count)
    held = Because(Reason.HELD, words)
    cap = None if hold.is_forced else here.cap
    return Allowed(_between(policy, count, count), held, held, held, now=here.now, cap=cap)


def _with_floor(here: Allowed, floor: Override) -> Allowed:
    policy = here.policy
    least = floor.replicas if floor.is_forced else min(floor.replicas, here.most)
    if least <= policy.min_replicas:
        return here
    because = Because(Reason.AT_LEAST, floor.words(here.now) + _moved(floor.replicas, least))
    highest = because if least > policy.max_replicas else here.highest
    cap = here.cap if here.cap is None or least <= here.cap.count else replace(here.cap, count=least)
    raised = _between(policy, least, max(least, policy.max_replicas))
    return Allowed(raised, because, highest, pause=here.pause, now=here.now, cap=cap)


def _moved(asked: int, count: int) -> str:
    if count == asked:
        return ""
    limit = "min_replicas" if count > asked else "max_replicas"
    return f" ({limit} is {count}, so {count})"


def _between(policy: WorkerPolicy, least: int, most: int) -> WorkerPolicy:
    return policy.model_copy(update={"min_replicas": least, "max_replicas": most})
