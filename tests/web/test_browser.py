"""The page in a real browser: it updates by itself, outlives the controller, and is usable by everybody."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from controller.simulation.comparison import Setting, compare
from controller.simulation.html import page
from controller.simulation.workload.jobs import Workload
from tests.simulation.drawn import CONTENDERS
from tests.support.unhurried import PATIENT_S
from tests.web.staged import MAILER, RENDER, KeptTimeline, cycle, failed, staged

NONE_HERE = "no Playwright, no chromium or no axe-core here; `make test-browser` installs the first and the last"
AXE = Path(sys.prefix) / "browser" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.costly]


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    """One for the module; its types are Any, because not everyone has Playwright."""
    program = find_chromium()
    if program is None or not AXE.is_file():
        pytest.skip(NONE_HERE)
    playwright = pytest.importorskip("playwright.async_api", reason=NONE_HERE)
    async with playwright.async_playwright() as one:
        yield await one.chromium.launch(executable_path=program, args=["--no-sandbox"])


@dataclass
class Tab:
    """One page; what it said to the console, and whom it asked."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def sees(self, words: str) -> None:
        await self.page.get_by_text(words).first.wait_for(timeout=PATIENT_S * 1000)

    async def loses(self, words: str) -> None:
        await self.page.get_by_text(words).first.wait_for(state="hidden", timeout=PATIENT_S * 1000)

    async def has(self, selector: str) -> None:
        await self.page.locator(selector).first.wait_for(state="attached", timeout=PATIENT_S * 1000)


@asynccontextmanager
async def tab(browser: Any, url: str, **options: Any) -> AsyncIterator[Tab]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    one = Tab(await context.new_page())
    one.page.on("console", lambda message: one.said.append(message.text) if message.type == "error" else None)
    one.page.on("pageerror", lambda error: one.said.append(str(error)))
    one.page.on("request", lambda request: one.asked.append(request.url))
    await one.page.goto(url)
    try:
        yield one
    finally:
        await context.close()
    assert [address for address in one.asked if not address.startswith((url, "data:"))] == []


async def test_it_shows_a_cycle_a_failure_and_its_end_by_itself(browser: Any) -> None:
    async with staged() as controller, tab(browser, controller.url) as one:
        await one.sees("86 jobs want 4 workers: stays at 4")
        await one.sees("This replica leads")
        await one.sees("Override hold: held at 1 worker by ann")
        controller.put(cycle(RENDER, 55, 3, 3))
        await one.sees("55 jobs want 3 workers: stays at 3")
        controller.put(failed(RENDER))
        await one.sees("PostgreSQL fails")
        await one.has("section.old")
        assert await one.page.title() == "degraded · worker-autoscaler"
        controller.put(cycle(RENDER, 12, 1, 1))
        await one.loses("PostgreSQL fails")
        await one.sees("All is well")
        assert one.said == []


async def test_when_the_controller_dies_the_page_stays_and_says_so_until_it_is_back(browser: Any) -> None:
    async with staged() as controller, tab(browser, controller.url) as one:
        await one.sees("86 jobs want 4 workers: stays at 4")
        await controller.stop()
        await one.sees("No connection to the controller since")
        await one.sees("86 jobs want 4 workers: stays at 4")
        controller.put(cycle(RENDER, 23, 2, 2))
        await controller.start()
        await one.sees("23 jobs want 2 workers: stays at 2")
        await one.loses("No connection to the controller since")
        assert [words for words in one.said if "net::ERR" not in words] == []


async def test_a_standby_says_that_it_is_one_and_shows_the_leader_s_figures(browser: Any) -> None:
    async with staged(leads=False) as controller, tab(browser, controller.url) as one:
        await one.sees("This is the standby a1")
        await one.sees("86 jobs want 4 workers: stays at 4")


async def test_without_a_history_the_page_says_so_and_goes_on(browser: Any) -> None:
    timeline = KeptTimeline(is_away=True)
    async with staged(timeline=timeline) as controller, tab(browser, controller.url) as one:
        await one.sees("The history cannot be read now: Redis: is away")
        controller.put(cycle(MAILER, 1, 1, 1))
        await one.sees("1 jobs want 1 workers: stays at 1")


async def test_marks_tell_their_reason_by_keyboard_and_the_charts_have_tables(browser: Any) -> None:
    async with staged() as controller, tab(browser, controller.url) as one:
        marks = one.page.locator(".marks").first.locator("button")
        await marks.first.wait_for(timeout=PATIENT_S * 1000)
        await one.page.locator(".marks button[tabindex='0']").first.focus()
        await one.page.keyboard.press("End")
        tip = one.page.get_by_role("tooltip").first
        last = await tip.inner_text()
        assert "workers:" in last
        await one.page.keyboard.press("ArrowLeft")
        assert await tip.inner_text() != last
        await one.page.keyboard.press("Escape")
        assert not await tip.is_visible()
        slider = one.page.get_by_role("slider").first
        await slider.focus()
        await one.page.keyboard.press("Home")
        assert "jobs" in (await slider.get_attribute("aria-valuetext") or "")
        await one.page.get_by_text("Figures as a table").first.press("Enter")
        await one.has("details[open] tbody tr:nth-child(50)")
        await one.page.get_by_role("button", name="7 d").press("Enter")
        await one.has("details[open] tbody tr:nth-child(300)")
        assert one.said == []


async def test_axe_finds_nothing_serious_in_both_schemes_and_widths(browser: Any) -> None:
    async with staged() as controller, tab(browser, controller.url, bypass_csp=True) as one:
        await one.sees("Saved")
        controller.put(failed(MAILER))
        await one.sees("PostgreSQL fails")
        await one.page.add_script_tag(path=AXE)
        for scheme in ("light", "dark"):
            for width in (1280, 390):
                await one.page.emulate_media(color_scheme=scheme)
                await one.page.set_viewport_size({"width": width, "height": 900})
                found = await one.page.evaluate("axe.run().then(found => found.violations)")
                assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == [], (scheme, width)
                wider = await one.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wider <= 0, f"the page is {wider} pixels wider than a screen of {width}"


async def test_without_javascript_the_figures_are_there(browser: Any) -> None:
    async with staged() as controller, tab(browser, controller.url, java_script_enabled=False) as one:
        assert "86 jobs want 4 workers: stays at 4 (Tier)" in await one.page.inner_text("body")
        assert one.said == []


async def test_the_report_of_a_simulation_looks_like_the_page_and_zooms(browser: Any, tmp_path: Path) -> None:
    days = [(1800.0 * number, 300.0) for number in range(120)]
    workload = Workload("days", lambda: iter(days), 2.5 * 86_400.0, 1_700_000_000.0)
    file = tmp_path / "report.html"
    file.write_text(page(compare(workload, CONTENDERS[:2], Setting(series=True))), encoding="utf-8")
    async with tab(browser, file.as_uri()) as one:
        await one.has("#panel-1 canvas")
        before = await one.page.locator("#panel-0 .plot").first.screenshot()
        await one.page.get_by_role("button", name="Wed 15 Nov").click()
        assert await one.page.locator("#panel-0 .plot").first.screenshot() != before
        await one.page.set_viewport_size({"width": 390, "height": 900})
        assert await one.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        found = await one.page.evaluate(f"{AXE.read_text()}; axe.run().then(found => found.violations)")
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
        assert one.said == []
