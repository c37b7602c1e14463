"""The scripts of the page and of the report are scripts: one wrong bracket, and a browser shows nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.node import NODE

STATIC = Path(__file__).parents[2] / "controller" / "web" / "static"


@pytest.mark.skipif(NODE is None, reason="no Node here; `make test` installs it")
@pytest.mark.parametrize("script", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_a_script_can_be_read(script: Path) -> None:
    checked = subprocess.run([str(NODE), "--check", script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
