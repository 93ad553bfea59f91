"""The pictures of the web pages, of the demo's year in a real browser: ``python -m tests.docs.screenshots``."""

import base64
import os
import shutil
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from playwright.sync_api import sync_playwright

from runner.history.daemons import record_daemon, record_heartbeat
from runner.history.database import locate
from runner.history.demo import write_demo
from runner.history.upgrade import open_database
from runner.measure.environment import describe_process
from runner.web import server, sockets
from runner.web.site import Options, Site

DIRECTORY = Path(__file__).parents[2] / "docs/images"
_NOW = datetime(2026, 11, 27, 10, 40, tzinfo=UTC)
_WIDTH = 1280
_QUALITY = 75
# By the name of the picture: the address, the colour scheme, and the height.
PICTURES: dict[str, tuple[str, Literal["light", "dark"], int]] = {
    "overview": ("", "light", 760),
    "overview-dark": ("", "dark", 760),
    "timeline": ("timeline?span=week", "light", 780),
    "trends": ("jobs/1/trends", "light", 780),
    "files": ("jobs/1/files?at=90d", "light", 700),
}


def main() -> None:
    """Write the pictures."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    DIRECTORY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        place = f"{scratch}/runner.db"
        with closing(open_database(locate(place))) as database:
            write_demo(database, _NOW)
            alive = replace(describe_process(), host="atlas")
            record_daemon(database, alive, _NOW - timedelta(days=9))
            record_heartbeat(database, alive, _NOW)
        with closing(Site(locate(place), Options(), lambda: _NOW)) as site, sockets.listen("127.0.0.1", 0) as listener:
            running = server.make_server(site)
            thread = threading.Thread(target=running.run, args=([listener],))
            thread.start()
            _take(f"http://127.0.0.1:{listener.getsockname()[1]}")
            running.should_exit = True
            thread.join()


def _take(site: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (address, scheme, height) in PICTURES.items():
            page = browser.new_page(viewport={"width": _WIDTH, "height": height}, color_scheme=scheme)
            page.clock.set_fixed_time(_NOW)
            page.goto(f"{site}/{address}", wait_until="networkidle")
            devtools = page.context.new_cdp_session(page)
            taken = devtools.send("Page.captureScreenshot", {"format": "webp", "quality": _QUALITY})
            (DIRECTORY / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))
        browser.close()


if __name__ == "__main__":
    main()
