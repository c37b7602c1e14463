"""`demo --page` opens a browser only where there is a screen for one."""

from __future__ import annotations

import sys
import webbrowser

import pytest

from controller.demo.browser import open_page

URL = "http://127.0.0.1:1/"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def opens(url: str) -> bool:
        found.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", opens)
    monkeypatch.setattr(sys, "platform", "linux")
    return found


@pytest.mark.parametrize(
    ("environment", "is_open"),
    [
        pytest.param({}, False, id="without a screen"),
        pytest.param({"DISPLAY": ""}, False, id="with an empty DISPLAY"),
        pytest.param({"DISPLAY": ":0"}, True, id="on X11"),
        pytest.param({"WAYLAND_DISPLAY": "wayland-0"}, True, id="on Wayland"),
    ],
)
def test_it_opens_where_there_is_a_screen(opened: list[str], environment: dict[str, str], *, is_open: bool) -> None:
    assert open_page(URL, environment) is is_open
    assert opened == ([URL] if is_open else [])


def test_a_browser_that_cannot_be_started_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", fails)
    assert open_page(URL, {"DISPLAY": ":0"}) is False
