"""A failure that cannot be rendered or sent is one failed test, and not the end of the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

_FAILURES = """
def test_a_lone_surrogate_in_an_error():
    raise ValueError("\\ud800")


def test_a_lone_surrogate_in_a_comparison():
    assert "a\\ud800" == "b"


def test_a_group_that_is_nested_too_deep():
    error = ValueError("the innermost")
    for _ in range(2000):
        error = ExceptionGroup("a group", [error])
    raise error


class Wordless(Exception):
    def __str__(self):
        return str(self)

    __repr__ = __str__


def test_words_without_an_end():
    raise Wordless


def test_that_passes():
    pass
"""


@pytest.mark.costly
def test_what_cannot_be_rendered_fails_by_itself_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "test_odd.py").write_text(_FAILURES)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n1", "-p", "xdist.plugin", "-p", "tests.support.rendering"),
            *("--rootdir=.", "test_odd.py"),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "INTERNALERROR" not in ran.stdout + ran.stderr
    assert "4 failed, 1 passed" in ran.stdout
    assert r"ValueError: \ud800" in ran.stdout
    assert "ExceptionGroup: a group (1 sub-exception)" in ran.stdout
