"""Processes that share the files of a run: each test is run once, and whatever ends a process fails one test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.patience import PATIENCE_S
from tests.support.side_by_side import LONGEST_FIRST

_FILES = {
    "passes": "import warnings\ndef test_first(): warnings.warn('shown')\ndef test_second(): pass\n",
    "dies": "import os\ndef test_dies(): os._exit(0)\ndef test_that_is_lost(): pass\n",
    "fails": "def test_fails(tmp_path): assert tmp_path.is_file()\n",
    "is_no_python": "def test_(:\n",
    "shares": (
        "import pytest\n@pytest.fixture(scope='session')\ndef once(): yield 1\ndef test_a(once): pass\n"
        "@pytest.mark.parametrize('x', [1, 2, 3])\ndef test_b(once, x): pass\n"
    ),
}


def test_each_test_is_run_once_and_a_process_that_dies_is_a_failure_of_the_test_that_it_was_in(tmp_path: Path) -> None:
    for name, text in _FILES.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n2", "--rootdir=.", "."),
            *("-p", "tests.support.side_by_side", "-p", "tests.support.rendering"),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "INTERNALERROR" not in ran.stdout + ran.stderr
    assert "2 failed, 6 passed, 1 warning, 1 error" in ran.stdout
    assert "the process died: test_dies.py::test_dies; what comes after it in its file was not run" in ran.stdout
    assert "UserWarning: shown" in ran.stdout
    assert ran.returncode == 1


def test_the_files_that_come_first_are_there() -> None:
    tests = Path(__file__).parents[1]
    assert [name for name in LONGEST_FIRST if not (tests / f"{name}.py").is_file()] == []
