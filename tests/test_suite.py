"""The suite itself: no test has a deadline of its own in real time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
WITH_TIMES_OF_THEIR_OWN = {"faults", "bench", "virtual"}
"""Real processes that are judged by the clock and run by `make faults` and `make bench`; and virtual time itself."""


def deadlines(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each call that gives something up after so many seconds, where the seconds are not the patience of all tests."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = [*call.args, *(each.value for each in call.keywords if each.arg in {"timeout", "deadline"})]
        name = ast.unparse(call.func)
        waits = name in {"asyncio.wait_for", "asyncio.timeout", "asyncio.timeout_at", "subprocess.run"}
        if waits or name.rpartition(".")[2] in {"communicate", "wait", "settings"}:
            yield from (
                (call.lineno, ast.unparse(call))
                for seconds in given
                if isinstance(seconds, ast.Constant) and type(seconds.value) in {int, float}
            )


def test_no_test_gives_up_before_patience_does() -> None:
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.parts[-2] not in WITH_TIMES_OF_THEIR_OWN and "pytest.mark.virtual_time" not in text:
            found += [f"{path.relative_to(TESTS)}:{line}: {call}" for line, call in deadlines(ast.parse(text))]
    assert found == [], "wait with tests/patience.py, or mark the module as virtual_time"


def test_a_deadline_of_a_test_s_own_is_found() -> None:
    told = ast.parse(
        "asyncio.wait_for(done, 5)\nprocess.wait(timeout=3)\nsettings(deadline=200)\nprocess.wait(PATIENCE_S)"
    )
    assert [line for line, _ in deadlines(told)] == [1, 2, 3]
