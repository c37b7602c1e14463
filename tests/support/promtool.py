"""Prometheus' own tool, which checks metrics, rules and configurations, and runs the unit tests of rules."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.debian import find

FOUND = find("usr/bin/promtool")


def promtool(*arguments: str, given: str = "") -> str:
    """What it says, errors included; "" or "SUCCESS" and the like. Skips the test where it is not installed."""
    if FOUND is None:
        pytest.skip("no promtool here; `make test` unpacks Debian's, else: apt-get install prometheus")
    done = subprocess.run([FOUND, *arguments], input=given, capture_output=True, text=True, check=False, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
