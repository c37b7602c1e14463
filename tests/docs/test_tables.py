"""The tables of the documentation are what the code knows: `make docs` writes them, and this holds them equal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.adapters.postgres.presets.reader import names
from controller.cli.docs import TABLES, markdown, rewritten
from controller.cli.main import commands
from controller.configuration import ADAPTERS
from controller.core.reasons import Reason
from controller.loop.levels import EVENTS
from tests.support.processes import autoscaler

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_marked_table_of_a_page_is_what_the_code_knows(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run `make docs`"


@pytest.mark.parametrize("name", TABLES)
async def test_a_table_is_printed_as_markdown_with_as_many_cells_in_each_row(name: str) -> None:
    ran = await autoscaler("docs", name)
    assert (ran.code, ran.out) == (0, markdown(name))
    rows = [re.split(r"(?<!\\)\|", line) for line in ran.out.splitlines()]
    assert len({len(row) for row in rows}) == 1
    assert len(rows) > 5
    assert all(row[1].strip() for row in rows)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("commands", [f"autoscaler {name}" for name in commands()[1].parsers]),
        ("environment", [one.name for one in ADAPTERS.variables]),
        ("events", EVENTS),
        ("presets", names()),
        ("reasons", list(Reason)),
        ("touches", list(commands()[1].parsers)),
    ],
)
def test_a_table_has_a_row_for_each(name: str, known: list[str]) -> None:
    table = markdown(name)
    assert [one for one in known if f"\n| `{one}" not in table] == []
    assert len(table.splitlines()) == len(known) + 2


def test_only_what_stands_between_the_marks_of_a_table_is_written_anew() -> None:
    page = "a\n<!-- begin: presets -->\nold\n<!-- end: presets -->\nb\n<!-- begin: other -->\nc\n<!-- end: other -->\n"
    assert rewritten(page) == page.replace("old\n", markdown("presets"))
    assert rewritten(rewritten(page)) == rewritten(page)


async def test_files_are_written_in_place(tmp_path: Path) -> None:
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    page.write_text("<!-- begin: events -->\n<!-- end: events -->\n")
    other.write_text("nothing is marked here\n")
    ran = await autoscaler("docs", "--write", str(page), str(other))
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert page.read_text() == f"<!-- begin: events -->\n{markdown('events')}<!-- end: events -->\n"
    assert other.read_text() == "nothing is marked here\n"


async def test_a_file_that_is_not_there_and_no_table_at_all_are_refused() -> None:
    missing, nothing = await autoscaler("docs", "--write", "missing.md"), await autoscaler("docs")
    assert (missing.code, nothing.code) == (2, 2)
    assert "missing.md cannot be read and written" in missing.err
    assert "name one table (commands, deprecated-metrics, environment, " in nothing.err
