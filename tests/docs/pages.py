"""The documentation as tests read it: the README, and every page of docs/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")))
}
"""Path from the root → text."""


@cache
def marked(name: str) -> str:
    """The table between `<!-- begin: NAME -->` and `<!-- end: NAME -->`, which stands on exactly one page."""
    between = re.compile(rf"^<!-- begin: {name} -->\n(.*?)^<!-- end: {name} -->$", re.MULTILINE | re.DOTALL)
    (table,) = (found for text in PAGES.values() for found in between.findall(text))
    return str(table)


def rows(name: str) -> list[list[str]]:
    """The cells of each row of that table, without its head."""
    lines = [line for line in marked(name).splitlines() if line.startswith("|")]
    return [cells(line) for line in lines[2:]]


def cells(line: str) -> list[str]:
    """Of a table's row. A `|` within code ends a cell all the same, as every renderer has it, unless it is escaped."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def prose(text: str) -> str:
    """A page without its blocks of code, where a `#` is no heading and brackets are no link."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> list[str]:
    """What the headings of a page can be linked by, as GitHub and GitLab make it."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(text), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def links(text: str) -> Iterator[str]:
    """Where the links and pictures of a page lead."""
    without_code = re.sub(r"`[^`\n]*`", "`…`", prose(text))
    yield from re.findall(r"\]\(([^)\s]+)\)", without_code)
