"""Every failure is shown, whatever it holds.

Where pytest cannot render an exception (a group nested too deep for it, say), it ends the whole run with INTERNALERROR.
So does xdist where a report cannot be sent to the process that prints it, which a lone surrogate in its text is enough
for. Such a failure is told in plain text instead, and the run goes on.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator
from typing import Literal

import execnet
import pytest

_LONGEST = 4000
_MOST_FRAMES = 20


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    try:
        report = yield
        if not report.failed or _can_be_sent(report):
            return report
        report.longrepr = _printable(str(report.longrepr))
        report.sections = [(_printable(title), _printable(text)) for title, text in report.sections]
    except Exception as error:  # noqa: BLE001  # whatever keeps it from being rendered
        report = _in_plain_text(item, call, f"pytest could not render it: {type(error).__name__}")
    return report if _can_be_sent(report) else _in_plain_text(item, call, "its report could not be sent")


def _can_be_sent(report: pytest.TestReport) -> bool:
    try:
        execnet.dumps(report._to_json())
    except execnet.DumpError:
        return False
    return True


def _in_plain_text(item: pytest.Item, call: pytest.CallInfo[None], why: str) -> pytest.TestReport:
    text = why if call.excinfo is None else f"{_told(call.excinfo.value)}\n({why})"
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed",
        longrepr=_printable(text),
        when=_phase(call),
        duration=call.duration,
        start=call.start,
        stop=call.stop,
    )


def _phase(call: pytest.CallInfo[None]) -> Literal["setup", "call", "teardown"]:
    assert call.when != "collect"
    return call.when


def _told(error: BaseException) -> str:
    every = traceback.extract_tb(error.__traceback__)
    frames = [f'  "{one.filename}", line {one.lineno}, in {one.name}' for one in every]
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  # its own words may be what cannot be rendered
        words = "without words"
    return "\n".join([*frames[-_MOST_FRAMES:], f"{type(error).__name__}: {words[:_LONGEST]}"])


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
