"""The edit of a policy in words: for `plan`, and for the log when a policy is read again. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel

from controller.core.model import workers
from controller.core.schedule import limits_of
from controller.core.units import as_policy
from controller.core.wanted import tier_replicas
from controller.policy import TARGET_KEYS, Budget, Policy, Quantity, Schedule, WorkerPolicy

_IS_OF = {"tiers", "queue", "queues", "schedules", "budget", *TARGET_KEYS}
"""Keys that have their own sentences."""


def edits(old: Policy, new: Policy) -> list[tuple[str | None, str]]:
    """Each change with the worker that it concerns; None: the whole policy."""
    found: list[tuple[str | None, str]] = [(None, words) for words in fleet_changes(old, new)]
    found += [(None, words) for words in rhythm_changes(old, new)]
    if old.notify != new.notify:
        found.append((None, "notify: other targets, or the same ones in another way"))
    for name, worker in new.workers.items():
        before = old.workers.get(name)
        if before is None:
            continue
        found += [(name, words) for words in worker_changes(before, worker)]
        if before.each_queue != worker.each_queue:
            found.append((name, "another queue is read, or the same one in another way"))
    return found


def fleet_changes(old: Policy, new: Policy) -> Iterator[str]:
    """Workers that are added, dropped, renamed or moved to another service, and the effect on what runs there."""
    before = {worker.target.key: (worker.target.words, name) for name, worker in old.workers.items()}
    after = {worker.target.key: (worker.target.words, name) for name, worker in new.workers.items()}
    for key, (target, name) in before.items():
        _, now = after.get(key, ("", None))
        if now is None and name in new.workers:
            yield (
                f"{name} moves from {target} to {new.workers[name].target.words}, where its history starts again; "
                f"{target} is no longer scaled: its workers stay as they are"
            )
        elif now is None:
            yield f"{name} is dropped: {target} is no longer scaled, its workers stay as they are"
        elif now != name:
            yield f"{name} is renamed to {now}: {target} keeps its workers, cooldowns and history"
    for key, (target, name) in after.items():
        if key not in before and name not in old.workers:
            yield f"{name} is new: {target} is scaled from now on"


def rhythm_changes(old: Policy, new: Policy) -> list[str]:
    """What changes for all workers."""
    budget = _budget_changes(old.budget, new.budget, "budget of all workers")
    pools = [{f"pools.{name}": str(one.max_replicas) for name, one in each.pools.items()} for each in (old, new)]
    return [*_differences(_rhythm(old), _rhythm(new)), *_differences(*pools), *budget]


def worker_changes(old: WorkerPolicy, new: WorkerPolicy) -> list[str]:
    """One sentence for each key whose value in force differs; not of the queue."""
    said = [*_tier_changes(old, new), *schedule_changes(old, new), *_budget_changes(old.budget, new.budget, "budget")]
    return [*said, *_differences(dict(_values(old)), dict(_values(new)))]


def schedule_text(schedule: Schedule) -> str:
    """`0 8 * * mon-fri` for 10h Europe/Berlin: min_replicas 2."""
    lead = f", {as_policy(schedule.lead)} early" if schedule.lead else ""
    return f"`{schedule.cron}` for {as_policy(schedule.on_for)}{lead} {schedule.timezone}: {limits_of(schedule)}"


def schedule_changes(old: WorkerPolicy, new: WorkerPolicy) -> Iterator[str]:
    """The edit of the schedules; the order counts, because the first that is on holds."""
    if old.schedules == new.schedules:
        return
    yield from (f"schedule dropped: {schedule_text(one)}" for one in old.schedules if one not in new.schedules)
    yield from (f"schedule new: {schedule_text(one)}" for one in new.schedules if one not in old.schedules)
    if sorted(map(schedule_text, old.schedules)) == sorted(map(schedule_text, new.schedules)):
        yield "the schedules have another order, and the first that is on holds"


def budget_text(budget: Budget) -> str:
    """`40$ per month (UTC), then min_replicas; busy workers may overrun it by 10%`."""
    then = "min_replicas" if budget.at_budget == "min" else f"at most {workers(int(budget.at_budget))}"
    busy = f"busy workers may overrun it by {budget.overrun}"
    return f"{budget.amount} per {budget.per} ({budget.timezone}), then {then}; {busy}"


def _budget_changes(old: Budget | None, new: Budget | None, name: str) -> Iterator[str]:
    if old != new:
        before, after = ("none" if one is None else budget_text(one) for one in (old, new))
        yield f"{name}: {before} → {after}"


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return [
        f"{key}: {before.get(key, 'not set')} → {after.get(key, 'not set')}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]


def _tier_changes(old: WorkerPolicy, new: WorkerPolicy) -> Iterator[str]:
    if not old.tiers or not new.tiers:
        ways = _way(old), _way(new)
        if ways[0] != ways[1]:
            yield f"{ways[0]} {'are' if old.tiers else 'is'} replaced by {ways[1]}"
        return
    edges = sorted({0, *(tier.up_to + 1 for policy in (old, new) for tier in policy.tiers if tier.up_to is not None)})
    for index, depth in enumerate(edges):
        before, after = tier_replicas(old, depth), tier_replicas(new, depth)
        if before == after:
            continue
        last = edges[index + 1] - 1 if index + 1 < len(edges) else None
        yield f"{_depths(depth, last)}: {workers(after)} instead of {before}"


def _way(worker: WorkerPolicy) -> str:
    """The key that sets the number of workers."""
    if worker.tiers:
        return "tiers"
    if worker.slo is not None:
        return "slo"
    return "target_wait" if worker.per_worker is None else "per_worker"


def _depths(first: int, last: int | None) -> str:
    if last is None:
        return f"{first} jobs and more"
    return f"{first} job{'s' * (first != 1)}" if first == last else f"{first} to {last} jobs"


def _rhythm(policy: Policy) -> dict[str, str]:
    keys = ("interval", "wake_min_interval", "history_retention")
    return {key: as_policy(getattr(policy, key)) for key in keys}


def _values(worker: WorkerPolicy) -> Iterator[tuple[str, str]]:
    """The values in force except tiers and queue, by their keys in the file."""
    silent: set[tuple[str, ...]] = {("rate_limit", "keys")}
    if worker.target_wait is not None:  # idle_off replaces them
        silent |= {("scale_down", "cooldown"), ("scale_down", "stabilization_window")}
        if worker.scale_down.idle_off is None:
            yield "scale_down.idle_off", "learned"
    if worker.slo is not None:
        silent.add(("target_wait",))  # which the promise moves

    def walk(value: object, path: Sequence[str]) -> Iterator[tuple[str, str]]:
        if isinstance(value, BaseModel):
            for name in type(value).model_fields:
                if (path or name not in _IS_OF) and (*path, name) not in silent:
                    yield from walk(getattr(value, name), (*path, name))
        elif value is not None:
            yield ".".join(path), _text(value)

    yield from walk(worker, ())
    yield from _of_queues(worker)


def _of_queues(worker: WorkerPolicy) -> Iterator[tuple[str, str]]:
    """What each of several queues asks of the workers; where its jobs are is no value of a simulation."""
    for name, queue in worker.named_queues.items():
        for key in ("target_wait", "service_time", "weight"):
            if key in queue.model_fields_set:
                yield f"queues.{name}.{key}", _text(getattr(queue, key))


def _text(value: object) -> str:
    return as_policy(value) if isinstance(value, float) and not isinstance(value, Quantity) else str(value)
