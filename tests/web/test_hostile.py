"""Hostile names, addresses and clients: nothing runs in the browser, nothing is written, nothing fails."""

import hashlib
import json
import re
import resource
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, urlsplit

import httpx
import pytest
from conftest import until
from sqlalchemy import insert, update
from web_harness import Served, list_addresses, make_once, open_tab, serve

from runner.history import tables
from runner.history.database import Database
from runner.history.findings import digest_path
from runner.history.jobs import add_job
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.measure.environment import describe_environment, describe_process
from runner.model.jobs import JobSpec, Selection
from runner.model.runs import Execution, Status
from runner.web.pages import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# At least 200: those of the file, and single bytes that are no text.
_TEXTS = [
    line.encode().decode("unicode_escape").encode("latin-1")
    for line in Path(__file__).with_name("hostile.txt").read_text().splitlines()[1:]
]
HOSTILE = [*_TEXTS, *(bytes([number]) for number in (*range(1, 32), *range(127, 192)))]
_QUERIES = (
    *("job", "status", "since", "until", "before", "limit", "run", "at", "from", "to", "under", "under64", "path"),
    *("path64", "after", "kind", "by", "tag"),
)
_SECRET = b"root:x:0:"


def _write_hostile(database: Database) -> None:
    """Write jobs, runs, messages and files with hostile names."""
    now = datetime.now(UTC)
    for number, name in enumerate(_TEXTS):
        text = name.decode("utf-8", "replace").replace("\0", "?")
        spec = JobSpec(
            name=f"{text} {number}", root=b"/" + name, selection=Selection(patterns=(text,), excludes=(text,))
        )
        job = add_job(database, spec, now)
        environment = replace(describe_environment(None, workers=1, start_method="fork"), host=text)
        run = 0
        for status in (Status.FAILED, Status.SUCCEEDED):
            run = begin_run(database, job, None, clock=lambda: now, environment=environment, owner=describe_process())
            execution = Execution(strategy=text, position=1, status=status, wall_s=1.0, message=text)
            finish_run(database, run, RunOutcome(status=status, finished_at=now, message=text, executions=[execution]))
        if number < 5:
            _add_files(database, job.job_id, run, text)


def _add_files(database: Database, job_id: int, run: int, text: str) -> None:
    names = [name.replace(b"/", b"_").replace(b"\0", b"") or b"x" for name in HOSTILE]
    with database.write() as connection:
        for path in (b"", *names[::4]):
            row = {
                "job_id": job_id,
                "path": path,
                "path_digest": digest_path(path),
                "findings_digest": digest_path(path),
            }
            key = connection.execute(insert(tables.directories).values(row)).inserted_primary_key
            assert key
            file = {
                "folder_id": key[0],
                "first_run_id": run,
                "gone_run_id": None,
                "job_id": job_id,
                "size_bytes": 1,
                "mtime_ns": 1,
            }
            found = sorted(set(names)) if not path else names[:1]
            connection.execute(insert(tables.files), [file | {"name": name} for name in found])
        problem = {"job_id": job_id, "errno": 13, "text": text, "first_run_id": run}
        connection.execute(insert(tables.problems), [problem | {"path": name} for name in names[:40]])
        note = {"run_id": run, "event": "failure", "wall_s": 1.0, "started_at": datetime.now(UTC), "exit_code": 1}
        connection.execute(insert(tables.notifications).values(**note, command=json.dumps([text]), message=text))
        counts = {
            "files": len(set(names)),
            "directories": 9,
            "added": len(names),
            "removed": 0,
            "modified": 0,
            "problems": 40,
        }
        connection.execute(update(tables.runs).where(tables.runs.c.id == run).values(counts))


@pytest.fixture(scope="session")
def hostile_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a server of a history with hostile names."""
    with serve(make_once(tmp_path_factory, "hostile", _write_hostile)) as served:
        yield served


def test_hostile_names_do_nothing_in_a_browser(browser: "Browser", hostile_site: Served) -> None:
    with open_tab(browser, hostile_site.address) as tab:
        for pattern in PAGES:
            for address in list_addresses(hostile_site.database, pattern)[:6]:
                tab.open(hostile_site.address + address)
                assert (
                    0
                    == tab.page.locator(
                        "[data-hostile], iframe, base, main script:not([type='application/json'])"
                    ).count()
                )
                assert "main" == tab.page.locator("footer").evaluate("e => e.previousElementSibling.id"), address
                tab.page.set_viewport_size({"width": 390, "height": 900})
                assert [] == tab.audit(), address
        assert [] == tab.noted


def _ask(site: Served, target: bytes, method: bytes = b"GET", *headers: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request byte for byte; return the status and the rest of the answer."""
    place = urlsplit(site.address)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        if not any(header.lower().startswith(b"host:") for header in headers):
            headers = (b"Host: " + place.netloc.encode(), *headers)
        connection.sendall(
            b"\r\n".join((method + b" " + target + b" HTTP/1.1", *headers, b"Connection: close", b"", body))
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer[9:12]), answer


def _fingerprint(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode("utf-8", "replace")).hexdigest()


def _list_targets() -> list[str]:
    """List addresses, in which {} is where a page reads something."""
    paths = [re.sub(r"{\w+}", "{}", pattern) for pattern in PAGES if "{" in pattern]
    pages = [re.sub(r"{\w+}", "1", pattern) for pattern in PAGES]
    queries = [f"{page}?{name}={{}}" for name in _QUERIES for page in pages]
    return ["/{}", "/static/{}", "/runs.json?job={}", *paths, *queries]


def test_no_address_fails_reads_or_writes(hostile_site: Served) -> None:
    before = _fingerprint(hostile_site.database)
    targets = cycle(_list_targets())
    for text in HOSTILE:
        for one in islice(targets, 3):
            target = one.replace("{}", quote_from_bytes(text, safe="")).encode()
            status, answer = _ask(hostile_site, target)
            assert status < 500, target
            assert b"Traceback" not in answer
            assert _SECRET not in answer
            head, _, content = answer.partition(b"\r\n\r\n")
            assert head.count(b"\r\n") < 20, target  # no header is smuggled
            if text.startswith(b"<") and b"text/html" in head:
                assert text not in content, target
    assert before == _fingerprint(hostile_site.database)


@pytest.mark.parametrize(
    "raw", [b"/\xff\xfe", b"/runs?job=\xff", b"*", b"http://evil.example/", b"/a b", b"/\x00", b"//", b"/" * 5000]
)
def test_raw_addresses_are_answered(hostile_site: Served, raw: bytes) -> None:
    status, answer = _ask(hostile_site, raw)
    assert 400 <= status < 500 or b"evil.example" not in answer
    assert b"Traceback" not in answer


_FORGED_HOSTS = r"""
evil.example localhost.evil.example localhost:80@evil.example 127.0.0.1.evil.example 127.0.0.1:80:80 [::1 localhost:x
169.254.169.254 0.0.0.0 10.0.0.1 [::ffff:10.0.0.1] localhost# localhost/ localhost\ 2130706433 localhost%00
user@localhost
"""


@pytest.mark.parametrize("host", ["", *_FORGED_HOSTS.split()])
def test_forged_hosts_are_refused(hostile_site: Served, host: str) -> None:
    status, answer = _ask(hostile_site, b"/", b"GET", b"Host: " + host.encode())
    assert status in {400, 421}
    assert b"<html" not in answer


@pytest.mark.parametrize("arguments", [(), ("--allow-actions",)])
def test_forged_actions_change_nothing(demo_history: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "runner.db"
    path.write_bytes(demo_history.read_bytes())
    before = _fingerprint(path)
    foreign = (
        b"Origin: http://evil.example", b"Origin: null", b"Origin: http://localhost:1", b"Sec-Fetch-Site: cross-site",
        b"Sec-Fetch-Site: same-site", b"Sec-Fetch-Site: none", b"Origin: http://127.0.0.1@evil.example",
    )  # fmt: skip
    with serve(path, *arguments) as served:
        targets = [one for pattern in PAGES for one in list_addresses(path, pattern)[:1]]
        targets += [f"jobs/1/{verb}" for verb in ("run", "pause", "resume", "accept", "reject")] + ["runs/1/cancel"]
        for target in targets:
            for header in foreign:
                status, _ = _ask(served, b"/" + target.encode(), b"POST", header, b"Content-Length: 0")
                assert 403 == status, (target, header)
        for method in (b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"FROBNICATE"):
            assert _ask(served, b"/jobs/1", method)[0] in {400, 404, 405}
        huge = b"Content-Length: 99999999999"
        assert _ask(served, b"/jobs/1/run", b"POST", huge)[0] in {403, 404, 405, 413}
    assert before == _fingerprint(path)


@contextmanager
def _many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_slow_clients_delay_nobody_and_are_cut_off(demo_site: Served) -> None:
    place = urlsplit(demo_site.address)
    with ExitStack() as stack:
        address = (place.hostname, place.port)
        clients = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(40)]
        readers, senders = clients[:20], clients[20:]
        for reader in readers:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(f"GET /runs.json?limit=1000 HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        request = f"GET / HTTP/1.1\r\nHost: {place.netloc}\r\nX: {'x' * 100}".encode()
        began, number, pending = time.monotonic(), 0, set(senders)
        while pending and time.monotonic() < began + 20:
            for sender in list(pending):
                try:
                    sender.sendall(request[number : number + 1])
                except OSError:
                    pending.remove(sender)
            for reader in readers:
                assert 1 == len(reader.recv(1))
            asked = time.monotonic()
            assert 200 == httpx.get(f"{demo_site.address}missed").status_code
            assert time.monotonic() - asked < 3
            number += 1
            time.sleep(max(0, began + number - time.monotonic()))
        assert set() == pending


def test_a_thousand_connections_end_nothing(demo_site: Served) -> None:
    place = urlsplit(demo_site.address)
    with _many_descriptors(), ExitStack() as stack:
        for _ in range(1_000):
            stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=20))
        with suppress(httpx.TransportError):  # it may be refused, but not kept waiting
            assert httpx.get(f"{demo_site.address}healthz", timeout=10).status_code in {200, 503}

    def answers() -> bool:
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):
            return httpx.get(f"{demo_site.address}runs", timeout=10).status_code == 200
        return False

    until(answers, "the end of the crowd")
