"""Every page in a real browser: nothing in the console, nothing foreign, accessible, and reached by the keyboard."""

import json
import re
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from web_harness import SCHEMES, WIDTHS, Served, Tab, list_addresses, open_tab, serve

from runner.history.database import locate
from runner.history.jobs import get_job, list_jobs
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.upgrade import open_database
from runner.measure.environment import describe_environment, describe_process
from runner.model.runs import Status
from runner.web.guard import HEADERS
from runner.web.pages import PAGES
from runner.web.report import render_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_AXE = {"resultTypes": ["violations", "incomplete"]}
_AGAINST_POLICY = re.compile(
    r"""(?:href|src|action)=["']?(?:/|https?:)|<style|\sstyle=|\son\w+="""
    r"""|<script(?! type="(?:module|application/json)")"""
)
# Notes every element that receives the focus, and whether that is seen. The arrow keys reach the other bars of a strip.
_NOTE_FOCUS = """() => {
  window.reached = new Set();
  document.addEventListener("focusin", ({target}) => {
    if (getComputedStyle(target).outlineStyle !== "none") reached.add(target);
  });
  window.wanted = [...document.querySelectorAll(
    "a[href]:not([tabindex='-1']), button:enabled, input:enabled:not([type=hidden]), select:enabled, summary, "
    + "[tabindex='0']",
  )].filter(one => one.checkVisibility({visibilityProperty: true}));
  return wanted.length;
}"""
_MISSED = "() => wanted.filter(one => !reached.has(one)).map(one => one.outerHTML.slice(0, 120))"


@pytest.mark.parametrize("pattern", PAGES)
def test_a_page_is_clean_and_accessible(browser: "Browser", demo_site: Served, pattern: str) -> None:
    addresses = list_addresses(demo_site.database, pattern)
    with open_tab(browser, demo_site.address) as tab:
        for number, address in enumerate(addresses):
            tab.open(demo_site.address + address)
            assert [] == _audit_looks(tab, whole=number == 0), address
            if number == 0:
                assert [] == _miss_by_keyboard(tab), address
        assert [] == tab.noted
    with open_tab(browser, demo_site.address, java_script_enabled=False) as tab:
        tab.open(demo_site.address + addresses[0])
        assert [] == _audit_looks(tab, whole=False), "without JavaScript"
        assert [] == tab.noted


def _audit_looks(tab: Tab, *, whole: bool) -> list[str]:
    """List what is wrong with a page at both widths and in both colour schemes."""
    found = []
    for width in WIDTHS:
        tab.page.set_viewport_size({"width": width, "height": 900})
        for scheme in SCHEMES if whole else SCHEMES[1:]:
            tab.page.emulate_media(color_scheme=scheme)
            faults = tab.audit() + (_ask_axe(tab) if whole else [])
            found += [f"{width} px, {scheme}: {one}" for one in faults]
    return found


def _ask_axe(tab: Tab) -> list[str]:
    """List axe's violations, and what it leaves undecided besides the contrasts, which the audit has computed."""
    tab.page.evaluate(f"window.axe ?? {AXE_SCRIPT}")
    answer: dict[str, Any] = tab.page.evaluate(f"axe.run({json.dumps(_AXE)})")
    undecided = [one for one in answer["incomplete"] if one["id"] != "color-contrast"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:200]}"
        for rule in answer["violations"] + undecided
        for node in rule["nodes"][:3]
    ]


def _miss_by_keyboard(tab: Tab) -> list[str]:
    """List links and controls that the Tab key does not reach."""
    tab.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    for _ in range(tab.page.evaluate(_NOTE_FOCUS) + 1):
        tab.page.keyboard.press("Tab")
    missed: list[str] = tab.page.evaluate(_MISSED)
    return missed


def test_an_empty_history_has_pages(browser: "Browser", empty_site: Served) -> None:
    with open_tab(browser, empty_site.address) as tab:
        for pattern in PAGES:
            if "{" not in pattern:
                tab.open(empty_site.address + pattern[1:])
                assert [] == _audit_looks(tab, whole=True), pattern
        assert [] == tab.noted


def test_a_report_is_clean_and_accessible(browser: "Browser", demo_history: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    with closing(open_database(locate(str(shutil.copy(demo_history, tmp_path))))) as database, database.view() as view:
        report.write_text(render_report(view, list_jobs(view), datetime.now(UTC)))
    with open_tab(browser, report.as_uri()) as tab:
        tab.page.goto(report.as_uri())
        assert [] == _audit_looks(tab, whole=True)
        assert [] == _miss_by_keyboard(tab)
        assert [] == tab.noted


@pytest.mark.parametrize("pattern", PAGES)
def test_a_page_has_the_policy_and_only_relative_addresses(demo_site: Served, pattern: str) -> None:
    for address in list_addresses(demo_site.database, pattern)[:2]:
        answer = httpx.get(demo_site.address + address)
        assert HEADERS == {name: answer.headers[name] for name in HEADERS}
        assert [] == _AGAINST_POLICY.findall(answer.text)


def test_a_running_run_updates_without_reload(browser: "Browser", demo_history: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(demo_history, tmp_path))
    with serve(path) as served, closing(open_database(locate(str(path)))) as database:
        job = get_job(database, "docs")
        with open_tab(browser, served.address) as overview, open_tab(browser, served.address) as tab:
            overview.open(served.address)
            overview.page.evaluate("window.loaded = 1")
            run_id = begin_run(
                database, job, None,
                clock=lambda: datetime.now(UTC),
                environment=describe_environment(None, workers=2, start_method="fork"),
                owner=describe_process(),
            )  # fmt: skip
            overview.page.locator("main .running").first.wait_for()
            tab.open(f"{served.address}runs/{run_id}")
            tab.page.evaluate("window.loaded = 1")
            tab.page.locator("main .status.running").first.wait_for()
            finish_run(
                database, run_id, RunOutcome(status=Status.FAILED, finished_at=datetime.now(UTC), message="told")
            )
            tab.page.locator("main .status.failed").first.wait_for()
            overview.page.locator("main .running").first.wait_for(state="detached")
            assert 1 == tab.page.evaluate("window.loaded") == overview.page.evaluate("window.loaded")
            assert [] == tab.noted + overview.noted


def test_arrow_keys_move_between_bars_with_a_tooltip(browser: "Browser", demo_site: Served) -> None:
    with open_tab(browser, demo_site.address) as tab:
        for address, group in (("", ".strip"), ("timeline?span=week", ".track")):
            tab.open(demo_site.address + address)
            bars = tab.page.locator(group).filter(has=tab.page.locator("a")).first.locator("a")
            assert 1 == bars.locator("xpath=self::*[@tabindex=0]").count()
            bars.last.focus()
            for key, place in (("ArrowLeft", -2), ("Home", 0), ("ArrowRight", 1), ("End", -1)):
                tab.page.keyboard.press(key)
                assert bars.nth(place).evaluate("one => one === document.activeElement"), (address, key)
            assert re.match(r"\w+", tab.page.locator(".bubble").inner_text())
            bars.first.hover(force=True)
            assert bars.first.get_attribute("aria-label") == tab.page.locator(".bubble").inner_text()
        assert [] == tab.noted
