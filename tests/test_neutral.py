"""The rooms that serve any platform name none: its words are declared by its adapter, in controller/adapters/NAME."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.core.reasons import REASONS, Reason

ROOT = Path(__file__).parents[1] / "controller"
ROOMS = ("core", "policy", "config", "loop", "web", "adapters/postgres", "adapters/redis")
VENDORS = re.compile("railway", re.IGNORECASE)
STATUSES = re.compile(r"\b(QUEUED|BUILDING|DEPLOYING|WAITING|NEEDS_APPROVAL|CRASHED|SLEEPING)\b(?! *=)")
TECHNOLOGIES = re.compile("postgres|redis", re.IGNORECASE)
PAGES = re.compile(r"docs/[a-z-]+\.md#[a-z-]+")
KEPT = {
    "web/metrics/replica.py": ("autoscaler_railway_requests_used", "autoscaler_railway_requests_quota"),
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


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_names_no_technology_and_no_status_of_a_platform(reason: Reason) -> None:
    """Another queue, journal or platform would have the same reasons."""
    for words in REASONS[reason]:
        assert not TECHNOLOGIES.search(PAGES.sub("", words))
        assert not STATUSES.search(words)


def test_core_advises_no_variable_that_only_the_shipped_policy_reads() -> None:
    """A policy of one's own has the key, and maybe no such variable."""
    shipped = (ROOT.parent / "policy.yaml").read_text(encoding="utf-8")
    variables = {*re.findall(r"\$\{([A-Z_]+):-", shipped)} - {"NAME"}  # of a comment on how variables are written
    assert "MAX_WORKERS" in variables
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "core").rglob("*.py")}
    assert [(path.name, name) for path, text in texts.items() for name in variables if name in text] == []


def test_the_contract_that_keeps_adapters_apart_names_every_one_of_them() -> None:
    """A folder that it does not name could import another adapter, and no check would say so."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {one["name"]: one for one in project["tool"]["importlinter"]["contracts"]}
    folders = [place.parent for place in (ROOT / "adapters").glob("*/__init__.py")]
    named = contracts["adapters do not import each other"]["modules"]
    assert sorted(named) == sorted(f"controller.adapters.{folder.name}" for folder in folders)
