"""What a service manager is told, received as systemd does: by a datagram socket."""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Program, thaw, until

from runner.operations.service_notifier import ServiceNotifier


@dataclass
class Manager:
    """A service manager: all that it was told, in order."""

    address: str
    channel: socket.socket
    told: list[str] = field(default_factory=list)

    def hear(self) -> None:
        """Listen until an empty message comes."""
        while message := self.channel.recv(4096):
            self.told.append(message.decode())

    def variables(self, name: str) -> list[str]:
        """Give the values of one variable, as they came."""
        lines = [line.partition("=") for message in list(self.told) for line in message.split("\n")]
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


def test_a_real_daemon_tells_when_it_is_ready_alive_at_work_and_stopping(
    program: Program, tree: Path, manager: Manager
) -> None:
    program.out("schedule", tree, "--every", "1s")
    program.environment |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "500000"}
    with program.daemon() as daemon:
        until(lambda: manager.told, "the first message")
        assert "READY=1" == manager.told[0]
        until(lambda: len(manager.variables("WATCHDOG")) >= 3, "three signs of life")
        trial = daemon.freeze_trial()
        left = trial.environ()
        until(lambda: "docs" in manager.variables("STATUS")[-1], "the running run's status")
        thaw(trial)
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: len(manager.variables("READY")) == 2, "the settings to be read again")
        assert ["1"] == manager.variables("RELOADING")
        assert "STOPPING=1" not in manager.told
        assert 0 == daemon.stop()
    until(lambda: "STOPPING=1" in manager.told, "the last message")
    assert "PATH" in left
    assert set() == {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & left.keys()
    assert "told" not in daemon.said()


def test_a_manager_that_is_gone_does_not_end_the_daemon_and_is_said_once(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s")
    program.environment |= {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "1000"}
    with program.daemon() as daemon:
        until(lambda: len(program.history("succeeded")) >= 2, "two runs")
        assert 0 == daemon.stop()
    assert 1 == daemon.said().count("the service manager can't be told anything: ")


def test_nobody_is_told_without_a_socket(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    for address in ("", "vsock:2:1234", "notify"):
        nobody = ServiceNotifier.take({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"})
        for tell in (nobody.ready, nobody.alive, nobody.reloading, nobody.stopping):
            tell()
    assert [] == manager.told
    assert [] == caplog.records


def test_what_the_manager_left_is_taken_out_of_the_environment(manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    ServiceNotifier.take(environment)
    assert {"HOME": "/"} == environment


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
def test_signs_of_life_are_given_to_whom_they_are_asked_of_and_no_more_often(
    manager: Manager, left: dict[str, str], signs: int
) -> None:
    named = {name: str(os.getpid()) if value == "ours" else value for name, value in left.items()}
    supervisor = ServiceNotifier.take({"NOTIFY_SOCKET": manager.address, **named})
    for _ in range(3):
        supervisor.alive()
    supervisor.stopping()
    until(lambda: "STOPPING=1" in manager.told, "the last message")
    assert ["WATCHDOG=1"] * signs + ["STOPPING=1"] == manager.told


def test_a_sign_of_life_comes_again_after_half_the_time(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((100.0, 104.9, 105.0, 105.1, 110.0))
    supervisor = ServiceNotifier(manager.address, 10.0)
    monkeypatch.setattr("runner.operations.service_notifier.time", SimpleNamespace(monotonic=lambda: next(times)))
    for _ in range(5):
        supervisor.alive()
    monkeypatch.undo()
    supervisor.stopping()
    until(lambda: "STOPPING=1" in manager.told, "the last message")
    assert 3 == len(manager.variables("WATCHDOG"))


def test_a_status_is_one_line_and_told_when_it_changes(manager: Manager) -> None:
    supervisor = ServiceNotifier(manager.address)
    for text in ("idle", "idle", "ä\nSTOPPING=1\udce9", "idle"):
        supervisor.status(text)
    supervisor.stopping()
    until(lambda: "STOPPING=1" in manager.told, "the last message")
    assert ["STATUS=idle", "STATUS=ä?STOPPING=1?", "STATUS=idle", "STOPPING=1"] == manager.told


def test_reading_anew_is_told_with_its_instant(manager: Manager) -> None:
    supervisor = ServiceNotifier(manager.address)
    supervisor.reloading()
    supervisor.ready()
    until(lambda: "READY=1" in manager.told, "the end of it")
    assert ["1"] == manager.variables("RELOADING")
    (instant,) = manager.variables("MONOTONIC_USEC")
    assert manager.told[0] == f"RELOADING=1\nMONOTONIC_USEC={int(instant)}"


def test_a_manager_that_does_not_listen_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("runner.operations.service_notifier._PATIENCE_S", 0.01)
    with tempfile.TemporaryDirectory() as scratch, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(f"{scratch}/notify")
        supervisor = ServiceNotifier(f"{scratch}/notify")
        with caplog.at_level(logging.WARNING):
            for _ in range(10_000):  # more than any queue holds
                supervisor.ready()
                if caplog.records:
                    break
            supervisor.ready()
    assert 1 == len(caplog.records)
