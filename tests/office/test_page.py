"""The page in a real browser: it is live, draws its charts, says when it is not live, and gives orders."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.office.conftest import PATIENT_S, Served, served, until
from tests.office.given import Running

CHROMIUM = Path("/usr/bin/chromium")
OFFLINE = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]

pytestmark = pytest.mark.browser
if not CHROMIUM.exists():
    pytest.skip("chromium absent", allow_module_level=True)
playwright = pytest.importorskip("playwright.async_api", reason="playwright absent")


# how many pixels of a canvas are not empty
DRAWN_PIXELS = """(where) => { const c = document.querySelector(where);
    const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
    let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"""


@dataclass
class Opened:
    """A page, and everything it complained about or asked elsewhere for."""

    page: playwright.Page
    complaints: list[str]
    foreign: list[str]


@asynccontextmanager
async def opened(office: Served, width: int = 1280, height: int = 800, dark: bool = False) -> AsyncIterator[Opened]:
    async with playwright.async_playwright() as driver:
        playwright.expect.set_options(timeout=1000 * PATIENT_S)
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=OFFLINE, timeout=1000 * PATIENT_S)
        page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
        page.set_default_timeout(1000 * PATIENT_S)
        found = Opened(page, [], [])
        home = f"http://127.0.0.1:{office.port}/"
        page.on("console", lambda said: found.complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("request", lambda asked: found.foreign.append(asked.url) if not asked.url.startswith((home, "data:")) else None)
        await page.goto(home)
        yield found
        await browser.close()


async def test_the_page_is_live_draws_everything_and_complains_of_nothing(office: Served, tmp_path: Path):
    async with opened(office) as seen:
        figure = seen.page.locator("#import")
        await seen.page.wait_for_selector("#chart-store canvas")
        before = await figure.inner_text()
        snapshot = office.running.cycle(import_kw=1234.0)
        await playwright.expect(figure).to_have_text("1,234 kW")
        assert before != "1,234 kW"
        assert await seen.page.locator("article.asset h3").all_inner_texts() == [a["id"] for a in snapshot["assets"]]
        for chart in ("import", "ahead", "store"):
            await seen.page.wait_for_selector(f"#chart-{chart} canvas")
            await seen.page.wait_for_function(f"({DRAWN_PIXELS})('#chart-{chart} canvas') > 1000")
        legend = seen.page.locator("#chart-import .u-legend")
        await playwright.expect(legend).to_contain_text("1,234 kW")
        await playwright.expect(legend).to_contain_text("1,370 kW")
        await playwright.expect(seen.page.locator("#chart-ahead .u-legend")).to_contain_text("demand q10")
        picture = tmp_path / "page.png"
        await seen.page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 50_000
        assert (seen.complaints, seen.foreign) == ([], [])


async def test_a_phone_shows_the_page_without_scrolling_sideways(office: Served, tmp_path: Path):
    office.running.loop.now += timedelta(minutes=1)
    office.running.plan()  # newer than the forecast: its own quantiles are drawn
    async with opened(office, 390, 844, dark=True) as seen:
        await seen.page.wait_for_selector("#chart-store canvas")
        await playwright.expect(seen.page.locator("#ahead-note")).to_contain_text("q50–q90")
        assert await seen.page.evaluate("document.documentElement.scrollWidth") <= 390
        await seen.page.screenshot(path=tmp_path / "phone.png", full_page=True)
        assert seen.complaints == []


async def test_a_silent_control_and_then_a_dead_office_are_told(running: Running):
    running.loop.now += timedelta(seconds=7)
    async with served(running) as office, opened(office) as seen:
        await playwright.expect(seen.page.locator("#panel-banner")).to_contain_text("Not live")
        await playwright.expect(seen.page.locator(".tile.main.stale")).to_have_count(1)
        await office.service.stop()
        await playwright.expect(seen.page.locator("#cut")).to_contain_text("office is down")


async def test_an_order_given_on_the_page_reaches_the_mailbox(office: Served):
    async with opened(office) as seen:
        page = seen.page
        await page.locator("details.order summary").click()
        await page.select_option("[name=kind]", "override")
        await page.fill("[name=kw]", "-120")
        await page.fill("[name=by]", "Ada")
        await page.fill("[name=why]", "trial")
        await page.locator("form button").click()
        [message] = await until(lambda: office.running.mailbox.since("order", 0), "the order is sent")
        assert (message.body["kw"], message.body["by"]) == (-120.0, "Ada")
        said = {"sequence": message.sequence, "is_done": True, "text": "bess-1 discharges 120 kW"}
        office.running.mailbox.post("order_ack", said, office.running.now, office.running.now + timedelta(days=1))
        await playwright.expect(page.locator("#order-answer")).to_have_text(re.compile("bess-1 discharges 120 kW"))


async def test_hostile_names_stay_text_in_the_browser(office: Served):
    async with opened(office) as seen:
        hostile = "<img src=x onerror=\"document.title='owned'\">"
        office.running.cycle(alarms=[hostile], cause=hostile)
        await playwright.expect(seen.page.locator(".alarms")).to_contain_text("<img")
        assert await seen.page.title() != "owned"
        assert await seen.page.locator("main img").count() == 0
