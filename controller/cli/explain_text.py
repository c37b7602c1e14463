"""What `autoscaler explain` prints: the readings, each rule's result, and the outcome, for people.

The rules come in their order, each with the count that it leaves: a later rule only limits what an earlier one wants,
so the last row that is not `no change` is the key to edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from controller.cli import output
from controller.cli.explain import Explanation
from controller.core.jobs_each import JobsEach
from controller.core.model import ServiceTime
from controller.core.rules import Step
from controller.core.text.masking import Masker
from controller.core.units import in_words
from controller.loop.cycle import PartSeen


def as_object(explanation: Explanation) -> dict[str, Any]:
    """The log line's keys, what else the queue holds (null where that is unknown), and the steps of the pass."""
    explained, rests = explanation.explained, explanation.rests.values()
    besides = {
        "scheduled": _sum(rest.scheduled if rest else None for rest in rests),
        "failed": _sum(rest.failed if rest else None for rest in rests),
    }
    learned = {} if explained.way_down is None else {"way_down": explained.way_down.as_object()}
    promised = {} if explained.kept is None else {"slo": explained.kept.as_object()}
    return {
        **explained.cycle.line(),
        **besides,
        "steps": list(explained.steps),
        **learned,
        **promised,
        **({} if explanation.shadow is None else {"shadow": asdict(explanation.shadow)}),
        "event": "explain",
    }


def _sum(counts: Iterable[int | None]) -> int | None:
    """None if one of them is unknown."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def show(explanation: Explanation, mask: Masker) -> None:
    """On stdout, in lines that fit the terminal."""
    cycle, rules = explanation.explained.cycle, explanation.explained.rules
    output.show(mask.text(cycle.worker), style="heading")
    for label, text in seen(explanation):
        output.show(mask.text(text), first=f"  {label:<9}  ")
    if rules:
        print()
        rows = [("rule", "wants", "why"), *((name, str(wants), words) for name, wants, words in turns(rules))]
        output.show_table(mask.value(rows), right={1}, indent="  ")
    if explanation.explained.steps:
        print()
        output.show(mask.text("; ".join(explanation.explained.steps)), first="  steps      ")
    print()
    output.show(mask.text(cycle.message), first="  → ")
    print()


def seen(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """What was read: a label, and the words."""
    cycle, rests = explanation.explained.cycle, explanation.rests
    queue, replicas, rate, cooldowns = cycle.queue, cycle.replicas, cycle.rate, cycle.cooldowns
    if queue is not None:
        yield "queue", "; ".join(filter(None, (queue.sentence, queue.waited)))
        yield from (("note", remark.text) for remark in queue.remarks)
    yield from (("", _of_part(seen)) for seen in cycle.parts)
    if replicas is not None:
        yield (
            explanation.platform,
            f"configured {replicas.configured}, running {replicas.running} ({replicas.state.value})",
        )
    yield from _aims(explanation)
    if cycle.schedule is not None:
        yield "schedule", cycle.schedule.message
    if cycle.pool is not None:
        yield "pool", cycle.pool.message
    yield from (("budget", one.message) for one in cycle.budgets or ())
    if cooldowns is not None:
        yield "cooldowns", f"{_left('may scale up', cooldowns.up)}, {_left('may scale down', cooldowns.down)}"
    if rate is not None:
        yield "rate", f"{rate.used} of {rate.limit} requests used in this minute"
    if explanation.shadow is not None:
        yield "shadow", f"would be at {explanation.shadow.desired}: {explanation.shadow.message}"
        yield "", f"{explanation.shadow.comparison}, since {explanation.shadow.counted_since}"
    for name, rest in rests.items():
        if rest is not None:
            yield "also", f"queue {name}: {rest.sentence}" if name else rest.sentence


def _of_part(seen: PartSeen) -> str:
    """One of several queues: what it holds, and what it asks for."""
    depth = seen.part.depth
    held = ["cannot be read"] if depth is None else [depth.sentence, depth.waited]
    return f"queue {seen.part.name}: {'; '.join(filter(None, (*held, seen.words)))}"


def _strictest(target_wait_s: float) -> str:
    return f"a wait of {in_words(target_wait_s)}, the strictest of its queues"


def _aims(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """What the policy goes by, and how long a worker stays that is not needed."""
    cycle = explanation.explained.cycle
    if cycle.target_wait_s is not None:
        yield "aim", _strictest(cycle.target_wait_s) if cycle.parts else _aim(cycle.service, cycle.target_wait_s)
    if explanation.explained.kept is not None:
        yield "promise", explanation.explained.kept.sentence
    if (way_down := explanation.explained.way_down) is not None:
        if way_down.long_run is not None:
            mean_s, jobs = way_down.long_run.mean_s, way_down.long_run.jobs
            yield "", f"of all jobs so far (the newest {jobs} count most) one took {in_words(mean_s)}; the longer holds"
        yield from (("way down" if not place else "", text) for place, text in enumerate(way_down.sentences))
    jobs_each = None if explanation.worker is None else JobsEach.of(explanation.worker)
    if jobs_each is not None:
        yield "aim", jobs_each.words
    if cycle.max_wait_s is not None:
        yield "guard", f"one worker more at a time once the oldest ready job has waited {in_words(cycle.max_wait_s)}"


def _aim(service: ServiceTime | None, target_wait_s: float) -> str:
    wait = f"a wait of {in_words(target_wait_s)}"
    if service is None:
        return f"{wait}; how long a job takes is not known yet"
    by = f"the newest {service.jobs} (median {in_words(service.median_s)})" if service.jobs else "the policy"
    return f"{wait}; a job takes {in_words(service.mean_s)}, by {by}"


def _left(name: str, seconds: float) -> str:
    return f"{name} in {in_words(seconds)}" if seconds > 0 else f"{name} now"


def turns(rules: Sequence[Step]) -> Iterator[tuple[str, int, str]]:
    """Each rule, the count that it leaves, and why it changed it."""
    for rule in rules:
        yield rule.rule, rule.desired, rule.because.words if rule.because else "no change"
