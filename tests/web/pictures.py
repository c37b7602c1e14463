"""`python -m tests.web.pictures`: the pictures of the page in docs/pictures, anew; needs what test_browser.py needs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

from playwright.async_api import async_playwright

from tests.web.staged import RENDER, Staged, failed, staged

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"


class Picture(NamedTuple):
    """size: in pixels; span: the button of the charts."""

    name: str
    scheme: Literal["light", "dark"]
    size: tuple[int, int]
    span: str
    fails: bool = False


PICTURES = (
    Picture("page", "light", (900, 600), "24 h"),
    Picture("page-failing", "dark", (1100, 700), "7 d", fails=True),
    Picture("page-phone", "dark", (390, 844), "6 h"),
)


async def take(browser: Any, controller: Staged, picture: Picture) -> None:
    if picture.fails:
        controller.put(failed(RENDER))
    width, height = picture.size
    page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=picture.scheme)
    await page.goto(controller.url)
    await page.get_by_role("button", name=picture.span).click()
    await page.get_by_text("Saved").wait_for()
    if not picture.fails and width > 500:
        await page.locator(".marks").first.locator("button").nth(-3).hover()
    await page.screenshot(path=FOLDER / f"{picture.name}.png")
    await page.close()


async def main() -> None:
    program = shutil.which("chromium")
    assert program is not None, "needs chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for picture in PICTURES:
            async with staged() as controller:
                await take(browser, controller, picture)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
