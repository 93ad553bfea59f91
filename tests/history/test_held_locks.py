"""Locks held by another process: each wait is limited, names the process and ends on ^C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Program, until
from postgresql_server import PostgresqlServer

from runner.history import filelocks
from runner.history.database import locate
from runner.history.upgrade import open_database
from runner.model.errors import HistoryError

HOLD = """
import fcntl, os, sqlite3, sys
path, how = sys.argv[1:]
if how == "flock":
    held = os.open(path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
else:
    held = sqlite3.connect(path)
    held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path: Path, how: str) -> Iterator[int]:
    """Yield the number of another process that holds a lock."""
    command = [sys.executable, "-c", HOLD, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert b"held\n" == holder.stdout.readline()
        try:
            yield holder.pid
        finally:
            holder.communicate()


@pytest.fixture
def kept(program: Program, tree: Path) -> Program:
    """Return the program with a history of one run."""
    program.out("run", tree)
    return program


def lock_path(program: Program, name: str) -> Path:
    return Path(f"{program.database}.{name}.lock")


def stop_waiting(program: Program, *command: str | Path, until_said: str) -> tuple[int, str, float]:
    """Start a command, interrupt it after some output; return its exit code, stderr and the seconds until its end."""
    said = program.folder / "said"
    with said.open("wb") as stderr:
        process = program.start(*command, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            until(lambda: until_said in said.read_text() or process.poll() is not None, "its report")
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            return process.wait(20), said.read_text(), time.monotonic() - began
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("command", ["run", "calibrate"])
@pytest.mark.parametrize("how", ["flock", "sqlite"])
def test_a_waiting_measurement_ends_on_interrupt(kept: Program, tree: Path, command: str, how: str) -> None:
    path = lock_path(kept, "runs") if how == "flock" else kept.database
    with held_elsewhere(path, how) as holder:
        code, said, took_s = stop_waiting(kept, command, tree, until_said=str(path))
    assert 130 == code, said
    assert f"process {holder} (python" in said
    assert took_s < 5
    assert "Traceback" not in said


def test_creating_a_database_ends_on_interrupt(program: Program, tree: Path) -> None:
    lock_path(program, "upgrade").touch(0o600)
    with held_elsewhere(lock_path(program, "upgrade"), "flock") as holder:
        code, said, took_s = stop_waiting(program, "schedule", tree, "--every", "1h", until_said="waiting for the lock")
    assert (130, True) == (code, took_s < 2), said
    assert f"process {holder} (python" in said
    assert not program.database.exists()


def test_a_waiting_edit_ends_on_interrupt(kept: Program) -> None:
    with held_elsewhere(kept.database, "sqlite") as holder:
        code, said, took_s = stop_waiting(kept, "edit", "docs", "--workers", "2", until_said="waiting for the database")
    assert (130, True) == (code, took_s < 2), said
    assert f"process {holder} (python" in said


def test_a_lock_on_the_directory_does_not_delay_creation(program: Program, tree: Path) -> None:
    with held_elsewhere(program.folder, "flock"):
        began = time.monotonic()
        program.out("schedule", tree, "--every", "1h")
        assert time.monotonic() - began < 10
    assert [] == list(program.folder.glob("*.upgrade.lock"))


def test_another_holder_of_the_daemon_lock_is_named(kept: Program) -> None:
    with kept.daemon():
        pass
    with held_elsewhere(lock_path(kept, "daemon"), "flock") as holder:
        refused = kept.call("daemon")
    said = refused.stderr.decode()
    assert (1, 1) == (refused.returncode, said.count("\n")), said
    assert f"is held by process {holder} (python" in said
    assert "already running" not in said


def test_another_holder_of_a_servers_daemon_lock_is_named(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    with postgresql.fresh("kept") as name:
        program = Program(tmp_path, {**os.environ, "RUNNER_DB": postgresql.url(name)})
        database = open_database(locate(postgresql.url(name)))
        lock = database.location.daemon_lock(database.engine)
        assert lock.hold()
        refused = program.call("daemon")
        lock.release()
        database.close()
    assert "is held by process " in refused.stderr.decode()
    assert "already running" not in refused.stderr.decode()


@pytest.mark.parametrize("how", ["flock", "sqlite"])
def test_status_names_the_process_that_blocks_runs(kept: Program, how: str) -> None:
    path = lock_path(kept, "runs") if how == "flock" else kept.database
    with kept.daemon():
        free = kept.json("status")
        assert (True, None) == (free["alive"], free["waiting_for"])
        with held_elsewhere(path, how) as holder:
            status = kept.json("status")
            assert f"process {holder} (python" in status["waiting_for"]
            shown = kept.out("status")
            assert f"process {holder} (python" in shown
            assert "alive" not in shown


def test_status_names_the_process_that_locks_a_server(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    with postgresql.fresh("kept") as name:
        program = Program(tmp_path, {**os.environ, "RUNNER_DB": postgresql.url(name)})
        database = open_database(locate(postgresql.url(name)))
        with program.daemon():
            assert program.json("status")["waiting_for"] is None
            with database.write():
                time.sleep(1.5)
                assert "(runner) keeps the database locked" in program.json("status")["waiting_for"]
        database.close()


def test_waiting_for_a_server_ends_on_interrupt(tmp_path: Path, tree: Path, postgresql: PostgresqlServer) -> None:
    with postgresql.fresh("kept") as name:
        program = Program(tmp_path, {**os.environ, "RUNNER_DB": postgresql.url(name)})
        program.out("run", tree)
        database = open_database(locate(postgresql.url(name)))
        with database.write():
            for command in (["run", tree], ["edit", "docs", "--workers", "2"]):
                code, said, took_s = stop_waiting(program, *command, until_said="waiting for the database")
                assert (130, True) == (code, took_s < 5), said
        database.close()


def test_the_process_that_inherited_a_lock_is_named(kept: Program) -> None:
    path = lock_path(kept, "runs")
    script = f"exec 9<{path}; flock -x 9; echo held; read line"
    with subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert b"held\n" == holder.stdout.readline()
        blocker = filelocks.RunLockFile(kept.database).find_blocker()
        holder.communicate(b"\n")
    assert blocker is not None
    assert f"process {holder.pid} (bash)" in blocker


def test_a_link_planted_while_a_lock_is_created_is_refused(kept: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    path, target = lock_path(kept, "runs"), kept.folder / "target"
    path.unlink()

    def planted(_path: Path) -> int:
        path.symlink_to(target)
        raise FileNotFoundError

    monkeypatch.setattr(filelocks, "_open_to_lock", planted)
    with pytest.raises(HistoryError, match="symbolic link"):
        filelocks.RunLockFile(kept.database).hold()
    assert not target.exists()
