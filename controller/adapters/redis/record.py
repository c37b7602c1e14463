"""A worker's record in Redis: a hash of text fields ↔ a History. Pure.

    memory, revision, run     its identity: set once; raised with each write of a leader; the server process it was
                              written on
    raised                    how often a standby gave back what the record had lost
    last_up, last_down        the last scale in each direction
    since                     when this history began, or was last in doubt (data lost, rolled back, a server restarted)
    intent, intent_…          the open change
    count                     the replicas last agreed with the platform
    refused_at, refused_to, setbacks    the last change that failed, and how many failed in a row
    start_ups                 how long the newest starts took, in milliseconds; start_up: the median of these
    start_at, start_before, start_after, start_seen    the scale-up that is being measured
    unseen_stop               the deployment whose stop was accepted but is not shown
    wants, wanted_at, unbroken_since, window    the recommendations that may still be the highest of the window
    apart                     milliseconds between the newest two polls
    pauses_1, pauses_2, …     of worker 1, 2, …: its newest pauses, two characters each (see pauses_as_text)
    kept, learned_at          by worker: how long it is kept that is not needed, in milliseconds, and since when
    jobs_mean, jobs_count, jobs_to    the mean time of all jobs, how many it counts, and up to which end
    load                      jobs in progress as a share of what max_replicas can run, over how many ms, and up to when
    slo                       of a promise: integral, when it was moved, up to which end of a job, and its tally
    at_max                    the newest times, from and to, with max_replicas configured; + at the end: it goes on
    watch                     the service's conditions, as one JSON text (see core/watch.py)
    read_at, unread, unread_at    when the queue was read, and how many cycles in a row could not read it
    queue_seen                the queue in which jobs were last seen
    overrides                 what operators have asked for, as one JSON text (see core/override.py)
    schedule                  the schedule whose begin was told, and whose end was not
    spent                     worker-seconds by period, for budgets, as one JSON text (see core/budget.py)
    scaled_within             min..max of the policy by which the last change was made, with a digest of its schedules,
                              and of the last policy with others before it
    service, name             the owner: the service, and the worker's name when it was last written

Timestamps are milliseconds of Redis' own clock. In a write, NOW stands for the time at which the script runs.

The version before keeps the recommendations in a sorted set of its own, and `recommended_at` in the place of
`wanted_at`. Both are read. A write deletes `recommended_at`, so that the version before, should it come back, sees a
gap and waits for a whole window before it removes a worker. Cooldowns and the open change are the same fields in both.
"""

from __future__ import annotations

import functools
import json
import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.core import pauses
from controller.core.budget import Spent
from controller.core.load import Load
from controller.core.model import Change, Direction, History, LongRun, Recommendation, Start
from controller.core.override import Overrides
from controller.core.slo import Promise, Tally
from controller.core.text import bounds
from controller.core.watch import Watch

NOW = "@"
_MOST_DIGITS = 15
"""Digits of any number that we store; milliseconds since the epoch have 13."""
_MOST_FLOAT = 30
_DIGITS = string.ascii_letters + string.digits + "+/"
_PLACE_OF = {digit: place for place, digit in enumerate(_DIGITS)}
_NO_TEXT = "\ufffd"
"""The character that replaces bytes that are not UTF-8."""
_GOES_ON = "+"
"""At the end of `at_max`: the last time still goes on."""
_UNKNOWN = "="
"""In `intent_previous`: not known any more, since the change was given back by a process that remembered it."""
_VERSION = ("memory", "revision", "run", "raised")
_OURS = (
    *("last_up", "last_down", "since", "count", "refused_at", "refused_to", "setbacks", "start_up", "unseen_stop"),
    *("start_ups", "apart", "kept", "learned_at", "jobs_mean", "jobs_count", "jobs_to", "load", "slo", "at_max"),
    *(f"pauses_{place + 1}" for place in range(pauses.PLACES)),
    *("start_at", "start_before", "start_after", "start_seen", "wants", "wanted_at", "unbroken_since", "window"),
    *("watch", "read_at", "unread", "unread_at", "queue_seen", "recommended_at", "overrides"),
    "schedule",
    "spent",
    "scaled_within",
    *("intent", "intent_epoch", "intent_before", "intent_after", "intent_at", "intent_accepted", "intent_previous"),
    *("intent_stops", "intent_within"),
)
"""What write_of() decides; a field that is not here belongs to another version and stays."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it was read, and the run_id of the server that answered ("" where it may not be asked)."""

    fields: Mapping[str, str]
    server: str

    @property
    def version(self) -> tuple[str, ...]:
        """memory, revision, run, raised, as Redis must still hold them for a write."""
        return tuple(self.fields.get(name, "") for name in _VERSION)

    @property
    def exists(self) -> bool:
        return "memory" in self.fields

    @property
    def revision(self) -> int:
        return number(self.fields.get("revision", "0"))

    @property
    def is_of_another_run(self) -> bool:
        return self.exists and self.fields.get("run", "") != self.server


@dataclass(frozen=True, slots=True)
class Write:
    """Fields to set and to delete. In the value of a field in `stamped`, NOW is replaced by the script's time."""

    values: Mapping[str, str]
    deleted: Sequence[str] = ()
    stamped: frozenset[str] = field(default_factory=frozenset)


def history_of(fields: Mapping[str, str], past: Sequence[str] = ()) -> History:
    """past: the members of the sorted set of the version before, oldest first.

    Raises:
        ValueError, KeyError: a field is not what a controller writes.
    """
    if _NO_TEXT in "".join(fields.get(name, "") for name in (*_VERSION, "intent")):
        raise ValueError("is binary, so it cannot be sent back unchanged")
    return History(
        last_up=_stamp(fields, "last_up"),
        last_down=_stamp(fields, "last_down"),
        since=_stamp(fields, "since"),
        unbroken_since=_stamp(fields, "unbroken_since"),
        remembered_at=_stamp(fields, "recommended_at") or _stamp(fields, "wanted_at"),
        window=seconds(fields.get("window", "0")),
        recommendations=_recommendations(fields.get("wants", ""), past if "recommended_at" in fields else ()),
        apart_s=_stamp(fields, "apart"),
        pauses=_pauses(fields),
        kept_s=tuple(None if one == "-" else seconds(one) for one in fields.get("kept", "").split()),
        learned_at=_stamp(fields, "learned_at"),
        long_run=_long_run(fields),
        load=_load(fields),
        promise=_promise(fields),
        change=_change(fields),
        count=number(fields["count"]) if "count" in fields else None,
        refused_at=_stamp(fields, "refused_at"),
        refused_to=number(fields["refused_to"]) if fields.get("refused_to") else None,
        setbacks=number(fields.get("setbacks", "0")),
        unconfirmed_stop=fields.get("unseen_stop"),
        start_ups=tuple(seconds(one) for one in fields.get("start_ups", fields.get("start_up", "")).split()),
        queue_seen=fields.get("queue_seen", ""),
        start=_start(fields),
        read_at=_stamp(fields, "read_at"),
        unread=_unread(fields),
        unread_at=_stamp(fields, "unread_at"),
        watch=Watch.from_text(fields.get("watch")),
        overrides=Overrides.from_text(fields.get("overrides")),
        schedule=fields.get("schedule", ""),
        spent=Spent.from_text(fields.get("spent")),
        scaled_within=fields.get("scaled_within", ""),
    )


def write_of(stored: Stored, history: History, now: float) -> Write:
    """What has to be written so that the record holds this history; new timestamps that equal `now` become NOW."""
    held, change = stored.fields, history.change

    def stamp(name: str, at: float | None) -> str:
        text = "" if at is None else str(ms(at))
        return NOW if at == now and held.get(name) != text else text

    known = set(held.get("wants", "").split())
    wanted = [(one, f"{ms(one.at)}:{one.replicas}") for one in history.recommendations]
    stamps = _stamps_of(history)
    texts = {
        **{name: stamp(name, at) for name, at in stamps.items()},
        "wants": " ".join(
            f"{NOW}:{one.replicas}" if one.at == now and text not in known else text for one, text in wanted
        ),
        **_other_texts_of(history),
        **({} if change is None else _texts_of(change)),
    }
    values = {name: text for name, text in texts.items() if text}
    if change is not None:
        values.setdefault("intent_previous", "")  # "": there was none; a missing one is unknown
    return Write(
        values={name: text for name, text in values.items() if held.get(name) != text},
        deleted=[name for name in _OURS if name in held and name not in values],
        stamped=frozenset((*stamps, "wants")),
    )


def _stamps_of(history: History) -> dict[str, float | None]:
    change, start = history.change, history.start
    return {
        "last_up": history.last_up,
        "last_down": history.last_down,
        "since": history.since,
        "unbroken_since": history.unbroken_since,
        "wanted_at": history.remembered_at,
        "learned_at": history.learned_at,
        "refused_at": history.refused_at,
        "read_at": history.read_at,
        "unread_at": history.unread_at if history.unread else None,
        "intent_at": None if change is None else change.at,
        "intent_previous": None if change is None else change.previous,
        "start_at": None if start is None else start.at,
        "start_seen": None if start is None else start.seen,
    }


def _other_texts_of(history: History) -> dict[str, str]:
    """Neither timestamps nor of the open change; "": it is not set."""
    start = history.start
    return {
        "window": str(ms(history.window)),
        "count": _text(history.count),
        "refused_to": _text(history.refused_to),
        "setbacks": _text(history.setbacks or None),
        "unseen_stop": history.unconfirmed_stop or "",
        "start_up": "" if history.start_up_s is None else str(ms(history.start_up_s)),
        "start_ups": " ".join(str(ms(one)) for one in history.start_ups),
        "apart": "" if history.apart_s is None else str(ms(history.apart_s)),
        "kept": " ".join("-" if one is None else str(ms(one)) for one in history.kept_s),
        **{f"pauses_{place + 1}": pauses_as_text(one) for place, one in enumerate(history.pauses)},
        **({} if history.long_run is None else _texts_of_long_run(history.long_run)),
        "load": "" if history.load is None else _text_of_load(history.load),
        **({} if history.promise is None else _texts_of_promise(history.promise)),
        "unread": _text(history.unread or None),
        "queue_seen": history.queue_seen,
        "watch": "" if history.watch == Watch() else history.watch.as_text(),
        "overrides": history.overrides.as_text(),
        "schedule": history.schedule,
        "spent": "" if history.spent is None else history.spent.as_text(),
        "scaled_within": history.scaled_within,
        "start_before": _text(None if start is None else start.before),
        "start_after": _text(None if start is None else start.after),
    }


def _texts_of_long_run(long_run: LongRun) -> dict[str, str]:
    # Digits of a millisecond are too few for jobs that take 10 ms.
    mean, jobs, newest = (repr(one) for one in (long_run.mean_s, long_run.jobs, long_run.newest))
    return {"jobs_mean": mean, "jobs_count": jobs, "jobs_to": newest}


def _long_run(fields: Mapping[str, str]) -> LongRun | None:
    if not fields.get("jobs_count"):
        return None
    mean, newest = (float(bounds.cut(fields[name], _MOST_FLOAT)) for name in ("jobs_mean", "jobs_to"))
    jobs = number(fields["jobs_count"])
    if not (math.isfinite(mean) and math.isfinite(newest) and mean >= 0 and 0 < jobs <= LongRun.MOST):
        raise ValueError("is no mean of jobs")
    return LongRun(mean, jobs, newest)


def _text_of_load(load: Load) -> str:
    return f"{load.share!r} {ms(load.observed_s)} {ms(load.at)}"


def _load(fields: Mapping[str, str]) -> Load | None:
    if not fields.get("load"):
        return None
    share, observed, at = fields["load"].split()
    load = Load(float(bounds.cut(share, _MOST_FLOAT)), seconds(observed), seconds(at))
    if not load.is_sound:
        raise ValueError("is no load")
    return load


def _texts_of_promise(promise: Promise) -> dict[str, str]:
    newest = "-" if promise.newest is None else repr(promise.newest)
    learned_at = "-" if promise.learned_at is None else str(ms(promise.learned_at))
    return {
        "slo": " ".join((repr(promise.integral), learned_at, newest, *map(str, promise.tally))),
        "at_max": " ".join(f"{ms(begin)}:{ms(end)}" for begin, end in promise.spans) + _GOES_ON * promise.is_at_max,
    }


def _promise(fields: Mapping[str, str]) -> Promise | None:
    if not fields.get("slo"):
        return None
    integral, learned_at, newest, *tally = fields["slo"].split()
    at_max = fields.get("at_max", "")
    spans = [one.split(":") for one in at_max.removesuffix(_GOES_ON).split()]
    promise = Promise(
        float(bounds.cut(integral, _MOST_FLOAT)),
        None if learned_at == "-" else seconds(learned_at),
        None if newest == "-" else float(bounds.cut(newest, _MOST_FLOAT)),
        Tally(*map(number, tally)),
        tuple((seconds(begin), seconds(end)) for begin, end in spans),
        at_max.endswith(_GOES_ON),
    )
    if len(tally) != len(Tally._fields) or not promise.is_sound:
        raise ValueError("is no promise")
    return promise


@functools.lru_cache(maxsize=4096)
def pauses_as_text(each: tuple[float, ...]) -> str:
    """Two characters for each pause: its length in steps, a number to the base of 64."""
    steps = [round(one / pauses.STEP_S) for one in each]
    return "".join(_DIGITS[step // 64] + _DIGITS[step % 64] for step in steps)


@functools.lru_cache(maxsize=4096)
def pauses_of(text: str) -> tuple[float, ...]:
    """The pauses of pauses_as_text().

    Raises:
        ValueError: it is not such a text.
    """
    if len(text) % 2 or len(text) > 2 * pauses.MOST_PAUSES or not set(text) <= set(_DIGITS):
        raise ValueError("is no list of pauses")
    places = [_PLACE_OF[one] for one in text]
    return tuple(
        pauses.rounded((64 * high + low) * pauses.STEP_S) for high, low in zip(places[::2], places[1::2], strict=True)
    )


def _pauses(fields: Mapping[str, str]) -> tuple[tuple[float, ...], ...]:
    texts = [fields.get(f"pauses_{place + 1}", "") for place in range(pauses.PLACES)]
    while texts and not texts[-1]:
        texts.pop()
    return tuple(map(pauses_of, texts))


def _texts_of(change: Change) -> dict[str, str]:
    return {
        "intent": change.id,
        "intent_epoch": str(change.epoch),
        "intent_before": str(change.before),
        "intent_after": str(change.after),
        "intent_accepted": str(int(change.is_accepted)),
        "intent_stops": f"{change.id}:{change.stops}" if change.stops else "",
        "intent_within": f"{change.id}:{change.within}" if change.within else "",
    }


def record_of(text: str) -> dict[str, str]:
    """A record as our scripts return it; see recall.lua."""
    return hash_of(json.loads(text))


def hash_of(flat: object) -> dict[str, str]:
    """A hash from Redis' flat list. Values longer than any of ours are cut; a cut one is neither a number nor JSON."""
    if not flat:
        return {}
    fields = dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else dict(flat)  # type: ignore[call-overload]  # what redis-py gives is a list or a mapping of texts
    return {name: bounds.cut(text, bounds.PUBLISHED) for name, text in fields.items()}


def _start(fields: Mapping[str, str]) -> Start | None:
    if not fields.get("start_at"):
        return None
    before, after = number(fields["start_before"]), number(fields["start_after"])
    return Start(seconds(fields["start_at"]), before, after, _stamp(fields, "start_seen"))


def _unread(fields: Mapping[str, str]) -> int:
    """Failed readings in a row; 0 if a reading came after. The version before notes most only as recommendations."""
    read_at = max(_stamp(fields, name) or 0.0 for name in ("recommended_at", "wanted_at", "read_at"))
    return number(fields["unread"]) if (_stamp(fields, "unread_at") or 0.0) > read_at else 0


def _change(fields: Mapping[str, str]) -> Change | None:
    if not fields.get("intent"):
        return None
    before, after = number(fields["intent_before"]), number(fields["intent_after"])
    scaled_at = _stamp(fields, f"last_{Direction.between(before, after).value}")
    at = seconds(fields["intent_at"])
    previous = fields.get("intent_previous", _UNKNOWN)
    return Change(
        id=fields["intent"],
        epoch=number(fields["intent_epoch"]),
        before=before,
        after=after,
        at=at,
        accepted_at=(at if scaled_at is None else scaled_at) if fields.get("intent_accepted") == "1" else None,
        stops=_of_the_change(fields, "intent_stops") or None,
        within=_of_the_change(fields, "intent_within"),
        previous=scaled_at if previous == _UNKNOWN else seconds(previous) if previous else None,
    )


def _of_the_change(fields: Mapping[str, str], name: str) -> str:
    """A value that stands behind the change's id; one for another change is a leftover of an older version."""
    ident, _, text = fields.get(name, "").partition(":")
    return text if ident == fields["intent"] else ""


def _recommendations(wants: str, past: Sequence[str]) -> tuple[Recommendation, ...]:
    """past: members of the sorted set, `<ms>:<count>:<a random name>`."""
    pairs = [member.split(":")[:2] for member in (*past, *wants.split())]
    return tuple(sorted((Recommendation(seconds(at), number(count)) for at, count in pairs), key=lambda one: one.at))


def _text(count: int | None) -> str:
    return "" if count is None else str(count)


def _stamp(fields: Mapping[str, str], name: str) -> float | None:
    return seconds(fields[name]) if fields.get(name) else None


def readable(fields: Mapping[str, str], name: str) -> int | None:
    """The field as a number; None if it is missing or malformed."""
    try:
        return number(fields[name])
    except (KeyError, ValueError):
        return None


def number(text: str) -> int:
    """A whole number of ours.

    Raises:
        ValueError: it is none, or longer than any that we store.
    """
    if len(text) > _MOST_DIGITS:
        raise ValueError("too long to be a number of ours")
    return int(text)


def seconds(milliseconds: str) -> float:
    return number(milliseconds) / 1000


def ms(at: float) -> int:
    return round(at * 1000)
