"""The rooms that serve any platform name none: its words are declared by its adapter, in controller/adapters/NAME."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "controller"
ROOMS = ("core", "policy", "config", "loop", "web", "adapters/postgres", "adapters/redis")
VENDORS = re.compile("railway", re.IGNORECASE)
KEPT = {
    "web/metrics.py": ("autoscaler_railway_requests_used", "autoscaler_railway_requests_quota"),
    "web/health.py": ('"railway_requests"',),
}
"""Names that dashboards and alerts of users read, which stay as they are."""


def named(room: str) -> Iterator[str]:
    for path in sorted((ROOT / room).rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        place = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8", errors="replace")
        for kept in KEPT.get(place, ()):
            assert text.count(kept) == 1, f"{place} has {kept} no more, or twice"
            text = text.replace(kept, "")
        yield from (f"{place}:{at}: {line}" for at, line in enumerate(text.splitlines(), 1) if VENDORS.search(line))
        yield from (place for _ in VENDORS.findall(place))


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_of_a_neutral_room_names_a_vendor(room: str) -> None:
    assert len(list((ROOT / room).rglob("*.py"))) > 5
    assert list(named(room)) == []
