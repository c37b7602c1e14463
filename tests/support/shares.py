"""On a clean checkout each process of the run compiles its share of the tests, and not all of them as all others do."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compiled modules are shared by the disk. What cannot be imported is told when it is collected."""
    worker = getattr(session.config, "workerinput", None)
    if worker is None or [Path(one).resolve() for one in session.config.args] != [_TESTS]:
        return
    number, of = int(worker["workerid"].removeprefix("gw")), int(worker["workercount"])
    for path in sorted(_TESTS.rglob("test_*.py"))[number::of]:
        with suppress(Exception, pytest.skip.Exception):
            import_module(".".join(path.relative_to(_TESTS.parent).with_suffix("").parts))
