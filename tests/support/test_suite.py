"""The suite itself: no test gives something up after a few real seconds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
WITH_TIMES_OF_THEIR_OWN = {"faults", "bench", "virtual"}
"""Real processes that are judged by the clock and run by `make faults` and `make bench`; and virtual time itself."""
GENEROUS_S = 30


def is_short(seconds: float) -> bool:
    return not isinstance(seconds, bool) and seconds < GENEROUS_S


def deadlines(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each call that gives something up after a few seconds."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = [*call.args, *(each.value for each in call.keywords if each.arg in {"timeout", "deadline"})]
        name = ast.unparse(call.func)
        waits = name in {"asyncio.wait_for", "asyncio.timeout", "asyncio.timeout_at", "subprocess.run"}
        if waits or name.rpartition(".")[2] in {"communicate", "wait", "settings"}:
            yield from (
                (call.lineno, ast.unparse(call))
                for seconds in given
                if isinstance(seconds, ast.Constant)
                and isinstance(seconds.value, int | float)
                and is_short(seconds.value)
            )


@pytest.mark.costly
def test_no_test_gives_up_after_a_few_seconds() -> None:
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.parts[-2] not in WITH_TIMES_OF_THEIR_OWN and "pytest.mark.virtual_time" not in text:
            found += [f"{path.relative_to(TESTS)}:{line}: {call}" for line, call in deadlines(ast.parse(text))]
    assert found == [], "wait with tests/support/patience.py, or mark the module as virtual_time"


def test_a_short_deadline_is_found() -> None:
    told = ast.parse(
        "asyncio.wait_for(done, 5)\nprocess.wait(timeout=3)\nsettings(deadline=20)\nprocess.wait(PATIENCE_S)"
    )
    assert [line for line, _ in deadlines(told)] == [1, 2, 3]
