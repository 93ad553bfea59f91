import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
from browsing import served
from conftest import Program, changed, until
from history_examples import begin, play, snapshot, some_job
from prometheus_client.parser import text_string_to_metric_families

from runner.history.daemons import record_daemon
from runner.history.database import Database
from runner.measure.environment import describe_process
from runner.web import sockets
from runner.web.site import Options

SLOW = """
import time
from runner.web.pages import PAGES
PAGES["/missed"] = lambda asked: time.sleep(30)
"""


@contextmanager
def web(program: Program, *arguments: str | Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run ``runner web`` on a free port meanwhile; yield its process and address."""
    process = program.start("web", "--port", "0", *arguments, stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process:
        try:
            line = process.stderr.readline().decode()
            found = re.search(r"http\S+", line)
            assert found, line + process.stderr.read().decode()
            yield process, found[0]
        finally:
            process.kill()


def get(address: str, path: str = "") -> httpx.Response:
    return httpx.get(address + path, trust_env=False, timeout=20)


def wait_for(address: str) -> httpx.Response:
    """Wait until an address is answered."""

    def answer() -> httpx.Response | None:
        try:
            return get(address)
        except httpx.TransportError:
            return None

    return until(answer, address)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signal_ends_it_within_three_seconds(program: Program, number: int, code: int) -> None:
    with web(changed(program, SLOW), "--db", program.database) as (process, address):
        ended = threading.Event()

        def live() -> None:
            with httpx.Client(trust_env=False) as tab:
                while not ended.is_set():
                    try:
                        tab.get(address + "revision")
                    except httpx.TransportError:
                        return
                    ended.wait(0.2)

        def stuck() -> None:
            with suppress(httpx.TransportError):
                assert get(address, "missed").is_server_error

        wait_for(address)
        tabs = [threading.Thread(target=each) for each in (stuck, *8 * [live])]
        for tab in tabs:
            tab.start()
        with closing(socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2].strip("/"))))) as idle:
            idle.sendall(b"GET / HT")
            time.sleep(1)
            process.send_signal(number)
            began_s = time.monotonic()
            process.wait(20)
            took_s = time.monotonic() - began_s
        ended.set()
        for tab in tabs:
            tab.join()
        assert took_s < 3
        assert code == process.returncode


def test_missing_database_is_waited_for(program: Program, tree: Path) -> None:
    with web(program) as (_, address):
        assert "No jobs yet" in get(address).text
        before = get(address, "revision").text
        assert not program.database.exists()
        program.out("run", tree)
        assert before != get(address, "revision").text
        assert ">docs</a>" in get(address).text


def test_replaced_database_is_opened_again(program: Program, tree: Path) -> None:
    program.out("run", tree)
    with web(program) as (_, address):
        assert ">docs</a>" in get(address).text
        for file in program.folder.glob("runner.db*"):
            file.unlink()
        program.out("schedule", tree, "--every", "1h", "--name", "other")
        assert ">other</a>" in get(address).text


def test_read_only_database_is_shown_and_refuses_actions(program: Program, tree: Path) -> None:
    program.out("run", tree)
    folder = program.folder / "shut"
    folder.mkdir()
    program.out("db", "backup", folder / "runner.db")
    program.environment["RUNNER_DB"] = str(folder / "runner.db")
    folder.chmod(0o500)
    (folder / "runner.db").chmod(0o400)
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    with web(changed(program, prefix=prefix), "--allow-actions") as (_, address):
        assert ">docs</a>" in get(address).text
        assert 200 == get(address, "jobs/1/files").status_code
        for action in ("jobs/1/run", "jobs/1/pause"):
            answer = httpx.post(address + action, trust_env=False)
            assert 409 == answer.status_code, answer.text
            assert "is read-only" in answer.text
        assert ["runner.db"] == os.listdir(folder)
    folder.chmod(0o700)


def test_damaged_database_is_explained(program: Program) -> None:
    program.database.write_bytes(b"no database" * 1_000)
    assert "is not a SQLite database" in program.refused("web", "--port", "0")


def test_postgresql_without_its_server_is_explained(program: Program) -> None:
    url = f"postgresql://127.0.0.1:{free_port()}/none"
    assert "can't be reached" in program.refused("web", "--port", "0", "--db", url, code=1)


def test_any_database_is_served(program: Program, place: str, database: Database) -> None:
    some_job(database)
    with web(program, "--db", place) as (_, address):
        assert ">docs</a>" in get(address).text
        assert [] == get(address, "jobs/1/files.json").json() == get(address, "jobs/1/changes.json").json()
        assert program.json("jobs", "--db", place) == get(address, "index.json").json()


def test_other_addresses_demand_the_token(program: Program) -> None:
    everywhere = "0.0.0.0"  # noqa: S104  that is what is tested
    with web(program, "--host", everywhere, "--root-path", "/runner/", "--allow-host", "docs.example.org") as (
        _,
        address,
    ):
        port, token = re.findall(r":(\d+)/\?token=(\S+)", address)[0]
        here = f"http://127.0.0.1:{port}/"
        assert 401 == get(here).status_code
        answer = get(here, f"?token={token}")
        assert 303 == answer.status_code
        assert f"runner-{port}=" in answer.headers["set-cookie"]
        assert "Path=/runner/;" in answer.headers["set-cookie"]
        host = {"Host": "docs.example.org", "Authorization": f"Bearer {token}"}
        assert 200 == httpx.get(here, headers=host, trust_env=False).status_code
        assert 421 == httpx.get(here, headers={**host, "Host": "example.org"}, trust_env=False).status_code


def test_loopback_of_ipv6_needs_no_token(program: Program) -> None:
    with web(program, "--host", "::1") as (_, address):
        assert re.fullmatch(r"http://\[::1\]:\d+/", address)
        assert "ok" in get(address, "healthz").text


def test_browser_opens_the_printed_address(program: Program) -> None:
    opened = program.folder / "opened"
    browser = program.folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    browser.chmod(0o755)
    program.environment["BROWSER"] = str(browser)
    with web(program, "--open") as (_, address):
        until(opened.exists, "the start of the browser")
        assert address == opened.read_text().strip()


def test_wrong_options_are_refused_in_one_line(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "already in use; choose another" in program.refused("web", "--port", port)
        assert "already in use; choose another" in program.refused("daemon", "--web", port)
    assert "choose another address or port" in program.refused("web", "--host", "192.0.2.1", "--port", "0")
    assert "write it like /runner" in program.refused("web", "--root-path", "/a;b")
    assert "without a port" in program.refused("web", "--allow-host", "docs.example.org:80")
    assert "is not a name alone" in program.refused("web", "--host", "")
    assert not program.database.exists()


def test_metrics_are_those_of_the_daemon(place: str, database: Database) -> None:
    job = some_job(database, name='a"b')
    record_daemon(database, describe_process(), (now := datetime.now(UTC)))
    with served(place, Options()) as client:
        client.get("/metrics")
        play(database, job, snapshot())
        begin(database, some_job(database, "other"), describe_process())
        time.sleep(1.1)
        answer = client.get("/metrics")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
    assert 1 == samples["runner_up",] == samples["runner_runs_running",]
    assert 1 == samples["runner_runs_total", 'a"b', "succeeded"]
    assert now.timestamp() == samples["runner_start_timestamp_seconds",]


def test_metrics_without_a_daemon(history: Database) -> None:
    with served(str(history.location)) as client:
        text = client.get("/metrics").text
    assert "runner_up 0\n" in text
    assert "\nrunner_heartbeat_timestamp_seconds" not in text


def test_daemon_serves_pages_until_it_ends(program: Program) -> None:
    address = f"http://127.0.0.1:{(port := free_port())}/"
    with program.daemon("--web", str(port)) as daemon:
        wait_for(address)
        assert 404 == httpx.post(address + "jobs/1/run", trust_env=False).status_code
        [child] = find_web(daemon.process.pid)
        child.kill()
        until(lambda: find_web(daemon.process.pid) not in ([child], []), "its next start")
        wait_for(address)
        assert "the web pages ended with exit code -9" in daemon.said()
        [child] = find_web(daemon.process.pid)
        assert 0 == daemon.stop()
        assert not child.is_running()
        assert f"web: serving {address}\n" in daemon.said()


def test_killed_daemon_leaves_no_pages(program: Program) -> None:
    with program.daemon("--web", str(port := free_port())) as daemon:
        wait_for(f"http://127.0.0.1:{port}/")
        [child] = find_web(daemon.process.pid)
        daemon.process.kill()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the end of the pages")


def find_web(pid: int) -> list[psutil.Process]:
    """Find the process of the web pages among the children of a daemon."""
    found = []
    for child in psutil.Process(pid).children():
        try:
            if "web" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            pass
    return found


def test_answers_do_not_wait_for_an_acknowledgement() -> None:
    with sockets.listen("127.0.0.1", 0) as listener:
        assert socket.IPPROTO_TCP == listener.proto  # asyncio's condition for TCP_NODELAY
