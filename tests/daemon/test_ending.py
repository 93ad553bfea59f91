"""How the daemon ends by signals when what it waits for does not answer: a lock, a server, who reads its log."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from conftest import Program, changed, enlarge, family, freeze_trial, gone, thaw, until
from postgresql_server import PostgresqlServer

from runner.daemon import shutdown
from runner.operations.launchd import launchd_plist
from runner.operations.service_files import Service
from runner.operations.systemd import systemd_unit

FORCED = "ended by force"


def twice(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal twice, the second time when the first has arrived: the kernel would make one of both."""
    process.send_signal(number)
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():  # not available elsewhere
        until(lambda: "ShdPnd:\t0000000000000000\n" in status.read_text(), "the signal to arrive")
    process.send_signal(number)


def goes_on(program: Program) -> None:
    """Make sure that the next daemon records what was interrupted, and that nothing of it stands in its way."""
    with program.daemon():
        until(lambda: program.history("interrupted"), "the run's end")
        until(lambda: program.history("succeeded"), "another run")
    assert 1 == len(program.history("interrupted"))


# Lock waits have no timeout, and a file shows that the main thread waits for one.
WAITING = """
import pathlib, threading
import runner.history.database as database
import runner.history.sqlite_transactions as transactions
database.BUSY_TIMEOUT_S = 3600.0
waits = pathlib.Path("waits")
plain = transactions.wait_for_lock
def waiting(take, **given):
    def timeout():
        try:
            take()
        except BlockingIOError:
            if threading.current_thread() is threading.main_thread():
                waits.touch()
            raise
    plain(timeout, **given)
transactions.wait_for_lock = waiting
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_is_handled_during_a_lock_wait(program: Program, tree: Path, number: signal.Signals) -> None:
    program.out("schedule", tree, "--every", "1s")
    waits = program.folder / "waits"
    with changed(program, WAITING).daemon() as daemon:
        everyone = [daemon.freeze_trial(), *family(daemon.process.pid)]
        until(lambda: program.history("running"), "the run's row")
        with closing(sqlite3.connect(program.database, isolation_level=None, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            until(waits.exists, "the main thread to wait")
            twice(daemon.process, number)
            assert 0 == daemon.process.wait(20)
            until(lambda: gone(everyone), "no process left")
        assert "it could not be recorded" in daemon.said()
    goes_on(program)


@contextmanager
def silenced(server: PostgresqlServer) -> Iterator[None]:
    """Stop a server within the context, while the kernel keeps its connections."""
    postmaster = psutil.Process(int((server.folder / "data/postmaster.pid").read_text().splitlines()[0]))
    postmaster.suspend()  # from now on it has no new children
    everyone = [postmaster, *postmaster.children()]
    try:
        for one in everyone[1:]:
            with suppress(psutil.NoSuchProcess):  # it was about to end
                one.suspend()
        yield
    finally:
        for one in everyone:
            with suppress(psutil.NoSuchProcess):
                one.resume()


@pytest.mark.parametrize("signals", [1, 2])
def test_a_daemon_ends_while_its_server_hangs(
    program: Program, tree: Path, postgresql: PostgresqlServer, signals: int
) -> None:
    with postgresql.fresh("kept") as name:
        program.environment["RUNNER_DB"] = postgresql.url(name)
        program.out("schedule", tree, "--every", "1s")
        limit = "LIMIT_S" if signals == 1 else "_IMMEDIATE_LIMIT_S"
        with changed(program, f"import runner.daemon.shutdown as shutdown; shutdown.{limit} = 2.0").daemon() as daemon:
            everyone = [daemon.freeze_trial(), *family(daemon.process.pid)]
            until(lambda: program.history("running"), "the run's row")
            with silenced(postgresql):
                daemon.process.send_signal(signal.SIGTERM)
                if signals == 2:
                    daemon.process.send_signal(signal.SIGINT)
                assert 1 == daemon.process.wait(20)
                until(lambda: gone(everyone), "no process left")
            assert FORCED in daemon.said().splitlines()[-1]
        goes_on(program)


def test_service_managers_wait_longer_than_a_forced_end(tmp_path: Path) -> None:
    given = Service(command=["/usr/bin/runner", "daemon"], environment={}, home=tmp_path, account=None, server=True)
    (timeout,) = (line for line in systemd_unit(given).decode().splitlines() if line.startswith("TimeoutStopSec="))
    assert shutdown.LIMIT_S + 5 < float(timeout.partition("=")[2])
    assert f"<integer>{timeout.partition('=')[2]}</integer>".encode() in launchd_plist(given)


def test_a_daemon_ends_while_its_log_is_blocked(program: Program) -> None:
    reads, writes = os.pipe()
    try:
        os.set_blocking(writes, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writes, bytes(4096))
        os.set_blocking(writes, True)
        process = program.start("daemon", stderr=writes)
        try:
            until(lambda: 0 == program.quick("status").returncode, "a daemon that is about to say so")
            twice(process, signal.SIGTERM)
            assert -signal.SIGALRM == process.wait(20)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(reads)
        os.close(writes)


# The main thread is held up on its way to the workers.
HELD_UP = """
import time
import runner.daemon.daemon as service, runner.daemon.shutdown as shutdown
shutdown._GRACE_S = 3600.0
service.ServiceNotifier.stopping = lambda _self: time.sleep(1)
"""


def test_a_waiting_run_gets_no_grace_period(program: Program, tree: Path) -> None:
    other = tree.with_name("other")
    other.mkdir()
    program.out("schedule", tree, "--every", "1s")
    program.out("schedule", enlarge(other), "--every", "1h")
    by_hand = program.start("run", "other", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    trial = None
    try:
        trial = freeze_trial(by_hand.pid)
        with changed(program, HELD_UP).daemon() as daemon:
            until(lambda: "waiting until it has finished" in daemon.said(), "a run that waits")
            since = datetime.now(UTC)
            until(lambda: datetime.now(UTC) - since > timedelta(seconds=1.5), "another fire time to pass")
            assert 0 == daemon.stop()
    finally:
        if trial is not None:
            thaw(trial)
        assert 0 == by_hand.wait(20)
    # Those before the daemon are missed, those beside the one that waited skipped; the next daemon records that one.
    assert {"missed", "skipped"} >= {run["status"] for run in program.history(job="docs")}
