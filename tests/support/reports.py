"""A process of the run sends one message for each test that passed, not five: each message costs 0.3 ms of both."""

from __future__ import annotations

import pytest
from _pytest.runner import runtestprotocol


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """As pytest's own, but for its begin, its end, and what it says of a set-up and a tear-down without any news.

    With -v, and where a file of results is written, it is pytest's own.
    """
    config = item.config
    if not hasattr(config, "workerinput") or config.getoption("xmlpath", None) or config.get_verbosity() > 0:
        return None
    for report in runtestprotocol(item, nextitem=nextitem, log=False):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True
