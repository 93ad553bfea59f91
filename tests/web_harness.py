"""Fixtures for the web pages: servers over several histories, and a real browser."""

import fcntl
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from runner.history.database import Database, locate
from runner.history.demo import write_demo
from runner.history.upgrade import open_database
from runner.web.links import query

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, Request

WIDTHS = (1280, 390)
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
_AUDIT = Path(__file__).with_name("web") / "audit.js"


@dataclass
class Served:
    """A server of web pages.

    Attributes:
        address: Of its first page, with a slash at the end.
        database: The file of its history.
        process: Its process.
    """

    address: str
    database: Path
    process: "subprocess.Popen[bytes]"


def find_browser() -> str:
    """Return the path of a real browser."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "the tests of the pages need Chromium; install it, `apt-get install chromium` on Debian"
    return path


def find_free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def serve(database: Path, *arguments: str) -> Iterator[Served]:
    """Serve a history on a free port, meanwhile."""
    log = database.with_suffix(".log")
    command = [sys.executable, "-m", "runner", "web", "--port", "0", "--db", str(database), *arguments]
    with log.open("wb") as written, subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr
        try:
            line = process.stderr.readline().decode()
            found = re.match(r"serving (http\S+)", line)
            assert found, line + process.stderr.read().decode()
            yield Served(found[1], database, process)
            assert process.poll() is None, "the server has ended"
        finally:
            process.terminate()
            written.write(process.stderr.read())
    assert "Traceback" not in log.read_text()


def make_once(factory: pytest.TempPathFactory, name: str, write: Callable[[Database], None]) -> Path:
    """Return a history that is written once for all workers of the tests."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    path = root / f"{name}.db"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = root / f"{name}.new"
            with closing(open_database(locate(str(unfinished)))) as database:
                write(database)
            unfinished.rename(path)
    return path


@pytest.fixture(scope="session")
def demo_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demo's year, to be read only."""
    return make_once(tmp_path_factory, "demo", lambda database: write_demo(database, datetime.now(UTC)))


def _serve_copy(factory: pytest.TempPathFactory, history: Path) -> Iterator[Served]:
    with serve(Path(shutil.copy(history, factory.mktemp("served")))) as served:
        yield served


@pytest.fixture(scope="session")
def demo_site(tmp_path_factory: pytest.TempPathFactory, demo_history: Path) -> Iterator[Served]:
    """Return a server of the demo's year."""
    yield from _serve_copy(tmp_path_factory, demo_history)


@pytest.fixture(scope="session")
def empty_site(tmp_path_factory: pytest.TempPathFactory, empty_history: Path) -> Iterator[Served]:
    """Return a server of an empty history."""
    yield from _serve_copy(tmp_path_factory, empty_history)


@pytest.fixture(scope="module")  # not longer: while it is open, its event loop keeps others from running
def browser() -> "Iterator[Browser]":
    """Return a real browser, which every machine that runs the tests has to have."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Tab:
    """A tab of the browser, which notes everything that a clean page never does.

    Attributes:
        page: Playwright's page.
        noted: Console messages, errors, dialogs, foreign and failed requests.
    """

    page: "Page"
    noted: list[str] = field(default_factory=list)

    def watch(self, site: str) -> None:
        """Record from now on what the page does beside showing *site*."""

        def dismiss(dialog: "Dialog") -> None:
            self.noted.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        def check(request: "Request") -> None:
            if not request.url.startswith(site):
                self.noted.append(f"foreign request: {request.url}")

        self.page.on("console", lambda message: self.noted.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.noted.append(f"error: {error}"))
        self.page.on("dialog", dismiss)
        self.page.on("request", check)
        self.page.on("requestfailed", lambda one: self.noted.append(f"failed request: {one.url} {one.failure}"))

    def open(self, address: str, status: int = 200) -> None:
        """Open an address, and wait until it is complete."""
        answer = self.page.goto(address, wait_until="load")
        assert answer
        assert status == answer.status, address

    def audit(self) -> list[str]:
        """List texts that are small or weak in contrast, and overflow, as the page is now."""
        found: list[str] = self.page.evaluate(_AUDIT.read_text())
        return found


@contextmanager
def open_tab(browser: "Browser", site: str, **options: Any) -> Iterator[Tab]:
    """Open a tab in a context of its own, meanwhile."""
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900}, **options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    tab = Tab(page)
    tab.watch(site)
    try:
        yield tab
    finally:
        context.close()


def list_addresses(history: Path, pattern: str) -> list[str]:
    """List addresses of a page, relative to the first page: of a run of each status, of each job, of some file."""
    queries = {
        "{run}": "SELECT max(id) FROM runs GROUP BY status",
        "{job}": "SELECT id FROM jobs ORDER BY id",
        "{calibration}": "SELECT id FROM calibrations",
        "file": "SELECT path, name FROM files JOIN folders ON folders.id = folder_id WHERE files.job_id = ? LIMIT 1",
    }
    found = [pattern[1:]]
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True)) as connection:
        for part, ask in queries.items():
            if part in pattern and part != "file":
                values = [value for (value,) in connection.execute(ask)]
                found = [one.replace(part, str(value)) for one in found for value in values]
        if pattern.endswith("/file"):
            files = [connection.execute(queries["file"], (one.split("/")[1],)).fetchone() for one in found]
            pairs = [(one, b"/".join(filter(None, file))) for one, file in zip(found, files, strict=True) if file]
            found = [one + query(path=path) for one, path in pairs]
    return found
