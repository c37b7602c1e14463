"""Quantities in text: durations, shares and money for people, and durations and shares as a policy reads them back.

| what | for | example |
|---|---|---|
| in_words | people, in sentences | `1 min 14 s` |
| in_seconds | people, in columns that are compared | `74.2 s` |
| as_policy | the policy, which reads the same value back | `74.2s` |
| as_share | the policy, of a share | `10%` |
| percent, money | people | `91.3 %`, `$21.38` |
| iso | people and programs, of dates | `2026-11-23T22:31:07.123Z` |

Whatever is printed goes through these, so that one value looks alike in the log, doctor, check and simulate. JSON has
plain numbers, whose unit is in the key.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SHARE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(%?)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_S = 31 * 24 * 3600.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800.0, 253_402_300_799.0
"""The first second of year 1 and the last of year 9999, in seconds since the epoch."""


def in_words(seconds: float) -> str:
    """For sentences and tables: `84 ms`, `7.4 s`, `42 s`, `1 min 14 s`, `2 h 5 min`, `1 d 12 h`; two units at most.

    Rounded to two or three digits. Negative ones keep their sign; what is not finite is `an unknown time`.
    """
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 0:
        return f"-{in_words(-seconds)}"
    if seconds < 0.9995:
        return _below_a_second(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole, _MINUTE, "min", 1, "s")
    minutes = round(seconds / _MINUTE) * _MINUTE
    if minutes < _DAY:
        return _two(minutes, _HOUR, "h", _MINUTE, "min")
    return _two(round(seconds / _HOUR) * _HOUR, _DAY, "d", _HOUR, "h")


def in_seconds(seconds: float) -> str:
    """For times that are compared, below each other or side by side: always in seconds, `0.4 s`, `74.2 s`, `1,240 s`.

    To a tenth below 100 s, else to a second. It is the table form beside in_words: with mixed units, the longest time
    of a column would not be the longest text, and `58 s` would look longer than `1 min 2 s`.
    """
    return f"{seconds:,.0f} s" if seconds >= 99.95 else f"{seconds:.1f} s"


def _below_a_second(seconds: float) -> str:
    milliseconds = seconds * 1000
    if not milliseconds:
        return "0 s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 9.95 else f"{milliseconds:.2g} ms"


def _two(seconds: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large:,} {large_name}" + (f" {rest} {small_name}" if rest else "")


def percent(share: float, digits: int = 0, *, signed: bool = False) -> str:
    """Of a share, 1 being all: `91 %`, with digits `91.3 %`; signed, for a change: `+10 %`, `0 %`."""
    return f"{_number(100 * share, digits, signed=signed)} %"


def as_share(share: float) -> str:
    """`10%`, `12.5%`: of a share, 1 being all, as a policy reads it back."""
    return f"{100 * share:.10g}%"


def share_of(text: str) -> float:
    """Of a share as a policy writes it: `10%` or `0.1`; 1 is all.

    Raises:
        ValueError: it is none; in words that say what to write.
    """
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not a share; write 10% or 0.1")
    return float(match[1]) / 100 if match[2] else float(match[1])


def money(dollars: float, *, signed: bool = False) -> str:
    """`$1,021.38`; signed, for a change: `+$1.20`, `-$1.20`."""
    number = _number(dollars, 2, signed=signed)
    sign = number[0] if number[0] in "+-" else ""
    return f"{sign}${number.removeprefix(sign)}"


def _number(value: float, digits: int, *, signed: bool) -> str:
    """What rounds to zero has no sign: `-0 %` would say that something fell."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''},.{digits}f}"


def as_policy(seconds: float) -> str:
    """`90s`, `2m`, `14.9s`, `500ms`: the shortest form that a policy reads back as the same, to the microsecond."""
    for unit in ("h", "m", "s"):
        whole = seconds / _SECONDS[unit]
        if seconds and whole == int(whole):
            return f"{int(whole)}{unit}"
    if not seconds:
        return "0s"
    number, unit = (f"{seconds:.6f}", "s") if seconds >= 1 else (f"{seconds * 1000:.3f}", "ms")
    return number.rstrip("0").rstrip(".") + unit


class DurationTooLongError(ValueError):
    """A duration, and longer than any that is meant."""


def seconds_of(text: str) -> float:
    """Of a duration as a policy writes it: `500ms`, `30s`, `2m`, `1h`.

    Raises:
        ValueError: it is none, or longer than 31 days; in words that say what to write.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not a duration; write 500ms, 30s, 2m or 1h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST_S:
        raise DurationTooLongError("is longer than a month; write 500ms, 30s, 2m or 1h")
    return seconds


def iso(at: float) -> str:
    """`2026-11-23T22:31:07.123Z` of seconds since the epoch; a time outside the years 1 to 9999 is cut to their end."""
    at = min(max(at, _FIRST_SECOND), _LAST_SECOND)
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
