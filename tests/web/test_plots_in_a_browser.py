"""Hover, keyboard and zoom of plots, and the days of a calendar, in a real browser."""

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from web_harness import Served, Tab, open_tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def tip(tab: Tab) -> str:
    """Return the text beside the point that is shown."""
    return tab.page.locator(".plot-tip").first.inner_text()


def test_pointing_at_a_plot_shows_a_run(browser: "Browser", demo_site: Served) -> None:
    with open_tab(browser, demo_site.address) as tab:
        tab.open(f"{demo_site.address}jobs/1/trends")
        area = tab.page.locator(".area").first
        area.hover(position={"x": 600, "y": 100})
        assert re.fullmatch(r"[\d.]+ m?s\n(sequential|pool), run \d+\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", tip(tab))
        area.click(position={"x": 600, "y": 100})
        run = re.search(r"run (\d+)", tip(tab))
        tab.page.locator(".plot-tip a").first.click()
        assert run
        assert tab.page.url == f"{demo_site.address}runs/{run[1]}"


def test_dragging_zooms_to_a_time_range(browser: "Browser", demo_site: Served) -> None:
    with open_tab(browser, demo_site.address) as tab:
        tab.open(f"{demo_site.address}jobs/1/trends?metric=cpu_s")
        box = tab.page.locator(".area").first.bounding_box()
        assert box
        tab.page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 100)
        tab.page.mouse.down()
        tab.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 120, steps=3)
        tab.page.mouse.up()
        tab.page.wait_for_url("**since=*")
        query = parse_qs(urlsplit(tab.page.url).query)
        assert ["cpu_s"] == query["metric"]
        assert query["since"] < query["until"]
        assert tab.page.locator(".area").count() == 3


def test_the_keyboard_selects_and_zooms(browser: "Browser", demo_site: Served) -> None:
    with open_tab(browser, demo_site.address) as tab:
        tab.open(f"{demo_site.address}jobs/1/trends")
        tab.page.locator("figure").first.focus()
        tab.page.keyboard.press("End")
        last = tip(tab)
        tab.page.keyboard.press("ArrowLeft")
        assert last != tip(tab)
        tab.page.keyboard.press("Escape")
        assert tab.page.locator(".plot-tip").first.is_hidden()
        for key in ("PageUp", "Shift+PageUp", "Shift+PageUp", "Enter"):
            tab.page.keyboard.press(key)
        tab.page.wait_for_url("**since=*")


def test_a_tap_shows_a_run_and_a_day_its_runs(browser: "Browser", demo_site: Served) -> None:
    with open_tab(browser, demo_site.address, has_touch=True) as tab:
        tab.page.set_viewport_size({"width": 390, "height": 900})
        tab.open(f"{demo_site.address}jobs/1")
        tab.page.locator(".calendar .day").last.tap()
        tab.page.wait_for_url("**/runs?job=1&since=*&until=*")
        tab.open(f"{demo_site.address}jobs/1/trends")
        tab.page.locator(".area").first.tap(position={"x": 200, "y": 100})
        assert "run " in tip(tab)
        assert [] == tab.audit()
