"""Whatever a command prints fits 80 columns, and nothing of it is cut off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.adapters.postgres.presets.reader import names
from controller.cli.docs import TABLES
from controller.cli.main import commands
from controller.core.reasons import Reason
from controller.core.text.layout import columns_of
from tests.support.examples import LONG as LONG_RUN
from tests.support.examples import some
from tests.support.processes import Ran, autoscaler
from tests.support.scene import POLICY, Scene
from tests.support.tuning import search_among_few

NO_TERMINAL = {"COLUMNS": "", "RAILWAY_WORKER_SERVICE_ID": "3f1f6a5e-1c1b-4bd1-9c88-7a8de26d5b11"}
"""A width of 0 says nothing, as when there is no COLUMNS."""


def too_wide(text: str, columns: int = 80) -> list[str]:
    return [line for line in text.splitlines() if columns_of(line) > columns]


def letters(text: str) -> list[str]:
    """What has to be the same wherever lines are broken."""
    return sorted(sign for sign in text if sign.isalnum())


HELPS = [(), *((name, "--help") for name in commands()[1].parsers), ("help", "environment")]
TABLES_FOR_PEOPLE = [("help", name) for name in TABLES if name not in {"commands", "environment"}]


@pytest.mark.parametrize(
    "arguments", [*HELPS, *TABLES_FOR_PEOPLE], ids=lambda arguments: " ".join(arguments) or "nothing"
)
async def test_every_help_fits(arguments: tuple[str, ...]) -> None:
    ran = await autoscaler(*arguments, environment=NO_TERMINAL)
    assert (ran.code, too_wide(ran.out)) == (0, [])


@pytest.mark.parametrize("arguments", some(HELPS, every=3), ids=lambda arguments: " ".join(arguments) or "nothing")
async def test_every_help_is_wrapped_to_a_narrow_terminal_but_for_commands_to_copy(arguments: tuple[str, ...]) -> None:
    ran = await autoscaler(*arguments, environment={**NO_TERMINAL, "COLUMNS": "60"})
    to_copy = re.compile(r"  +(?:autoscaler |eval |'\{|source )")
    assert [line for line in too_wide(ran.out, 60) if not to_copy.match(line)] == []


async def test_a_table_of_the_documentation_has_each_name_whole_in_the_help_and_says_how_to_get_markdown() -> None:
    ran = await autoscaler("help", "reasons", environment=NO_TERMINAL)
    assert [reason for reason in Reason if f"`{reason}`" not in ran.out] == []
    assert "`autoscaler docs reasons`" in " ".join(ran.out.split())


async def test_the_list_of_all_commands_fits_a_terminal_of_24_lines() -> None:
    ran = await autoscaler("help", environment=NO_TERMINAL)
    listed = ran.out[ran.out.index("commands:") :]
    assert len(listed.splitlines()) <= 23


LONG = """\
interval: ${POLL_INTERVAL_MS:-10000}ms
workers:
  generation-worker-with-a-name-as-long-as-a-name-may-ever-be-here:
    service: ${RAILWAY_WORKER_SERVICE_ID}
    queue:
      table: '"a schema with a long name"."a table with a name of 40 characters"'
      where: "kind IN ('mail', 'render', 'a kind of job with a long name') AND tenant <> 4711 AND NOT is_cancelled"
      statuses: {pending: [waiting, waiting_again, postponed, retryable, throttled], failed: []}
      wake_on: a_channel_with_a_name_of_63_bytes_which_is_as_long_as_it_may_be
    tiers: [{up_to: 1000000, replicas: 1}, {replicas: 5}]
    max_replicas: 5
"""
TRY = ("--workload", "poisson:rate=2/m", "--span", "6h")
FEW_JOBS = ("--workload", "poisson:rate=20/h", "--span", "18h", "--form", "target_wait")
"""Enough for a search; a week of them, which it draws anew, has 3000."""
SEARCH = ("tune", "policy.yaml", "--wait", "60s", "--weeks", "1", *FEW_JOBS)
"""Two seconds of a core, and what it prints in 80 columns is in test_simulate.py, too."""
OFFLINE = [
    ("check",),
    ("check", "LONG"),
    ("check", "missing-file-in-a-folder-of-which-the-name-is-long-enough/to-need-more-than-one-line/policy.yaml"),
    ("check", "BAD"),
    ("queues",),
    *(("queues", name) for name in names()),
    ("queues", "kafka"),
    ("queue-trigger",),
    ("queue-trigger", "LONG"),
    ("simulate", "policy.yaml", "keda:target=3,window=300,cooldown=120", "balanced", "static:5", "oracle", *TRY),
    ("simulate", "kedda:target=3", "nothing.yaml", "static:many"),
    ("plan", "policy.yaml", "LONG", *TRY),
    *([SEARCH] if LONG_RUN else []),
    ("run", "LONG"),
    ("simulate", "--servce-mean", "20s"),
    ("fly",),
]


def given(arguments: tuple[str, ...], folder: Path) -> Iterator[str]:
    files = {"LONG": LONG, "BAD": LONG.replace("max_replicas", "most_replicas").replace("up_to", "upto")}
    for one in arguments:
        if one in files:
            path = folder / f"{one.lower()}.yaml"
            path.write_text(files[one])
            yield str(path)
        else:
            yield one


@pytest.mark.parametrize("arguments", OFFLINE, ids=" ".join)
async def test_all_that_is_printed_offline_fits_and_is_the_same_as_in_a_wide_terminal(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_among_few(monkeypatch)  # the commands are forks of this process
    asked = list(given(arguments, tmp_path))
    narrow, wide = await asyncio.gather(
        autoscaler(*asked, environment=NO_TERMINAL),
        autoscaler(*asked, environment={**NO_TERMINAL, "COLUMNS": "400"}),
    )
    assert too_wide(narrow.out + narrow.err) == []
    assert narrow.code == wide.code
    for one, other in ((narrow.out, wide.out), (narrow.err, wide.err)):
        without_speed = [re.sub(r"\n?\d+ polic\w+\s+in [\s\S]*", "", text) for text in (one, other)]
        assert letters(without_speed[0]) == letters(without_speed[1]), "a letter is lost"


@pytest.mark.costly
async def test_what_talks_to_the_servers_fits_too(scene: Scene) -> None:
    await scene.jobs(15)
    environment = {**scene.environment, "COLUMNS": "80"}
    explained, examined = await asyncio.gather(
        autoscaler("explain", environment=environment), autoscaler("doctor", environment=environment)
    )
    for ran in (explained, examined):
        assert too_wide(ran.out) == []
    assert "15 jobs (10 pending" not in explained.err
    assert [line for line in explained.out.splitlines() if line.startswith("  rule ")]
    assert re.search(r"^  (ok|warning|error) +PostgreSQL  ", examined.out, re.MULTILINE)


@pytest.mark.parametrize("columns", ["60", "120"])
async def test_the_width_is_the_terminal_s(columns: str) -> None:
    ran: Ran = await autoscaler("check", str(POLICY), environment={**NO_TERMINAL, "COLUMNS": columns})
    assert too_wide(ran.out, int(columns)) == []
    assert max(map(len, ran.out.splitlines())) > int(columns) - 12
