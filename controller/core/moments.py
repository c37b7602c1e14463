"""Moments in text: `6h` (ago), `2026-11-29 03:12`, `03:12` (today, or yesterday if that is to come). Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from controller.core.units import seconds_of

_LONGEST = 40


def moment_of(text: str, now: float, zone: tzinfo | None = None) -> float:
    """Seconds since the epoch. zone: of a time that names none; None: the machine's.

    Raises:
        ValueError: it is not a moment; the text says so in a sentence.
    """
    text = text.strip()
    if text == "now":
        return now
    ago = _ago(text)
    if ago is not None:
        return now - ago
    today = datetime.fromtimestamp(now, UTC).astimezone(zone)
    try:
        if len(text) <= _LONGEST and ":" in text and not any(mark in text for mark in "-T "):
            clock = datetime.fromisoformat(f"{today.date().isoformat()}T{text}")
            at = _in_zone(clock, zone)
            return at if at <= now else _in_zone(clock - timedelta(days=1), zone)
        if len(text) <= _LONGEST:
            return _in_zone(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text[:_LONGEST]!r} is not a time; write 6h, 03:12 or 2026-11-29 03:12")


def _in_zone(time: datetime, zone: tzinfo | None) -> float:
    return (time if time.tzinfo is not None else time.replace(tzinfo=zone)).timestamp()


def _ago(text: str) -> float | None:
    """Of a duration, `7d` too."""
    days = text.removesuffix("d")
    if text.endswith("d") and days.isascii() and days.isdigit() and len(days) <= 4:
        return float(days) * 86_400
    try:
        return seconds_of(text)
    except ValueError:
        return None
