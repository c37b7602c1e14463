"""What happened, and what was decided when: the entries of the controller's history, and their short forms. Pure.

The history answers three questions, and keeps a kind of entry for each, because they differ in number and in size:

- Happening: what happened? Changes, faults, takeovers, overrides. One for each.
- Decided: what was decided at that moment, and why? One each time that outcome, reasons or counts change, and one an
  hour, so that an older one is never needed.
- Sample: how many jobs and workers were there? One a minute, and one each ten minutes, which are kept longer.

A Redis holds them for a week, so each form is short: no names of fields, and nothing where there is no value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

from controller.core.text import bounds
from controller.core.units import iso

MOST_HAPPENINGS = 20_000
MOST_DECIDED = 60_480
"""Of one worker: as many as a week has cycles of 10 s, so that no moment of the usual retention is without one."""
MINUTE_S, TEN_MINUTES_S = 60.0, 600.0
MINUTES_KEPT_S = 24 * 3600.0
REPEATED_S = 3600.0
"""One that does not change is written again after this time."""
LONGEST_MESSAGE = 240
_LARGEST = 1e12


@dataclass(frozen=True, slots=True)
class Happening:
    """at: as the log has it; 0 until it is written. event: `scaled`, `failing`, or the name of a log event.

    worker: "" if it concerns no single one. ident: of two with the same one, only the first is kept; "": each is.
    figures: counts, reasons and the like, by name.
    """

    event: str
    worker: str = ""
    message: str = ""
    ident: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0

    @property
    def reasons(self) -> tuple[str, ...]:
        found = self.figures.get("reasons", ())
        return tuple(map(str, found)) if isinstance(found, list | tuple) else ()

    def as_object(self) -> dict[str, Any]:
        """For JSON: the command and GET /history have the same keys."""
        ours: dict[str, Any] = {
            "at": iso(self.at),
            "event": self.event,
            "worker": self.worker or None,
            "message": self.message,
        }
        return {**ours, **{name: value for name, value in self.figures.items() if name not in ours}}

    def as_fields(self) -> dict[str, str]:
        """For the store; only what there is."""
        # A figure may be any value of an event; what JSON does not know is written as text.
        figures = json.dumps(dict(self.figures), separators=(",", ":"), default=str) if self.figures else ""
        fields = {
            "e": self.event,
            "w": self.worker,
            "m": bounds.cut(self.message, LONGEST_MESSAGE),
            "i": self.ident,
            "f": figures,
            "t": f"{self.at:.3f}" if self.at else "",
        }
        return {name: text for name, text in fields.items() if text}

    @classmethod
    def from_fields(cls, fields: Mapping[str, str], at: float) -> Self:
        """at: when it was written, by the store's clock; an entry that was written late says when it happened.

        What cannot be read is left out: another version may have written it.
        """
        try:
            figures = json.loads(fields.get("f") or "{}")
        except (ValueError, RecursionError):
            figures = {}
        return cls(
            event=bounds.cut(fields.get("e", "?"), bounds.NAME),
            worker=bounds.cut(fields.get("w", ""), bounds.NAME),
            message=bounds.cut(fields.get("m", ""), LONGEST_MESSAGE),
            ident=bounds.cut(fields.get("i", ""), bounds.NAME),
            figures=figures if isinstance(figures, dict) else {},
            at=_moment(fields.get("t")) or at,
        )


class Decided(NamedTuple):
    """What a cycle decided. at: as the log has it; 0 until it is written. None: not known in that cycle."""

    outcome: str
    reasons: tuple[str, ...]
    pending: int | None = None
    processing: int | None = None
    oldest_age_s: float | None = None
    configured: int | None = None
    running: int | None = None
    recommended: int | None = None
    desired: int | None = None
    at: float = 0.0

    @property
    def kind(self) -> tuple[object, ...]:
        """Two in a row with the same one are written once; jobs and their age may differ."""
        return self.outcome, self.reasons, self.configured, self.running, self.recommended, self.desired

    def as_text(self) -> str:
        return "|".join([self.outcome, ",".join(self.reasons), *map(_short, self[2:9])])

    @classmethod
    def from_text(cls, text: str, at: float) -> Self:
        """Raises ValueError: it is not such a text."""
        outcome, reasons, *figures = bounds.cut(text, bounds.MESSAGE).split("|")
        pending, processing, age, configured, running, recommended, desired = map(_number, figures)
        known = tuple(filter(None, reasons.split(",")))
        seen = (_count(pending), _count(processing), age)
        return cls(outcome, known, *seen, _count(configured), _count(running), _count(recommended), _count(desired), at)


class Sample(NamedTuple):
    """Jobs and workers in a stretch of `seconds` that ends at `at`, over the part of it that was seen.

    depth_*: jobs. oldest_s: the longest wait of an oldest ready job. configured, running, desired: means, in replicas;
    shadow: what a shadow policy would have had. None: not seen. seen_s: for how many of the seconds the running workers
    were known.
    """

    seen_s: float
    depth_min: float | None = None
    depth_mean: float | None = None
    depth_max: float | None = None
    oldest_s: float | None = None
    configured: float | None = None
    running: float | None = None
    desired: float | None = None
    at: float = 0.0
    shadow: float | None = None

    def as_text(self) -> str:
        """Without a shadow it is as earlier versions wrote it."""
        figures = self[:8] if self.shadow is None else (*self[:8], self.shadow)
        return "|".join(map(_short, figures))

    @classmethod
    def from_text(cls, text: str, at: float) -> Self:
        """Raises ValueError: it is not such a text."""
        seen_s, least, mean, most, *others = (_number(one) for one in bounds.cut(text, bounds.MESSAGE).split("|"))
        oldest, configured, running, desired, *shadow = others
        if seen_s is None or len(shadow) > 1:
            raise ValueError("is not a sample")
        return cls(seen_s, least, mean, most, oldest, configured, running, desired, at, *shadow)


@dataclass(frozen=True, slots=True)
class Glance:
    """What one cycle saw, for the samples."""

    at: float
    depth: int | None
    oldest_age_s: float | None
    configured: int | None
    running: int | None
    desired: int | None
    shadow: int | None = None


@dataclass(slots=True)
class Sampler:
    """Adds up what cycles see, and gives a sample for each stretch of `every_s` seconds, aligned to the clock.

    What a cycle sees holds until the next, but at most for `longest_s`: after a gap it is unknown.
    """

    every_s: float
    longest_s: float
    _last: Glance | None = None
    _depths: list[tuple[float, int]] = field(default_factory=list)
    _sums: dict[str, tuple[float, float]] = field(default_factory=dict)
    _oldest: float | None = None

    def add(self, seen: Glance) -> list[Sample]:
        """The samples of the stretches that ended since the cycle before."""
        found: list[Sample] = []
        last = self._last
        if last is not None and seen.at > last.at:
            until = min(seen.at, last.at + self.longest_s)
            at = last.at
            while (edge := (math.floor(at / self.every_s) + 1) * self.every_s) <= seen.at:
                self._hold(last, max(0.0, min(edge, until) - at))
                if (sample := self._take(edge)) is not None:
                    found.append(sample)
                at = edge
            self._hold(last, max(0.0, until - at))
        self._last = seen
        return found

    def _hold(self, seen: Glance, seconds: float) -> None:
        if seconds <= 0:
            return
        if seen.depth is not None:
            self._depths.append((seconds, seen.depth))
        if seen.oldest_age_s is not None:
            self._oldest = max(self._oldest or 0.0, seen.oldest_age_s)
        for name in ("configured", "running", "desired", "shadow"):
            value: int | None = getattr(seen, name)
            if value is not None:
                held, total = self._sums.get(name, (0.0, 0.0))
                self._sums[name] = (held + seconds, total + seconds * value)

    def _take(self, at: float) -> Sample | None:
        if not self._depths and not self._sums:
            return None
        counts = [depth for _, depth in self._depths]
        seconds = sum(held for held, _ in self._depths)
        sample = Sample(
            seen_s=round(self._sums.get("running", (0.0, 0.0))[0], 1),
            depth_min=min(counts, default=None),
            depth_mean=sum(held * depth for held, depth in self._depths) / seconds if seconds else None,
            depth_max=max(counts, default=None),
            oldest_s=self._oldest,
            configured=self._mean("configured"),
            running=self._mean("running"),
            desired=self._mean("desired"),
            at=at,
            shadow=self._mean("shadow"),
        )
        self._depths, self._sums, self._oldest = [], {}, None
        return sample

    def _mean(self, name: str) -> float | None:
        held, total = self._sums.get(name, (0.0, 0.0))
        return total / held if held else None


def written_anew(last: Decided | None, new: Decided) -> bool:
    """Whether it is written: it differs from the last that was, or that one is REPEATED_S old."""
    return last is None or last.kind != new.kind or new.at - last.at >= REPEATED_S


def matching(
    happenings: Sequence[Happening], *, worker: str = "", reason: str = "", event: str = ""
) -> list[Happening]:
    """Those of this worker (and of none), with this reason, of this event; "" stands for all."""
    return [
        one
        for one in happenings
        if (not worker or one.worker in {worker, ""})
        and (not reason or reason in one.reasons)
        and (not event or one.event == event)
    ]


def at_time(happening: Happening, at: float) -> Happening:
    return replace(happening, at=at)


def _moment(text: str | None) -> float | None:
    try:
        return _number(text)
    except ValueError:
        return None


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}" if value == round(value) else f"{value:.3g}"


def _number(text: str | None) -> float | None:
    """None: there is none, or it is no number of ours."""
    if not text:
        return None
    value = float(text)
    if not 0 <= value < _LARGEST:
        raise ValueError("is not a number of ours")
    return value


def _count(value: float | None) -> int | None:
    return None if value is None else int(value)
