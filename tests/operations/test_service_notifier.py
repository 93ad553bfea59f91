"""Messages to a service manager, received like systemd by a datagram socket."""

import logging
import os
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Program, changed, thaw, until

from runner.operations.service_notifier import ServiceNotifier


@dataclass
class Manager:
    """A service manager and its messages, in order."""

    address: str
    channel: socket.socket
    received: list[str] = field(default_factory=list)
    # When watchdog messages came, by ``time.monotonic``.
    alive_s: list[float] = field(default_factory=list)

    def hear(self) -> None:
        """Receive until an empty message."""
        while message := self.channel.recv(4096):
            self.received.append(message.decode())
            if message == b"WATCHDOG=1":
                self.alive_s.append(time.monotonic())

    def variables(self, name: str) -> list[str]:
        """Return the values of one variable, in order."""
        lines = [line.partition("=") for message in list(self.received) for line in message.split("\n")]
        return [value for key, _, value in lines if key == name]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's own")
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory() as scratch, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        path = f"{scratch}/notify"
        address = path if request.param == "path" else f"@{path}"
        bound = address.replace("@", "\0")
        channel.bind(bound)
        listening = Manager(address, channel)
        thread = threading.Thread(target=listening.hear)
        thread.start()
        yield listening
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", bound)
        thread.join()


def test_a_daemon_sends_ready_watchdog_status_and_stopping(program: Program, tree: Path, manager: Manager) -> None:
    program.out("schedule", tree, "--every", "1s")
    program.environment |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "500000"}
    with program.daemon() as daemon:
        until(lambda: manager.received, "the first message")
        assert "READY=1" == manager.received[0]
        until(lambda: len(manager.variables("WATCHDOG")) >= 3, "three signs of life")
        trial = daemon.freeze_trial()
        left = trial.environ()
        until(lambda: "docs" in manager.variables("STATUS")[-1], "the running run's status")
        thaw(trial)
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: len(manager.variables("READY")) == 2, "the settings to be read again")
        assert ["1"] == manager.variables("RELOADING")
        assert "STOPPING=1" not in manager.received
        assert 0 == daemon.stop()
    until(lambda: "STOPPING=1" in manager.received, "the last message")
    assert "PATH" in left
    assert set() == {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & left.keys()
    assert "does not receive" not in daemon.said()


def test_a_daemon_beside_a_lock_stays_alive(program: Program, tree: Path, manager: Manager) -> None:
    for number in range(4):
        program.out("schedule", tree, "--every", "1s", "--name", f"job-{number}")
    program.environment |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000"}
    # As a watchdog of five minutes and waits of fifteen seconds, though with more fire times in them.
    impatient = changed(program, "import runner.history.database as database; database.BUSY_TIMEOUT_S = 0.5")
    with impatient.daemon() as daemon, closing(sqlite3.connect(program.database, isolation_level=None)) as other:
        until(lambda: program.history("succeeded"), "a run")
        until(lambda: other.execute("BEGIN IMMEDIATE"), "the lock")
        locked_s = time.monotonic()
        until(lambda: time.monotonic() > locked_s + 9, "three times the time of the watchdog")
        times = [*manager.alive_s, time.monotonic()]
        other.execute("ROLLBACK")
        assert 0 == daemon.stop()
    assert "is locked by another program" in daemon.said()
    assert max(after - before for before, after in pairwise(times)) < 3


def test_a_missing_manager_is_logged_once(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    program.environment |= {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "1000"}
    with program.daemon() as daemon:
        until(lambda: len(program.history("succeeded")) >= 2, "two runs")
        assert 0 == daemon.stop()
    assert 1 == daemon.said().count("the service manager does not receive messages: ")


def test_without_a_socket_nothing_is_sent(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    for address in ("", "vsock:2:1234", "notify"):
        nobody = ServiceNotifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"})
        for tell in (nobody.ready, nobody.alive, nobody.reloading, nobody.stopping):
            tell()
    assert [] == manager.received
    assert [] == caplog.records


@pytest.mark.parametrize(
    ("left", "signs"),
    [
        ({"WATCHDOG_USEC": "3600000000"}, 1),
        ({"WATCHDOG_USEC": "3600000000", "WATCHDOG_PID": "ours"}, 1),
        ({"WATCHDOG_USEC": "3600000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({"WATCHDOG_USEC": "0"}, 0),
        ({"WATCHDOG_USEC": "9" * 5000}, 0),
        ({}, 0),
    ],
    ids=["asked", "ours", "another", "no number", "never", "beyond all", "not asked"],
)
def test_watchdog_messages_are_sent_only_if_requested(manager: Manager, left: dict[str, str], signs: int) -> None:
    named = {name: str(os.getpid()) if value == "ours" else value for name, value in left.items()}
    environment = {"NOTIFY_SOCKET": manager.address, "HOME": "/", **named}
    notifier = ServiceNotifier.from_environment(environment)
    assert {"HOME": "/"} == environment
    for _ in range(3):
        notifier.alive()
    notifier.stopping()
    until(lambda: "STOPPING=1" in manager.received, "the last message")
    assert ["WATCHDOG=1"] * signs + ["STOPPING=1"] == manager.received


def test_watchdog_messages_repeat_after_half_the_time(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((100.0, 104.9, 105.0, 105.1, 110.0))
    notifier = ServiceNotifier(manager.address, 10.0)
    monkeypatch.setattr("runner.operations.service_notifier.time", SimpleNamespace(monotonic=lambda: next(times)))
    for _ in range(5):
        notifier.alive()
    monkeypatch.undo()
    notifier.stopping()
    until(lambda: "STOPPING=1" in manager.received, "the last message")
    assert 3 == len(manager.variables("WATCHDOG"))


def test_messages_are_one_line_each_and_sent_on_change(manager: Manager) -> None:
    notifier = ServiceNotifier(manager.address)
    for text in ("idle", "idle", "ä\nSTOPPING=1\udce9", "idle"):
        notifier.status(text)
    notifier.reloading()
    notifier.ready()
    notifier.stopping()
    until(lambda: "STOPPING=1" in manager.received, "the last message")
    (instant,) = manager.variables("MONOTONIC_USEC")
    reloading = f"RELOADING=1\nMONOTONIC_USEC={int(instant)}"
    statuses = ["STATUS=idle", "STATUS=ä?STOPPING=1?", "STATUS=idle"]
    assert [*statuses, reloading, "READY=1", "STOPPING=1"] == manager.received


def test_a_hanging_manager_does_not_block(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("runner.operations.service_notifier._TIMEOUT_S", 0.01)
    with tempfile.TemporaryDirectory() as scratch, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(f"{scratch}/notify")
        notifier = ServiceNotifier(f"{scratch}/notify")
        with caplog.at_level(logging.WARNING):
            for _ in range(10_000):  # more than any queue holds
                notifier.ready()
                if caplog.records:
                    break
            notifier.ready()
    assert 1 == len(caplog.records)
