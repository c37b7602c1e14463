"""Whether a run kept every promise: pure checks of its record. No violation, or one sentence for each.

1. Only the replica that certainly holds the lease sends, and only after it wrote down an intent; nothing twice.
2. An older leader never sends after a newer one; epochs only rise, and no two leaders share one.
3. No change within its cooldown, unless no process was left that could know of the last one. While two policies are
   out, none corrects within its cooldown what another one has made of its own count.
4. Never outside min..max.
5. Never on a missing reading, to the count that is there already, or to one that the queue did not justify; without a
   reading of the queue only up to min_replicas, or as on_unavailable allows. Never more than max_step at once.
6. When all is well again the count is what the policy wants, within the bound, and stays so.
7. A take-over that no other fault disturbs ends within its bound.
8. An update asks for the count of its intent in all regions together, keeps the regions that are stored, and names each
   other one that it drops. No change of ours moves the workers to other regions.
9. What an operator asked for is kept: a held count, a floor, a pause. Except within min..max, and for what the platform
   allows.
10. The spend of a budget is never forgotten while a process knows it, and grows with the workers. No worker is added
   above what its step allows, none is removed below it, and each step is told, and told once.
11. Where a platform has a fence, a change is decided on the very count that was read last, and no write of ours lands
    once anybody else has written after that reading.

min and max are those of the hour: a schedule may have others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.core.wanted import tier_replicas
from controller.policy import WorkerPolicy
from tests.support.record import Acquired, Change, Granted, InForce, Life, Limits, Record, Sent, StepTold
from tests.support.spend import Charge

_LAG_S = 25.0
"""How old what Railway shows can be: it needs seconds to show a change, and 20 s more on a bad day."""
_LOOK_S = 2.5
"""A standby looks at Redis at least this often."""
_ONE_LOOK_S = 1.5
_OUTAGE_READINGS = 3
"""Readings of the queue that must have failed in a row before on_unavailable applies."""
_A_PASS_S = 15.0
_ROUNDED_S = 0.05
_SNAPSHOT_S = 1.0
"""A change may be applied a moment after the data that knew of its intent were lost."""


def violations(record: Record) -> list[str]:
    found = [
        *(f"bug: {bug}" for bug in record.bugs),
        *_acting(record),
        *_twice(record),
        *_order(record),
        *_shared_epochs(record),
        *_cooldowns(record),
        *_bounds(record),
        *_readings(record),
        *_steps(record),
        *_regions(record),
        *_overrides(record),
        *_budgets(record),
        *_spend(record),
        *_told(record),
        *_fence(record),
        *_liveness(record),
        *_take_overs(record),
    ]
    return sorted(set(found), key=found.index)


def _acting(record: Record) -> Iterator[str]:
    """A replica sends only while it certainly holds the lease, and only after it recorded an intent."""
    for sent in record.sent:
        if not sent.is_leader:
            yield f"{sent.at:.3f}: {sent.who} sent {sent.operation} and was not sure to lead"
        rivals = [rival for rival in sent.rivals if not _may_not_know(record, sent, rival)]
        if rivals:
            yield f"{sent.at:.3f}: {sent.who} sent {sent.operation} while {', '.join(rivals)} trusted a lease, too"
        if sent.intent is None:
            yield f"{sent.at:.3f}: {sent.who} sent {sent.operation}, and no intent was written down"


def _may_not_know(record: Record, sent: Sent, rival: str) -> bool:
    """Whether the leader cannot know of it: Redis lost its data, or its clock jumped, before it read; or all are new.

    A new process that finds Redis empty waits only briefly for one that remembers: on a first start there is no other.
    """
    led = max(one.at for one in record.acquired if one.who == rival and one.at <= sent.at)
    ours = next(one for one in reversed(record.acquired) if one.who == sent.who and one.at <= sent.at)
    lost = [at for at in record.lost_data_at if led <= at <= ours.at]
    learned = next(life.learned for life in record.lives if life.who == sent.who)
    if any(led <= leap <= ours.at and not _looked_before(learned, leap) for leap in record.leapt_at):
        return True
    return bool(lost) and (not ours.knew_others or min(lost) - led < _LOOK_S)


def _looked_before(learned: list[float], moment: float) -> bool:
    return any(moment - _LOOK_S <= at <= moment for at in learned)


def _order(record: Record) -> Iterator[str]:
    """An older leader does not send after a newer one, and epochs only rise."""
    for earlier, later in zip(record.sent, record.sent[1:], strict=False):
        older = later.acquired_at < earlier.acquired_at
        fell = later.epoch < earlier.epoch and not _epoch_was_forgotten(
            record, later.who, earlier.acquired_at, later.acquired_at
        )
        if older or fell:
            yield (
                f"{later.at:.3f}: {later.who} sent in epoch {later.epoch}, after {earlier.who} in epoch {earlier.epoch}"
            )


def _twice(record: Record) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for sent in record.sent:
        if sent.intent is None:
            continue
        if (sent.intent.intent, sent.operation) in seen:
            yield f"{sent.at:.3f}: {sent.who} sent {sent.operation} for one intent a second time"
        seen.add((sent.intent.intent, sent.operation))


def _shared_epochs(record: Record) -> Iterator[str]:
    holders: dict[int, Acquired] = {}
    for one in record.acquired:
        first = holders.setdefault(one.epoch, one)
        if first.holder != one.holder and not _epoch_was_forgotten(record, one.who, first.at, one.at):
            yield f"{one.at:.3f}: {one.who} leads in epoch {one.epoch}, as {first.who} did"


def _epoch_was_forgotten(record: Record, who: str, since: float, until: float) -> bool:
    """Redis lost its data, its clock was set back, and the new leader had not read the epoch before that."""
    lost = [at for at in record.lost_data_at if since <= at <= until]
    life = next(life for life in record.lives if life.who == who)
    return bool(lost) and not any(since <= at <= min(lost) for at in life.learned)


def _ours(record: Record) -> list[Change]:
    """Changes by the controllers; several requests for one intent are one change."""
    names = {life.who for life in record.lives}
    return [change for change in record.changes if change.by in names]


def _limits(record: Record, intent: Granted | None) -> tuple[Limits, ...]:
    """Of each hour in which it may have been decided on."""
    own = Limits(record.policy.min_replicas, record.policy.max_replicas)
    return (own,) if intent is None else intent.limits or (own,)


def _intent_of(record: Record, change: Change) -> Granted | None:
    return next((one for one in record.granted if one.intent == change.intent), None)


def _is_surely_within(record: Record, intent: Granted | None, count: int) -> bool:
    return all(limits.allow(count) for limits in _limits(record, intent))


def _policy_of(record: Record, intent: Granted | None) -> WorkerPolicy:
    """That of the process which decided."""
    return record.policy if intent is None or intent.policy is None else intent.policy


def _cooldowns(record: Record) -> Iterator[str]:
    ours = _ours(record)
    for index, change in enumerate(ours):
        intent = _intent_of(record, change)
        policy = _policy_of(record, intent)
        is_out = not _is_surely_within(record, intent, change.before) or _was_read_out_of_range(record, change)
        if is_out and not _takes_turns(record, change):
            continue  # corrected at once, whatever the cooldowns say
        if any(one.intent == change.intent and one.overridden for one in record.granted):
            continue  # what an operator asks for comes at once
        up = change.after > change.before
        cooldown = (policy.scale_up if up else policy.scale_down).cooldown
        # A scale-down that added workers because others removed more in between starts no cooldown of scale-up.
        before = [one for one in ours[:index] if not up or (one.after > one.before and not _was_overtaken(record, one))]
        if not before:
            continue
        last = before[-1]
        if (
            change.at - last.at >= cooldown - record.tolerance_s
            or change.intent == last.intent
            or _was_overtaken(record, change)
        ):
            continue
        # A scale-up may come at once if nothing is remembered, even if a forgotten change has made another count of it.
        lost = [*record.lost_data_at, *record.lost_records_at]
        forgotten = lost if up or _was_meant_up(record, change) else []
        if _was_forgotten(record, forgotten, last, change) or _was_forgotten(record, record.leapt_at, last, change):
            continue
        if _landed_late_and_forgotten(record, last, change):
            continue
        if any(change.at - _ONE_LOOK_S <= leap <= change.at for leap in record.leapt_at):
            continue  # a newcomer that leads at once, before those who remember have looked again
        yield (
            f"{change.at:.3f}: {change.before} → {change.after} by {change.by}, {change.at - last.at:.1f} s after "
            f"{last.before} → {last.after} by {last.by}"
        )


def _takes_turns(record: Record, change: Change) -> bool:
    """Whether its policy had scaled before another one made the count that it corrects, and that is still known."""
    before = record.changes[: record.changes.index(change)]
    intent, theirs = _intent_of(record, change), _intent_of(record, before[-1]) if before else None
    if intent is None or theirs is None or before[-1].after != intent.before:
        return False
    ours = _own_limits(intent, record)
    if ours == _own_limits(theirs, record):
        return False
    for earlier in reversed(before[:-1]):
        made = _intent_of(record, earlier)
        if made is None:
            return False  # by other hands
        if _own_limits(made, record) != _own_limits(theirs, record):
            lost = [*record.lost_data_at, *record.lost_records_at]
            return _own_limits(made, record) == ours and not _was_forgotten(record, lost, earlier, change)
    return False


def _own_limits(intent: Granted, record: Record) -> object:
    policy = _policy_of(record, intent)
    return policy.min_replicas, policy.max_replicas, policy.schedules


def _was_read_out_of_range(record: Record, change: Change) -> bool:
    """The platform itself had answered with a count outside min..max, if only because its answer was old."""
    known = (one for one in record.sent if one.intent is not None and one.intent.intent == change.intent)
    sent = next(known, None)
    if sent is None or sent.intent is None or sent.read_count != sent.intent.before:
        return False
    return not _is_surely_within(record, sent.intent, sent.intent.before)


def _was_meant_up(record: Record, change: Change) -> bool:
    intent = next((one for one in record.granted if one.intent == change.intent), None)
    return intent is not None and intent.after > intent.before


def _was_overtaken(record: Record, change: Change) -> bool:
    """Another change came while ours was on its way, so that the count moved in another direction than was decided."""
    intent = next((one for one in record.granted if one.intent == change.intent), None)
    if intent is None or (intent.after > intent.before) == (change.after > change.before):
        return False
    names = {life.who for life in record.lives}
    others = any(one.by not in names and intent.at - _LAG_S <= one.at <= change.at for one in record.changes)
    return others or _was_moved(record, intent.intent, change.at)


def _was_forgotten(record: Record, forgotten_at: list[float], last: Change, change: Change) -> bool:
    """Redis lost its data in between, and no process that knew of the last change was still running.

    For scale-up if its data were lost; for both directions if its clock jumped, because the times then look old.
    """
    # What landed late was known of from its intent on, and lost with it.
    intent = next((one for one in record.granted if one.intent == last.intent), None)
    happened = last.at if intent is None else min(last.at, intent.at)
    lost = [at for at in forgotten_at if happened - _SNAPSHOT_S <= at <= change.at]
    return bool(lost) and not any(_remembers(life, happened, min(lost), change.at) for life in record.lives)


def _landed_late_and_forgotten(record: Record, last: Change, change: Change) -> bool:
    """Railway made the change long after it was sent; meanwhile Redis lost its intent, and no process knew of it.

    Railway knows no epochs, so that nothing can refuse it; a later leader could only have waited if it had known.
    """
    sent = next((one for one in record.granted if one.intent == change.intent), None)
    later = next((one for one in record.granted if one.intent == last.intent), None)
    if sent is None or later is None or sent.at >= later.at:
        return False
    lost = [at for at in record.lost_data_at if sent.at - _SNAPSHOT_S <= at <= later.at]
    return bool(lost) and not any(_remembers(life, sent.at, min(lost), later.at) for life in record.lives)


def _remembers(life: Life, happened: float, lost: float, until: float) -> bool:
    lived_on = life.since <= happened and (life.until is None or life.until > until)
    could_tell = not any(since < until and lost < end for since, end in life.deaf)
    return lived_on and could_tell and any(happened <= at <= lost for at in life.learned)


def _bounds(record: Record) -> Iterator[str]:
    smallest = {one.intent.intent: one.smallest for one in record.sent if one.intent is not None}
    for change in _ours(record):
        hours = _limits(record, _intent_of(record, change))
        # The platform has no count between 0 and one in each region, and max may be lower.
        floor = smallest.get(change.intent, 1)
        # An update knows nothing of a move between its reading and its landing, so it may add its regions to those of
        # the move. Nothing can refuse it, because Railway compares no versions.
        overtaken = _was_moved(record, change.intent, change.at)
        is_within = any(limits.allow(change.after) or limits.most < change.after == floor for limits in hours)
        if not is_within and not overtaken:
            outside = " and ".join(f"{limits.least}..{limits.most}" for limits in sorted(set(hours)))
            yield f"{change.at:.3f}: {change.after} asked for, outside {outside}"


def _readings(record: Record) -> Iterator[str]:
    """Every change follows from readings that succeeded, and differs from the count that was read."""
    for sent in record.sent:
        if sent.intent is None or not sent.knows_readings:
            continue
        policy = _policy_of(record, sent.intent)
        after, before = sent.intent.after, sent.read_count
        hours = _limits(record, sent.intent)
        corrects = before is not None and any(
            before < limits.least and after == max(limits.least, sent.smallest) for limits in hours
        )
        corrects = corrects or (sent.intent.overridden and before is not None)
        if before is None or (sent.read_depth is None and not corrects and not _may_fall_back(record, sent)):
            yield f"{sent.at:.3f}: {sent.who} sent {sent.operation} on a missing reading"
            continue
        if after == before:
            yield f"{sent.at:.3f}: {sent.who} sent {sent.operation} for {after}, which is what it had read"
        if sent.read_depth is None or not _is_surely_within(record, sent.intent, before):
            continue
        if sent.intent.overridden:
            continue
        tier = tier_replicas(policy, sent.read_depth)
        clamped = [max(limits.least, min(limits.highest, tier)) for limits in hours]
        wanted = [max(count, sent.smallest) if count else 0 for count in clamped]
        if all((after > before and after > count) or (after < before and after < count) for count in wanted):
            yield (
                f"{sent.at:.3f}: {sent.who} asked for {after} where it had read {sent.read_depth} jobs "
                f"and {before} workers"
            )


def _may_fall_back(record: Record, sent: Sent) -> bool:
    """Whether on_unavailable allows this count: it goes up, not above at_least, and the queue was unread long enough.

    What counts is what was written down: a process that could read the queue and not write the history has told no
    other, and the next leader knows only of readings before that.
    """
    intent = sent.intent
    fallback = _policy_of(record, intent).on_unavailable
    if fallback is None or intent is None or sent.read_count is None or intent.after <= sent.read_count:
        return False
    if intent.after > max(fallback.at_least, sent.smallest):
        return False
    known = [one for one in record.noted if one.at <= sent.at]
    read_at = max((one.at for one in known if one.succeeded), default=0.0)
    unread = [one for one in known if one.at > read_at]
    if len(unread) >= _OUTAGE_READINGS and sent.at - read_at >= fallback.after:
        return True
    # An older state of the history came back, or the clock by which it is timed leaped: then it tells of a longer time.
    return any(read_at <= at <= sent.at for at in [*record.lost_data_at, *record.leapt_at])


def _steps(record: Record) -> Iterator[str]:
    for sent in record.sent:
        if sent.intent is None or not _is_surely_within(record, sent.intent, sent.intent.before):
            continue
        if sent.intent.overridden:
            continue
        policy, before, after = _policy_of(record, sent.intent), sent.intent.before, sent.intent.after
        most = (policy.scale_up if after > before else policy.scale_down).max_step
        if most is None or abs(after - before) <= most:
            continue
        if {before, after} == {0, sent.smallest} or before < after == sent.smallest:
            continue  # the platform has no count between 0 and one in each region, so no step can end there
        yield f"{sent.at:.3f}: {sent.who} asked for {after} where {before} were, more than {most} at once"


def _regions(record: Record) -> Iterator[str]:
    for sent in record.sent:
        placing = sent.placing
        if placing is None or sent.intent is None:
            continue
        kept = {region: count for region, count in placing.asked.items() if count is not None}
        said = f"{sent.at:.3f}: {sent.who} asked for {dict(placing.asked)}"
        if sum(kept.values()) != sent.intent.after:
            yield f"{said}, and its intent is {sent.intent.after} in all"
        if kept.keys() != placing.stored:
            yield f"{said} where {', '.join(sorted(placing.stored))} is stored"
        if left_out := placing.deployed - placing.asked.keys():
            yield f"{said} and left out {', '.join(sorted(left_out))}"
    names = {life.who for life in record.lives}
    for one in record.moved:
        if one.by in names and not _was_moved(record, one.intent, one.at):
            yield (
                f"{one.at:.3f}: {one.by} moved the workers from {', '.join(sorted(one.before))} "
                f"to {', '.join(sorted(one.after))}"
            )


def _was_moved(record: Record, intent: str, until: float) -> bool:
    """Whether others moved the workers between the reading that an update is computed from and its landing.

    Or before it, and the move still waited for its deployment: then the update takes effect with it, or not at all.
    """
    names = {life.who for life in record.lives}
    known = [one for one in record.sent if one.intent is not None and one.intent.intent == intent]
    since = min((one.placing.read_at for one in known if one.placing is not None), default=until)
    return any(one.by not in names and one.at <= until and since <= one.until for one in record.moved)


def _overrides(record: Record) -> Iterator[str]:
    smallest = {one.intent.intent: one.smallest for one in record.sent if one.intent is not None}
    for granted in record.granted:
        if any(granted.at - _LAG_S <= leap <= granted.at for leap in record.leapt_at):
            continue  # by Redis' clock an override ended that is in force again, or the other way round
        floor = smallest.get(granted.intent, granted.smallest)
        asked = (granted.overrides, (*granted.overrides, *granted.ended)) if granted.ended else (granted.overrides,)
        broken = [
            _against_an_override(granted, overrides, limits, floor)
            for limits in _limits(record, granted)
            for overrides in asked
        ]
        if all(broken):
            yield f"{granted.at:.3f}: {granted.who} decided on {granted.before} → {granted.after}, where {broken[0]}"


def _against_an_override(granted: Granted, overrides: Sequence[InForce], limits: Limits, floor: int) -> str:
    """What an operator asked for and did not get, within these limits; "" if nothing."""
    before, after, least, most = granted.before, granted.after, limits.least, limits.most
    kinds = {one.kind: one for one in overrides}
    hold, at_least, pause = kinds.get("hold"), kinds.get("at-least"), kinds.get("pause")
    if hold is not None:
        held = min(max(hold.replicas, least), most)
        # A budget that is nearly spent adds none above its cap; the busy ones stay, and all where the queue is unread.
        lowest, highest = min(held, limits.highest), min(held, max(before, limits.highest))
        kept = lowest <= after <= highest or after == max(lowest, floor)
        return "" if kept else f"an operator holds {hold.replicas}"
    wanted = min(max(at_least.replicas if at_least else 0, least), limits.highest)
    if after < wanted:
        return f"an operator wants at least {wanted}"
    way = "up" if after > before else "down"
    if pause is not None and pause.blocks in {way, "both"} and wanted <= before <= most:
        return f"an operator paused {pause.blocks}"
    return ""


def _budgets(record: Record) -> Iterator[str]:
    smallest = {one.intent.intent: one.smallest for one in record.sent if one.intent is not None}
    for granted in record.granted:
        floor = smallest.get(granted.intent, granted.smallest)
        allowed = [max(limits.least, limits.highest, floor) for limits in _limits(record, granted)]
        if granted.after > granted.before and granted.after > max(allowed):
            yield f"{granted.at:.3f}: {granted.who} decided on {granted.before} → {granted.after}, above {max(allowed)}"


def _spend(record: Record) -> Iterator[str]:
    for place, later in enumerate(record.charges):
        before = [one for one in record.charges[:place] if one.begins == later.begins]
        wrong = [one for one in before if later.worker_s < one.worker_s - _ROUNDED_S and _was_known(record, one, later)]
        if before and not _is_charged(record, before, later):
            wrong.append(before[-1])
        if wrong:
            yield (
                f"{later.at:.3f}: {later.who} wrote {later.worker_s:.3f} worker-seconds, after "
                f"{wrong[-1].worker_s:.3f} and {later.now - wrong[-1].now:.3f} s with {wrong[-1].workers}"
            )


def _was_known(record: Record, earlier: Charge, later: Charge) -> bool:
    """Whether the later write had to know of the earlier one: nothing was lost in between, or its writer remembered it.

    Or another process did, and has looked since at a Redis that accepts writes, and so gave it back. Before that, a
    process that remembers less may give back less, for a moment.
    """
    lost = [at for at in _lost(record) if earlier.at - _SNAPSHOT_S <= at <= later.at]
    if not lost:
        return True
    since = max(at for at in [*lost, *record.writable_again_at] if at <= later.at)
    return any(
        _remembers(life, earlier.at, min(lost), later.at)
        and (life.who == later.who or any(since < at < later.at - _LOOK_S for at in life.learned))
        for life in record.lives
    )


def _is_charged(record: Record, before: Sequence[Charge], later: Charge) -> bool:
    """Whether the time since the last charge is in the later one; unknown if data were lost or the clock was set then.

    After a loss it may be the time since an earlier one: that was given back.
    """
    last, lost = before[-1], _lost(record)
    if any(last.at - _SNAPSHOT_S <= at <= later.at for at in lost):
        return True
    if any(last.at - _A_PASS_S <= at <= later.at for at in record.set_at):
        return True
    bases = before if any(at <= later.at for at in lost) else [last]
    return any(abs(later.worker_s - one.worker_s_at(later.now)) <= _ROUNDED_S for one in bases)


def _told(record: Record) -> Iterator[str]:
    for place, later in enumerate(record.charges[1:], 1):
        for scope in sorted({*record.charges[place - 1].told, *later.told}):
            step, before = later.told.get(scope, 0), _steps_before(record, place, scope)
            if step in before or any(later.at - _A_PASS_S <= at <= later.at for at in [*_lost(record), *record.set_at]):
                continue
            ends = tuple(f" {later.begins:.0f} {one} {step}" for one in before)
            told = [one for one in record.told if one.ident.startswith(scope) and one.ident.endswith(ends)]
            writer = next(life for life in record.lives if life.who == later.who)
            if not told and (writer.until is None or writer.until > later.at + _A_PASS_S):
                yield f"{later.at:.3f}: {later.who} wrote that step {step} of the budget was told, and told nobody"
    for index, one in enumerate(record.told):
        scope, step = one.ident.split()[0], int(one.ident.split()[-1])
        again = next((later for later in record.told[index + 1 :] if later.ident == one.ident), None)
        if again is None or not any(
            one.at - _LAG_S <= charge.at <= min(one.at + _LAG_S, again.at)
            and charge.told.get(scope, 0) == step
            and not _is_of(charge, again)
            for charge in record.charges
        ):
            continue  # it may not have been written, and then the next pass tells it
        if not any(one.at - _LAG_S <= at <= again.at for at in [*_lost(record), *record.set_at]):
            yield f"{again.at:.3f}: {again.who} told {again.ident} again, which {one.who} had told at {one.at:.3f}"


def _steps_before(record: Record, place: int, scope: str) -> set[int]:
    """That of the charge before this one; if the record was lost since, any earlier one may be what came back."""
    last, at = record.charges[place - 1], record.charges[place].at
    if any(last.at - _SNAPSHOT_S <= lost <= at for lost in _lost(record)):
        return {0, *(one.told.get(scope, 0) for one in record.charges[:place])}
    return {last.told.get(scope, 0)}


def _is_of(charge: Charge, told: StepTold) -> bool:
    """Whether it was written in the pass that told this."""
    return charge.who == told.who and abs(charge.at - told.at) <= _ONE_LOOK_S


def _lost(record: Record) -> list[float]:
    return [*record.lost_data_at, *record.lost_records_at]


def _fence(record: Record) -> Iterator[str]:
    for sent in record.sent:
        if sent.read_version and sent.intent is not None and sent.intent.before != sent.read_count:
            before, after = sent.intent.before, sent.intent.after
            yield f"{sent.at:.3f}: {sent.who} decided on {before} → {after}, and had read {sent.read_count}"
    for one in record.written:
        if one.found != one.read:
            yield (
                f"{one.at:.3f}: {one.by} wrote {one.before} → {one.after} over version {one.found or 'none'} and had "
                f"read {one.read or 'none'}"
            )


def _liveness(record: Record) -> Iterator[str]:
    for calm in record.calms:
        if calm.converged_at is None:
            yield (
                f"not as wanted {calm.bound_s:.0f} s after all was well again ({calm.healed_at:.0f}): "
                f"{calm.asked} asked for, {calm.running} run, {calm.wanted} wanted"
            )
        elif calm.strayed_at is not None:
            yield f"{calm.strayed_at:.3f}: was as wanted at {calm.converged_at:.0f}, and was changed again"


def _take_overs(record: Record) -> Iterator[str]:
    for one in record.take_overs:
        if one.took_s is None or one.took_s > one.bound_s:
            took = "never" if one.took_s is None else f"after {one.took_s:.2f} s"
            yield f"{one.at:.3f}: a leader that met with {one.cause} was followed {took}, not within {one.bound_s:g} s"
