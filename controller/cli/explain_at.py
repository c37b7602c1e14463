"""`autoscaler explain --at TIME`: what was seen and decided at a moment of the past, from the history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.cli import output
from controller.cli.arguments import now
from controller.core.reasons import REASONS, Reason
from controller.core.timeline import MINUTE_S, REPEATED_S, Decided, Happening, Sample, matching
from controller.core.units import in_words, iso

if TYPE_CHECKING:
    from controller.configuration import JournalConfiguration
    from controller.core.ports import Timeline

_AT_ONCE, _MOST_AROUND = 500, 10_000
"""Happenings of one reading; those before and those after the moment that are looked through."""
_DAY_S = 24 * 3600.0
_SILENT_S = 3 * MINUTE_S
_CHANGES = {"scaled", "scale_failed", "external_change"}


@dataclass(frozen=True, slots=True)
class Moment:
    """at: the moment. decided: the last decision until then; None: none is recorded. sample: of the minute around it.

    before, after: the changes next to it. failing: what failed then, with the time since when.
    """

    worker: str
    at: float
    decided: Decided | None
    sample: Sample | None
    before: Happening | None
    after: Happening | None
    failing: tuple[Happening, ...] = ()

    @property
    def is_known(self) -> bool:
        return self.decided is not None

    @property
    def lines(self) -> Iterator[str]:
        decided = self.decided
        if decided is None:
            yield (
                f"nothing is recorded for {self.worker} at that time: no controller led, or it is longer ago than the "
                "history is kept (history_retention)"
            )
            return
        yield f"{decided.outcome} {_count(decided)}, decided at {_clock(decided.at)}: {_seen(decided)}"
        if self.sample is None:
            yield "no cycle is recorded around that time: it may be that no controller led then"
        else:
            yield f"jobs in that stretch: {_range(self.sample)}; on average {_mean(self.sample.running)} workers ran"
            if self.sample.shadow is not None:
                yield f"the shadow policy would have had {_mean(self.sample.shadow)} on average"
        last = len(decided.reasons) - 1
        for place, reason in enumerate(decided.reasons):
            decides = " (this one decided)" if place == last and last else ""
            yield f"{reason}: {_meaning(reason)}{decides}"
        for one in self.failing:
            yield f"failing since {_clock(one.at)}: {one.figures.get('source')}: {one.message}"
        yield f"the change before: {_change(self.before)}"
        yield f"the change after: {_change(self.after)}"

    def as_object(self) -> dict[str, Any]:
        decided, sample = self.decided, self.sample
        return {
            "worker": self.worker,
            "at": iso(self.at),
            "decided": None if decided is None else {**decided._asdict(), "at": iso(decided.at)},
            "sample": None if sample is None else {**sample._asdict(), "at": iso(sample.at)},
            "before": None if self.before is None else self.before.as_object(),
            "after": None if self.after is None else self.after.as_object(),
            "failing": [one.as_object() for one in self.failing],
        }


def run(configuration: JournalConfiguration, workers: list[str], at: float, *, as_json: bool) -> int:
    """The exit code: 1 if nothing is recorded for a worker."""
    moments = output.answered(_moments(configuration, workers, at), configuration.mask)
    for moment in moments:
        if as_json:
            output.print_json(configuration.mask.value(moment.as_object()))
            continue
        output.show(f"{configuration.mask.text(moment.worker)} at {iso(at)[:19]}Z", style="heading")
        for line in moment.lines:
            output.show(configuration.mask.text(line), first="  ", rest="    ")
    return 0 if all(moment.is_known for moment in moments) else 1


async def _moments(configuration: JournalConfiguration, workers: list[str], at: float) -> list[Moment]:
    from controller.journal import opened_timeline

    async with opened_timeline(configuration) as timeline:
        return [await moment(timeline, worker, at, now()) for worker in workers]


async def moment(timeline: Timeline, worker: str, at: float, now: float) -> Moment:
    """now: the sample of the present minute is not written yet, so that of the minute before stands for it."""
    found = await timeline.decided(worker, at - 2 * REPEATED_S, at, most=1)
    samples = await timeline.samples(worker, at - _SILENT_S, at + 10 * MINUTE_S)
    earlier = matching(await _happenings(timeline, 0.0, at), worker=worker)
    later = matching(await _happenings(timeline, at + 0.001, at + _DAY_S), worker=worker)
    return Moment(
        worker,
        at,
        found[0] if found else None,
        next((one for one in samples if one.at >= at), samples[-1] if samples and now - at < 2 * MINUTE_S else None),
        next((one for one in earlier if one.event in _CHANGES), None),
        next((one for one in reversed(later) if one.event in _CHANGES), None),
        tuple(_failing(earlier)),
    )


async def _happenings(timeline: Timeline, since: float, until: float) -> list[Happening]:
    """The newest first. A day of a busy group has thousands, and what is next to the moment may be the last of them."""
    found: list[Happening] = []
    after = ""
    while True:
        page = await timeline.happenings(since, until, most=_AT_ONCE, after=after)
        found += page.happenings
        after = page.more
        if not after or len(found) >= _MOST_AROUND:
            return found


def _failing(earlier: list[Happening]) -> Iterator[Happening]:
    """What began to fail and was not well again by then; the newest first."""
    over: set[object] = set()
    for one in earlier:
        source = one.figures.get("source")
        if one.event == "recovered":
            over.add(source)
        elif one.event == "failing" and source not in over:
            over.add(source)
            yield one


def _count(decided: Decided) -> str:
    if decided.configured is None or decided.desired is None:
        return "(the count was unknown)"
    if decided.configured == decided.desired:
        return f"at {decided.desired}"
    return f"{decided.configured} → {decided.desired}"


def _seen(decided: Decided) -> str:
    jobs = (
        "the queue could not be read"
        if decided.pending is None or decided.processing is None
        else f"{decided.pending} pending, {decided.processing} processing"
    )
    waited = "" if decided.oldest_age_s is None else f", the oldest had waited {in_words(decided.oldest_age_s)}"
    running = "an unknown number" if decided.running is None else str(decided.running)
    wanted = "" if decided.recommended is None else f"; {decided.recommended} recommended"
    return f"{jobs}{waited}; {running} running{wanted}"


def _range(sample: Sample) -> str:
    if sample.depth_min is None or sample.depth_max is None:
        return "unknown"
    return f"{sample.depth_min:.0f} to {sample.depth_max:.0f}"


def _mean(value: float | None) -> str:
    return "an unknown number of" if value is None else f"{value:.3g}"


def _meaning(reason: str) -> str:
    return REASONS[Reason(reason)][0] if reason in set(Reason) else "a reason that this version does not know"


def _change(one: Happening | None) -> str:
    return "none is recorded" if one is None else f"{_clock(one.at)} {one.event}: {one.message}"


def _clock(at: float) -> str:
    return f"{iso(at)[:19].replace('T', ' ')}Z"
