"""Several queues of one worker: their depths as one, and how many workers they ask for together. Pure.

The workers are shared, so the needs add up before they are rounded: with a target_wait, queue i asks for
(pending + staying / 2) · S / (T + S) / jobs per worker of a worker, S and T being its own time per job and its own
wait (the worker's, if it has none). With tiers, the depth is the sum of weight · depth, rounded up.

- A queue that cannot be read makes the depth of the worker unavailable: no data is not zero.
- A queue with jobs whose time per job is unknown asks for the count that there is, and at least for 1 worker.
- Jobs in progress on draining workers are spread over the queues as all jobs in progress are, since it is unknown which
  queue a draining worker serves.

Everything that asks about one queue (its counting limits, its time per job, doctor) gets a policy for that queue alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter

from controller.core.model import QueueDepth, QueuePart, ServiceTime, workers
from controller.core.ports import Source, Unavailable
from controller.core.reasons import Because, Reason
from controller.core.units import in_words
from controller.core.wanted import share_of_worker, whole_workers, workers_for_busy
from controller.policy import NamedQueue, Tier, WorkerPolicy

_MOST_NAMED = 5
"""Queues whose part a reason names; the others are summed up."""
_MILLIONTHS = 1_000_000


def alone(policy: WorkerPolicy) -> Mapping[str, WorkerPolicy]:
    """By name, the policy for each queue as if it were the only one; of a policy with `queue`, itself under ""."""
    if policy.queues is None:
        return {"": policy}
    return {name: _for_one(policy, queue) for name, queue in policy.named_queues.items()}


def _for_one(policy: WorkerPolicy, queue: NamedQueue) -> WorkerPolicy:
    wait = policy.target_wait if queue.target_wait is None else queue.target_wait
    service_time = policy.service_time if queue.service_time is None else queue.service_time
    weight = int(queue.weight * _MILLIONTHS)

    def scaled(tier: Tier) -> Tier:
        # Rounded down, as a tier holds the depths whose weighted sum is at most up_to.
        up_to = None if tier.up_to is None else tier.up_to * _MILLIONTHS // weight
        return Tier.model_construct(tier.model_fields_set, up_to=up_to, replicas=tier.replicas)

    fields = {
        **dict(policy),
        "queue": queue.alone,
        "queues": None,
        "tiers": tuple(map(scaled, policy.tiers)),
        # Rounded up: counting a queue further than needed changes nothing.
        "per_worker": None if policy.per_worker is None else -(-policy.per_worker * _MILLIONTHS // weight),
        "activation": None if policy.activation is None else -(-policy.activation * _MILLIONTHS // weight),
        "target_wait": wait,
        "service_time": service_time,
    }
    return type(policy).model_construct((policy.model_fields_set | {"queue"}) - {"queues"}, **fields)


def strictest_queue(policy: WorkerPolicy) -> str:
    """The name of the queue whose wait WorkerPolicy.strictest_wait is; "" with `queue` or with tiers."""
    if policy.queues is None or policy.target_wait is None:
        return ""
    waits = {name: one.target_wait or 0.0 for name, one in alone(policy).items()}
    return min(waits, key=waits.__getitem__)


def merged(parts: Sequence[QueuePart], source: Source) -> QueueDepth | Unavailable:
    """One depth for all these queues, or why there is none; source: the dependency that they are read from."""
    unread = [f"queue {part.name}: {part.why}" for part in parts if part.depth is None]
    if unread:
        more = f"; {len(unread) - 1} more of its queues cannot be read" if len(unread) > 1 else ""
        return Unavailable(source, f"{unread[0]}{more}")
    depths = [(part, part.known) for part in parts]
    ages = [depth.oldest_age_s for _, depth in depths if depth.oldest_age_s is not None]
    lags = [depth.lag_s for _, depth in depths if depth.lag_s is not None]
    stale = [depth.stale for _, depth in depths if depth.stale is not None]
    soon = [depth.soon for _, depth in depths if depth.soon is not None]
    remarks = [
        replace(remark, text=f"queue {part.name}: {remark.text}") for part, depth in depths for remark in depth.remarks
    ]
    return QueueDepth(
        sum(depth.pending for _, depth in depths),
        sum(depth.processing for _, depth in depths),
        max(ages, default=None),
        sum(stale) if stale else None,
        limit=_limit_of([depth for _, depth in depths]),
        lag_s=max(lags, default=None),
        unnamed=next((f"queue {part.name}: {depth.unnamed}" for part, depth in depths if depth.unnamed), ""),
        remarks=tuple(remarks),
        soon=sum(soon) if soon else None,
        ahead_s=max((depth.ahead_s for _, depth in depths if depth.soon), default=0.0),
        parts=tuple(parts),
        holders=_holders_of([depth for _, depth in depths]),
    )


def _holders_of(depths: Sequence[QueueDepth]) -> tuple[str, ...] | None:
    """Of all queues; jobs of one that cannot tell name nobody. None: no queue can tell."""
    known = [depth.holders for depth in depths if depth.holders is not None]
    if not known:
        return None
    nobody = [""] if any(depth.holders is None and depth.processing for depth in depths) else []
    return tuple(dict.fromkeys([*(one for holders in known for one in holders), *nobody]))


def _limit_of(depths: Sequence[QueueDepth]) -> int | None:
    """The smallest sum that has a count at its limit in it, so that sums from there on show as lower bounds."""
    bounded = [
        sum(map(count, depths))
        for count in (_pending, _processing, _stale, _soon)
        if any(depth.limit is not None and count(depth) >= depth.limit for depth in depths)
    ]
    if not bounded and any(depth.is_at_limit for depth in depths):
        bounded.append(sum(depth.depth for depth in depths))
    return min(bounded, default=None)


def _pending(depth: QueueDepth) -> int:
    return depth.pending


def _processing(depth: QueueDepth) -> int:
    return depth.processing


def _stale(depth: QueueDepth) -> int:
    return depth.stale or 0


def _soon(depth: QueueDepth) -> int:
    return depth.soon or 0


def slowest(parts: Sequence[QueuePart]) -> ServiceTime | None:
    """The longest time per job of these queues, and the arrivals of all; None while one of them is unknown.

    It has no finished jobs: a mean over the long run would mix the queues.
    """
    known = [part.service for part in parts if part.service is not None]
    if not known or len(known) < len(parts):
        return None
    arrivals_per_s = sum(service.arrivals_per_s for service in known)
    longest = max(known, key=lambda service: service.mean_s)
    return replace(longest, arrivals_per_s=arrivals_per_s, finished=())


def doubt(policy: WorkerPolicy, queue: QueueDepth, queue_seen: str) -> str:
    """Why this depth is not believed, or ""; queue_seen: of the history, the queues in which jobs were seen before."""
    seen = queue_seen.split(",")
    if not queue.parts:
        return "" if not queue.unnamed or policy.only_queue.identity in seen else queue.unnamed
    queues = policy.each_queue
    doubts = (
        f"queue {part.name}: {part.known.unnamed}"
        for part in queue.parts
        if part.known.unnamed and queues[part.name].identity not in seen
    )
    return next(doubts, "")


def seen_in(policy: WorkerPolicy, queue: QueueDepth, queue_seen: str) -> str:
    """The identities of the queues in which jobs are or were seen, for History.queue_seen; "" if none has any now."""
    if not queue.parts:
        return policy.only_queue.identity if policy.queue is not None and _has_jobs(queue) else ""
    before, queues = queue_seen.split(","), policy.each_queue
    now = {queues[part.name].identity for part in queue.parts if _has_jobs(part.known)}
    every = dict.fromkeys(one.identity for one in queues.values())
    return ",".join(one for one in every if one in now or one in before) if now else ""


def _has_jobs(queue: QueueDepth) -> bool:
    return bool(queue.depth or queue.stale)


def needs(policy: WorkerPolicy, queue: QueueDepth, staying: int) -> dict[str, float | None]:
    """By name, the workers that each queue with jobs asks for, unrounded; None: its time per job is unknown.

    staying: jobs in progress on workers that stay.
    """
    share = staying / queue.processing if queue.processing else 0.0
    found: dict[str, float | None] = {}
    for part in queue.parts:
        jobs = part.known.pending + part.known.processing * share / 2
        if not jobs:
            continue
        wait = policy.target_wait if part.target_wait is None else part.target_wait
        assert wait is not None, "asked only with a target_wait"
        service = part.service
        found[part.name] = (
            None if service is None else jobs * share_of_worker(wait, service.mean_s) / policy.concurrency
        )
    return found


def recommended(policy: WorkerPolicy, queue: QueueDepth, current: int, staying: int) -> int:
    """The workers that all its queues want together with a target_wait, before any limit."""
    asked = needs(policy, queue, staying)
    if not asked:
        return 0
    by_wait = whole_workers(sum(need for need in asked.values() if need is not None))
    measuring = max(1, current) if None in asked.values() else 0
    return max(by_wait, workers_for_busy(policy, staying), measuring)


def because(policy: WorkerPolicy, queue: QueueDepth, wanted: int, staying: int, current: int) -> Because:
    """The reason of a recommendation: the queue that asks for most first, then the part of each other one."""
    if policy.target_wait is None:
        if policy.per_worker is None:
            return Because(Reason.TIER, _tier_words(queue, wanted))
        each = f" (at {policy.per_worker} per worker)" if queue.depth else ""
        return Because(Reason.PER_WORKER, _tier_words(queue, wanted, each))
    ahead = queue.as_soon
    asked = needs(policy, ahead, staying)
    unknown = [name for name, need in asked.items() if need is None]
    by_wait = whole_workers(sum(need for need in asked.values() if need is not None))
    busy = workers_for_busy(policy, staying)
    if unknown and wanted > max(by_wait, busy):
        why = next((part.unmeasured for part in queue.parts if part.name == unknown[0]), "")
        cannot = f"cannot be measured, because {why} (write service_time)" if why else "is not known yet"
        stay = "the count stays" if current else "1 worker is needed to measure it"
        words = f"{_in_queues(queue)}, and the time per job of queue {unknown[0]} {cannot}, so {stay}"
        return Because(Reason.SERVICE_TIME_UNKNOWN, words)
    also = f", and {workers(busy)} {'is' if busy == 1 else 'are'} busy" if busy > by_wait else ""
    parts = {part.name: part for part in ahead.parts}
    said = _shares(
        {name: need for name, need in asked.items() if need is not None},
        lambda name: _of_wait(parts[name], policy.target_wait or 0.0),
        "asks for",
    )
    unsaid = [f"{name} unknown, as its time per job is not known yet" for name in unknown]
    tail = "; ".join([*said, *unsaid])
    words = f"{_in_queues(queue)} {_want(queue)} {workers(by_wait)}{also}{f': {tail}' if tail else ''}"
    return Because(Reason.TARGET_WAIT, words)


def part_words(policy: WorkerPolicy, part: QueuePart, need: float | None) -> str:
    """What one queue asks for, for /status and the log; need: as of needs()."""
    if part.depth is None:
        return part.why
    if policy.target_wait is None:
        weighed = part.weight * part.depth.depth
        return f"counts {_figure(float(weighed))}{_times(part)}"
    wait = f"for a wait of {in_words(policy.target_wait if part.target_wait is None else part.target_wait)}"
    if part.service is None:
        if part.unmeasured:
            return f"{wait}; the time per job cannot be measured, because {part.unmeasured} (write service_time)"
        return f"{wait}; the time per job is not known yet"
    each = f"jobs of {in_words(part.service.mean_s)}"
    figure = _figure(need or 0.0)
    return f"asks for {figure} worker{'s' * (figure != '1')}, {each} {wait}"


def _of_wait(part: QueuePart, of_the_worker: float) -> str:
    service = part.service
    assert service is not None, "its need is known"
    jobs = part.known.jobs(part.known.depth)
    each = "" if part.known.depth == 1 else " each"
    wait = in_words(of_the_worker if part.target_wait is None else part.target_wait)
    return f"{jobs} of {in_words(service.mean_s)}{each}, a wait of {wait}"


def _tier_words(queue: QueueDepth, wanted: int, each: str = "") -> str:
    parts = {part.name: part for part in queue.as_soon.parts}
    weighed = {name: float(part.weight * part.known.depth) for name, part in parts.items() if part.known.depth}
    said = "; ".join(_shares(weighed, lambda name: _times(parts[name]).strip(" ()"), "counts"))
    depth = f", a depth of {queue.weighted}," if queue.weighted != queue.depth else ""
    return f"{_in_queues(queue)}{depth} {_want(queue)} {workers(wanted)}{each}{f': {said}' if said else ''}"


def _times(part: QueuePart) -> str:
    return "" if part.weight == 1 else f" ({part.known.jobs(part.known.depth)} × {part.weight})"


def _shares(asked: Mapping[str, float], of: Callable[[str], str], verb: str) -> list[str]:
    """`urgent asks for most, 3.2 (9 jobs of 2 s each, a wait of 5 s)`, `bulk 0.6 (…)`, and the sum of the others."""
    ranked = sorted(asked.items(), key=itemgetter(1), reverse=True)
    said = []
    for place, (name, need) in enumerate(ranked[:_MOST_NAMED]):
        beside = f" ({of(name)})" if of(name) else ""
        most = f" {verb} most," if place == 0 and len(ranked) > 1 else f" {verb}" if place == 0 else ""
        said.append(f"{name}{most} {_figure(need)}{beside}")
    rest = ranked[_MOST_NAMED:]
    return [*said, *([f"{len(rest)} others {_figure(sum(need for _, need in rest))}"] if rest else [])]


def _in_queues(queue: QueueDepth) -> str:
    return f"{queue.sentence} in {len(queue.parts)} queue{'s' * (len(queue.parts) != 1)}"


def _want(queue: QueueDepth) -> str:
    return "wants" if queue.depth == 1 else "want"


def _figure(need: float) -> str:
    """`3.2`, `12`, `under 0.1`."""
    if 0 < need < 0.05:
        return "under 0.1"
    return f"{need:.1f}".removesuffix(".0")
