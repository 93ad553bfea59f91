"""The files of a run in a real browser are those that the command lists."""

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from conftest import Program
from web_harness import Served, Tab, open_tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_time_travel_shows_what_the_command_lists(browser: "Browser", demo_site: Served, program: Program) -> None:
    program.environment["RUNNER_DB"] = str(demo_site.database)
    runs = [run["run"] for run in program.json("history", "drafts", "--limit", "200") if run["files"]]
    for run in (runs[0], runs[-1]):
        expected = sorted(file["path"] for file in program.json("files", "drafts", "--run", str(run)))
        with open_tab(browser, demo_site.address) as tab:
            assert expected == sorted(_walk(tab, f"{demo_site.address}jobs/5/files?run={run}"))


def _walk(tab: Tab, address: str) -> list[str]:
    """List the paths of the files that the page shows, directory by directory."""
    tab.open(address)
    links = "as => as.map(a => a.href)"
    files = tab.page.eval_on_selector_all("#list a[href*='file?path']", links)
    below = [link for link in tab.page.eval_on_selector_all("#list a[href*='files?']", links) if "under=" in link]
    paths = [parse_qs(urlsplit(link).query)["path"][0] for link in files]
    return paths + [path for link in below for path in _walk(tab, link)]
