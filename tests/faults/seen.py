"""What the harness sees of a run from outside, as plain values, and the record that the verdict takes.

All times are the harness' own monotonic seconds. The simulation knows what a process had read and when it trusted its
lease; here both are concluded from log lines, from requests that pass a link, and from what the fake Railway recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tests.faults.pace import Pace
from tests.support import record
from tests.support.record import Acquired, Calm, Change, Granted, Record, Sent, TakeOver

_OF_A_SENDING_CYCLE = frozenset({"OutcomeUnknown", "ScaleFailed"})
_REDIS_AWAY = frozenset({"restart redis", "restart redis empty"})


@dataclass
class Request:
    """A change asked of Railway as it left a controller, whatever became of it on the way."""

    at: float
    process: str
    epoch: int
    intent: str
    operation: str = ""


class Line(NamedTuple):
    """A log line, and when it arrived."""

    at: float
    process: str
    fields: Mapping[str, Any]

    @property
    def event(self) -> str:
        return str(self.fields.get("event"))


@dataclass
class Life(record.Life):
    """Of a process as it is seen from outside: it learned whenever it asked Redis, and was deaf while it was stopped.

    end: how it ended.
    """

    seat: str = ""
    end: str = ""


@dataclass
class Fault:
    """hit: whether it had an effect."""

    kind: str
    began: float
    target: str = ""
    healed: float | None = None
    hit: bool = True


class Demand(NamedTuple):
    """The depth that the queue was given: perhaps from began, certainly from ended on."""

    began: float
    ended: float
    depth: int


@dataclass
class Seen:
    """changes: as Railway recorded them, without their senders; unmarked: how many requests came without an epoch."""

    pace: Pace
    requests: list[Request] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    unmarked: int = 0
    lines: list[Line] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    demand: list[Demand] = field(default_factory=list)
    calms: list[Calm] = field(default_factory=list)
    take_overs: list[TakeOver] = field(default_factory=list)


def record_of(seen: Seen) -> Record:
    acquired = [
        Acquired(line.at, line.process, str(line.fields.get("holder")), line.fields["epoch"], knew_others=True)
        for line in seen.lines
        if line.event == "lease_acquired"
    ]
    sent = [_sent(seen, acquired, request, number) for number, request in enumerate(seen.requests)]
    granted: dict[str, Granted] = {}
    for one in sent:
        if one.intent is not None:
            granted.setdefault(one.intent.intent, one.intent)
    return Record(
        seen.pace.policy,
        seen.pace.landing,
        seen.pace.tolerance,
        granted=list(granted.values()),
        acquired=acquired,
        sent=sent,
        changes=_changes(seen),
        lives=[_life(seen, life) for life in seen.lives],
        lost_data_at=[fault.began for fault in seen.faults if fault.kind == "restart redis empty"],
        calms=seen.calms,
        take_overs=seen.take_overs,
        bugs=[*_bugs(seen), *_misread(seen)],
    )


def _sent(seen: Seen, acquired: list[Acquired], request: Request, number: int) -> Sent:
    at, who, epoch = request.at, request.process, request.epoch
    since = next((one.at for one in acquired if (one.who, one.epoch) == (who, epoch)), at)
    until = min((one.at for one in acquired if one.epoch > epoch), default=at)
    line = _cycle_of(seen, request)
    told = line.fields if line is not None else {}
    before, after, depth = (told.get(key) for key in ("configured", "desired", "depth"))
    intent = Granted(at, who, "", request.intent, epoch, before or 0, after or 0)
    return Sent(
        at,
        who,
        request.operation or f"request {number}",
        epoch,
        since,
        intent,
        before,
        depth,
        rivals=(),
        is_leader=at <= until + seen.pace.slack,
        knows_readings=line is not None,
    )


def _cycle_of(seen: Seen, request: Request) -> Line | None:
    """The line that closes the cycle in which it was sent, where the process lived to write it."""
    for line in seen.lines:
        if line.process == request.process and line.event == "reconcile" and line.at >= request.at:
            acted = line.fields.get("outcome") == "applied" or line.fields.get("reason") in _OF_A_SENDING_CYCLE
            return line if acted and line.fields.get("epoch") == request.epoch else None
    return None


def _changes(seen: Seen) -> list[Change]:
    senders = {request.intent: request.process for request in seen.requests}
    known = [change._replace(by=senders.get(change.intent, "unknown")) for change in seen.changes]
    return sorted(known, key=lambda change: change.at)


def _life(seen: Seen, life: Life) -> Life:
    """It learned what it asked Redis for while Redis and the way there were well, and it was awake."""
    link = f"{life.seat} to redis"
    deaf = life.deaf + [_times(fault) for fault in seen.faults if fault.target == link]
    away = deaf + [_times(fault) for fault in seen.faults if fault.kind in _REDIS_AWAY]
    learned = [at for at in life.learned if not any(since <= at <= until for since, until in away)]
    return replace(life, learned=learned, deaf=deaf)


def _times(fault: Fault) -> tuple[float, float]:
    return fault.began, float("inf") if fault.healed is None else fault.healed


def _bugs(seen: Seen) -> Iterator[str]:
    """No controller ends by itself, refuses to end, prints what is no log line, or crashes."""
    for life in seen.lives:
        if life.end.startswith("by itself") or life.end == "would not end":
            yield f"{life.who} ended {life.end}"
    for line in seen.lines:
        if line.event in {"crashed", "stray output"} or line.fields.get("outcome") == "crashed":
            yield f"{line.process}: {line.event}: {line.fields.get('message')}"


def _misread(seen: Seen) -> Iterator[str]:
    """A count that no depth wanted which the queue lately had, whatever the log says of the reading."""
    until = [one.ended for one in seen.demand[1:]] + [float("inf")]
    for change in _changes(seen):
        # A paused leader may act on a reading for as long as its lease lasts, and what it asks for may land late.
        since = change.at - 2 * seen.pace.ttl - seen.pace.landing
        lately = {
            seen.pace.wanted(one.depth)
            for one, end in zip(seen.demand, until, strict=True)
            if one.began <= change.at + seen.pace.slack and end >= since
        }
        if change.after not in lately:
            wanted = ", ".join(map(str, sorted(lately)))
            yield f"{change.at:.3f}: {change.by} asked for {change.after}, and the queue wanted {wanted} lately"
