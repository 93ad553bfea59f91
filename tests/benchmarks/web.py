"""What the web pages cost: time and bytes of every page, the browser's paint, and the firings beside readers.

Histories of three sizes are written, or taken from --directory, and served. Every answer is rendered for itself: each
request has a query of its own. Times are those of requests on one connection; "CPU ms" is CPU time of the server.
"""

import gzip
import http.client
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Browser, sync_playwright

from runner.history import jobs
from runner.history.database import locate
from runner.history.recording import begin_run
from runner.history.upgrade import open_database
from runner.measure.environment import describe_environment, describe_process
from runner.model.jobs import JobSpec
from runner.schedules.parse import parse_schedule
from runner.web.pages import PAGES
from tests.benchmarks.histories import write_history
from tests.benchmarks.progress import make_parser, reporting, write_head, write_row
from tests.web_harness import Served, find_browser, list_addresses, open_tab, serve

# By the number of runs: jobs, files, and the most milliseconds at the median and the 95th percentile.
_SIZES = {2_000: (10, 2_000, 50, 100), 100_000: (100, 20_000, 100, 180), 1_000_000: (1_000, 100_000, 300, 300)}
_MOST_WIRE_KB, _MOST_REQUESTS, _MOST_REVISION_MS, _MOST_PAINT_MS, _MOST_SHIFT = 30, 6, 5, 500, 0.01
_MOST_STOP_S, _MOST_LATER_S, _READERS = 3, 0.2, 50
_PAINT = """() => new Promise(done => {
  const found = {paint: 0, shift: 0, task: 0};
  new PerformanceObserver(list => { for (const one of list.getEntries()) found.paint = one.startTime; })
    .observe({type: "largest-contentful-paint", buffered: true});
  new PerformanceObserver(list => { for (const one of list.getEntries()) found.shift += one.value; })
    .observe({type: "layout-shift", buffered: true});
  new PerformanceObserver(list => { found.task = Math.max(...list.getEntries().map(one => one.duration)); })
    .observe({type: "longtask", buffered: true});
  setTimeout(() => done(found), 300);
})"""


def main() -> None:
    """Measure, and print tables; exit with 1 if a figure misses its target."""
    options = make_parser(__doc__, rounds=15, seconds=20, directory=str)
    options.add_argument("--quick", action="store_true", help="only the smallest history, and few rounds")
    given = options.parse_args()
    rounds, seconds = (5, 10) if given.quick else (given.rounds, given.seconds)
    missed = 0
    with ExitStack() as stack:
        directory = Path(given.directory or stack.enter_context(tempfile.TemporaryDirectory()))
        tell = stack.enter_context(reporting())
        for size in list(_SIZES)[: 1 if given.quick else None]:
            tell(f"the history of {size:,} runs")
            path = _make_history(directory, size)
            with serve(path) as served:
                missed += _measure_pages(served, size, rounds, tell)
        tell("the browser")
        missed += _measure_browser(directory / "2000.db")
        tell("the daemon")
        missed += _measure_lateness(seconds)
    sys.exit(1 if missed else 0)


def _make_history(directory: Path, size: int) -> Path:
    """Return a history of a size, which is written if it is missing."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{size}.db"
    if not path.exists():
        unfinished = path.with_suffix(".new")
        n_jobs, n_files, *_ = _SIZES[size]
        with closing(open_database(locate(str(unfinished)))) as database:
            write_history(database, n_runs=size, n_jobs=n_jobs, n_files=n_files)
        unfinished.rename(path)
    return path


def _measure_pages(served: Served, size: int, rounds: int, tell: Callable[[str], None]) -> int:
    """Print a table of all pages; return how many figures miss their targets."""
    n_jobs, n_files, most_median, most_p95 = _SIZES[size]
    sys.stdout.write(f"\n{size:,} runs of {n_jobs:,} jobs, {n_files:,} files\n\n")
    write_head("page", "median ms", "p95 ms", "CPU ms", "kB", "gzipped kB", "target")
    missed = 0
    for pattern in PAGES:
        tell(f"{size:,} runs: {pattern}")
        addresses = list_addresses(served.database, pattern)
        if addresses:
            times, cpu_ms, content, zipped = _ask(served, addresses[:: max(1, len(addresses) // rounds)], rounds)
            missed += _write(pattern, times, cpu_ms, content, zipped, most_median, most_p95)
    for page in ("revision", "healthz"):
        times, cpu_ms, *_ = _ask(served, [page], 20 * rounds)
        missed += _write(f"/{page}", times, cpu_ms, 0, 0, _MOST_REVISION_MS, _MOST_REVISION_MS)
    times, cpu_ms, *_ = _ask(served, [""], 20 * rounds, unchanged=True)
    return missed + _write("/ unchanged: 304", times, cpu_ms, 0, 0, _MOST_REVISION_MS, _MOST_REVISION_MS)


def _write(
    name: str, times: Sequence[float], cpu_ms: float, content: int, zipped: int, most_median: float, most_p95: float
) -> int:
    median, p95 = statistics.median(times) * 1e3, statistics.quantiles(times, n=20)[-1] * 1e3
    misses = median > most_median or p95 > most_p95
    target = f"{most_median} / {most_p95}{' MISSED' if misses else ''}"
    write_row(
        f"`{name}`",
        *(f"{one:.1f}" for one in (median, p95, cpu_ms)),
        f"{content / 1e3:.1f}",
        f"{zipped / 1e3:.1f}",
        target,
    )
    return int(misses)


def _ask(
    served: Served, addresses: Sequence[str], rounds: int, *, unchanged: bool = False
) -> tuple[list[float], float, int, int]:
    """Return the seconds of requests on one connection, the server's CPU time, and the most bytes of an answer.

    The CPU time is in milliseconds a request; the bytes are those of the plain and of the compressed answer.
    """
    times, most, zipped, etag = [], 0, 0, ""
    server = psutil.Process(served.process.pid)
    before = server.cpu_times()
    with closing(http.client.HTTPConnection(urlsplit(served.address).netloc, timeout=60)) as connection:
        connection.connect()
        for number, address in enumerate(islice(cycle(addresses), rounds + 1)):
            target = f"/{address}" if unchanged else f"/{address}{'&' if '?' in address else '?'}round={number}"
            headers = {"Accept-Encoding": "gzip"} | ({"If-None-Match": etag} if unchanged else {})
            if number == 1:  # the first one loads the template
                before = server.cpu_times()
            began = time.perf_counter()
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            times.append(time.perf_counter() - began)
            if answer.status not in {200, 304}:
                raise SystemExit(f"{target}: {answer.status} {content[:200]!r}")
            etag = answer.headers.get("ETag", "")
            zipped = max(zipped, len(content))
            most = max(most, len(gzip.decompress(content)) if answer.headers.get("Content-Encoding") else len(content))
    after = server.cpu_times()
    cpu_s = after.user - before.user + after.system - before.system
    return times[1:], cpu_s / rounds * 1e3, most, zipped


def _check(name: str, value: float, most: float, unit: str = "") -> int:
    misses = value > most
    write_row(name, f"{value:.3g}{unit}", f"≤ {most:g}{unit}{' MISSED' if misses else ''}")
    return int(misses)


def _measure_browser(history: Path) -> int:
    """Print what a browser sees of the first page, and of eight tabs; return how many figures miss their targets."""
    sys.stdout.write("\nIn a browser, 2,000 runs\n\n")
    write_head("what", "measured", "target")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        copy = Path(scratch, "runner.db")
        copy.write_bytes(history.read_bytes())
        with serve(copy) as served:
            wire, requests = _measure_wire(browser, served.address)
            missed = _check("overview: on the wire", wire / 1e3, _MOST_WIRE_KB, " kB")
            missed += _check("overview: requests", requests, _MOST_REQUESTS)
            paints = [_measure_paint(browser, served.address, "") for _ in range(5)]
            missed += _check(
                "overview: largest contentful paint",
                statistics.median(paint for paint, _ in paints),
                _MOST_PAINT_MS,
                " ms",
            )
            for pattern in PAGES:
                for address in list_addresses(copy, pattern)[:1]:
                    paint, shift = _measure_paint(browser, served.address, address)
                    missed += _check(f"`{pattern}`: paint", paint, _MOST_PAINT_MS, " ms")
                    missed += _check(f"`{pattern}`: layout shift", shift, _MOST_SHIFT)
        live_s, stop_s = _measure_live(browser, copy)
        missed += _measure_report(browser, Path(scratch))
        missed += _check("eight tabs: the last shows a new run after", live_s, 5, " s")
        return missed + _check("SIGTERM beside eight tabs", stop_s, _MOST_STOP_S, " s")


def _measure_report(browser: Browser, scratch: Path) -> int:
    """Print what a report of a year of hourly runs costs; return how many figures miss their targets."""
    path, report = scratch / "year.db", scratch / "report.html"
    with closing(open_database(locate(str(path)))) as database:
        write_history(database, n_runs=8_760, n_jobs=1, n_files=1_000)
    command = [sys.executable, "-m", "runner", "report", "--db", str(path), "--output", str(report)]
    times = []
    for _ in range(4):
        began = time.perf_counter()
        # With compiled modules after the first time, as an installed program has them.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=environment)
        times.append(time.perf_counter() - began)
    missed = _check("report of 8,760 runs × 2: size", report.stat().st_size / 1e3, 600, " kB")
    missed += _check("report: made, with the start of the program", statistics.median(times), 1.5, " s")
    with open_tab(browser, report.as_uri()) as tab:
        tab.page.goto(report.as_uri())
        found: dict[str, float] = tab.page.evaluate(_PAINT)
        missed += _check("report: drawn", found["paint"] / 1e3, 0.7, " s")
        missed += _check("report: longest task", found["task"], 50, " ms")
        return missed + _check("report: console messages, foreign and failed requests", len(tab.noted), 0)


def _measure_wire(browser: Browser, address: str) -> tuple[int, int]:
    """Return the bytes and the number of requests until the first page is complete and idle."""
    with open_tab(browser, address) as tab:
        devtools = tab.page.context.new_cdp_session(tab.page)
        sizes: list[int] = []
        devtools.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
        devtools.send("Network.enable")
        tab.page.goto(address, wait_until="networkidle")
        return sum(sizes), len(sizes)


def _measure_paint(browser: Browser, site: str, address: str) -> tuple[float, float]:
    """Return the milliseconds to the largest contentful paint of a page, and its layout shift."""
    with open_tab(browser, site) as tab:
        tab.open(site + address)
        found: dict[str, float] = tab.page.evaluate(_PAINT)
        return found["paint"], found["shift"]


def _measure_live(browser: Browser, history: Path) -> tuple[float, float]:
    """Return the seconds after which the last of eight tabs shows a new run, and those that the server takes to end."""
    with ExitStack() as kept:
        with serve(history) as served, closing(open_database(locate(str(history)))) as database:
            tabs = [kept.enter_context(open_tab(browser, served.address)) for _ in range(8)]
            for tab in tabs:
                tab.open(served.address)
            job = jobs.list_jobs(database)[0]
            environment = describe_environment(None, workers=2, start_method="fork")
            began = time.perf_counter()
            begin_run(
                database, job, None,
                clock=lambda: datetime.now(UTC), environment=environment, owner=describe_process(),
            )  # fmt: skip
            for tab in tabs:
                tab.page.locator("main .running").first.wait_for(state="attached")
            live_s, began = time.perf_counter() - began, time.perf_counter()
        return live_s, time.perf_counter() - began


def _measure_lateness(seconds: int) -> int:
    """Print how late a daemon fires each second without readers and beside many."""
    sys.stdout.write("\nLateness of a firing each second\n\n")
    write_head("readers", "firings", "median ms", "p95 ms", "largest ms")
    largest = []
    for readers in (0, _READERS):
        with tempfile.TemporaryDirectory() as scratch:
            late = _fire(Path(scratch), readers, seconds)
        p95 = statistics.quantiles(late, n=20)[-1]
        write_row(readers, len(late), *(f"{value * 1e3:.0f}" for value in (statistics.median(late), p95, max(late))))
        largest.append(p95)
    sys.stdout.write("\n")
    write_head("what", "measured", "target")
    return _check("p95 of lateness beside readers, beyond that of none", largest[1] - largest[0], _MOST_LATER_S, " s")


def _fire(scratch: Path, readers: int, seconds: int) -> list[float]:
    """Return the lateness of the firings of a real daemon beside readers of the pages."""
    tree, path = scratch / "tree", scratch / "runner.db"
    tree.mkdir()
    for number in range(50):
        (tree / f"{number}.md").touch()
    with closing(open_database(locate(str(path)))) as database:
        now = datetime.now(UTC)
        schedule = parse_schedule(every="1s", timezone="UTC", now=now)
        jobs.add_job(database, JobSpec(name="tree", root=str(tree).encode(), schedule=schedule), now)
    end = threading.Event()
    daemon = [sys.executable, "-m", "runner", "daemon", "--db", str(path)]
    with serve(path) as served, subprocess.Popen(daemon, stderr=subprocess.DEVNULL) as process:
        threads = [threading.Thread(target=_read, args=(served.address, end)) for _ in range(readers)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        end.set()
        for thread in threads:
            thread.join()
        process.terminate()
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT lateness_s FROM runs WHERE lateness_s IS NOT NULL ORDER BY id"
        return [lateness_s for (lateness_s,) in connection.execute(query)]


def _read(address: str, end: threading.Event) -> None:
    """Poll like a visible tab: ask for the revision every two seconds, and for the page when it has changed."""
    revision = b""
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)) as connection:
        while not end.wait(2):
            for target in ("/revision", "/"):
                connection.request("GET", target, headers={"Accept-Encoding": "gzip"})
                content = connection.getresponse().read()
                if target == "/revision" and content == revision:
                    break
                revision = content if target == "/revision" else revision


if __name__ == "__main__":
    main()
