"""Moments as an operator writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from controller.core.moments import moment_of

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "is_"),
    [
        ("now", "2026-11-29T12:00:00+00:00"),
        ("6h", "2026-11-29T06:00:00+00:00"),
        ("7d", "2026-11-22T12:00:00+00:00"),
        ("2026-11-29 03:12", "2026-11-29T02:12:00+00:00"),
        ("2026-11-29T03:12Z", "2026-11-29T03:12:00+00:00"),
        ("2026-11-29 03:12:07.5+05:30", "2026-11-28T21:42:07.500000+00:00"),
        ("2026-11-29", "2026-11-28T23:00:00+00:00"),
        ("03:12", "2026-11-29T02:12:00+00:00"),
        ("13:30", "2026-11-28T12:30:00+00:00"),
        ("2026-07-01 03:12", "2026-07-01T01:12:00+00:00"),
    ],
)
def test_a_moment_is_read_in_the_zone_of_the_reader(text: str, is_: str) -> None:
    assert datetime.fromtimestamp(moment_of(text, NOW, BERLIN), UTC).isoformat() == is_


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "6", "-1h", "2026-13-01", "9" * 99, "2026-11-29 3:12pm"])
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time; write 6h, 03:12 or 2026-11-29 03:12"):
        moment_of(text, NOW, BERLIN)
