"""Locks: what may lie in the places of their files, and each wait is limited, names the process and ends on ^C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from stat import S_IMODE

import pytest
from conftest import Program, until
from postgresql_server import PostgresqlServer

from runner.history import filelocks, sqlite
from runner.history.database import Database, locate
from runner.history.upgrade import open_database
from runner.model.errors import DaemonError, DatabaseUnusable, HistoryError, LockHeld

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
def held_by(command: list[str]) -> Iterator[int]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert b"held\n" == holder.stdout.readline()
        try:
            yield holder.pid
        finally:
            holder.communicate(b"\n")


def held_elsewhere(path: Path, how: str = "flock") -> AbstractContextManager[int]:
    """Return the context in which another process, whose number it yields, holds a lock."""
    return held_by([sys.executable, "-c", HOLD, str(path), how])


def lock_path(place: Program | Database, name: str) -> Path:
    return Path(f"{place.database if isinstance(place, Program) else place.location}.{name}.lock")


def hold(database: Database, name: str) -> None:
    lock = database.location.run_lock() if name == "runs" else database.location.daemon_lock(database.engine)
    try:
        lock.hold()
    finally:
        lock.release()


@pytest.fixture
def kept(program: Program, tree: Path) -> Program:
    """Return the program with a history of one run."""
    program.out("run", tree)
    return program


@pytest.fixture
def on_server(tmp_path: Path, tree: Path, postgresql: PostgresqlServer) -> Iterator[tuple[Program, Database]]:
    """Yield the program with a history of one run on a server, and that history."""
    with postgresql.fresh("kept") as name:
        program = Program(tmp_path, {**os.environ, "RUNNER_DB": postgresql.url(name)})
        program.out("run", tree)
        with program.opened() as database:
            yield program, database


def stop_waiting(program: Program, *command: str | Path, until_said: str, within_s: float = 5) -> str:
    """Start a command and interrupt it after some output, on which it has to end; return its stderr."""
    said = program.folder / "said"
    with said.open("wb") as stderr:
        process = program.start(*command, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            until(lambda: until_said in said.read_text() or process.poll() is not None, "its report")
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            assert 130 == process.wait(20), said.read_text()
            assert time.monotonic() - began < within_s
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in said.read_text()
    return said.read_text()


@pytest.mark.parametrize("name", ["runs", "daemon"])
@pytest.mark.parametrize("kind", ["dangling", "link", "hard link", "fifo"])
def test_a_planted_lock_file_is_refused(history: Database, tmp_path: Path, name: str, kind: str) -> None:
    path, target = lock_path(history, name), tmp_path / "target"
    if kind in ("link", "hard link"):
        target.touch(0o644)
    before = target.stat() if target.exists() else None
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "hard link":
        path.hardlink_to(target)
    else:
        path.symlink_to(target)
    with pytest.raises((HistoryError, DaemonError), match="remove it"):
        hold(history, name)
    after = target.stat() if target.exists() else None
    assert (before and (before.st_mode, before.st_uid)) == (after and (after.st_mode, after.st_uid))


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


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_planted_links_to_missing_files_create_nothing(program: Program, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / "target"
    Path(f"{program.database}{suffix}").symlink_to(target)
    refused = program.quick("schedule", tmp_path, "--every", "1h")
    err = refused.stderr.decode()
    assert (2, 1, False) == (refused.returncode, err.count("\n"), target.exists()), err
    assert "link" in err


def test_only_an_own_link_may_lead_to_a_new_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, target = tmp_path / "link.db", tmp_path / "target"
    link.symlink_to(target)
    if os.geteuid() == 0:  # links of root are followed for everybody
        os.lchown(link, 12345, 12345)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: link.lstat().st_uid + 1)
        with pytest.raises(DatabaseUnusable, match="another user's link"):
            open_database(locate(str(link)))
    assert not target.exists()


@pytest.mark.parametrize("name", ["runs", "daemon"])
@pytest.mark.parametrize(("mode", "expected"), [(0o644, 0o640), (0o600, 0o600), (0o660, 0o660), (0o666, 0o660)])
def test_others_cannot_open_a_lock(history: Database, name: str, mode: int, expected: int) -> None:
    Path(str(history.location)).chmod(mode)
    path = lock_path(history, name)
    hold(history, name)
    assert expected == S_IMODE(path.stat().st_mode)
    path.chmod(0o666)  # as an older runner may have left it
    hold(history, name)
    assert expected == S_IMODE(path.stat().st_mode)


def test_waiting_for_a_lock_is_limited(history: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(history, "runs")
    named = r"process \d+ \(python.*\) holds"
    with held_elsewhere(lock_path(history, "runs")), pytest.raises(LockHeld, match=named):
        hold(history, "runs")
    monkeypatch.setattr(sqlite, "_UPGRADE_LOCK_TIMEOUT_S", 0.1)
    upgrading = tmp_path / "new.db.upgrade.lock"
    upgrading.touch(0o600)
    with held_elsewhere(upgrading), pytest.raises(HistoryError, match=named):
        open_database(locate(str(tmp_path / "new.db")))


@pytest.mark.parametrize("command", ["run", "calibrate"])
@pytest.mark.parametrize("how", ["flock", "sqlite"])
def test_a_waiting_measurement_ends_on_interrupt(kept: Program, tree: Path, command: str, how: str) -> None:
    path = lock_path(kept, "runs") if how == "flock" else kept.database
    with held_elsewhere(path, how) as holder:
        assert f"process {holder} (python" in stop_waiting(kept, command, tree, until_said=str(path))


def test_creating_a_database_ends_on_interrupt(program: Program, tree: Path) -> None:
    lock_path(program, "upgrade").touch(0o600)
    command = ("schedule", tree, "--every", "1h")
    with held_elsewhere(lock_path(program, "upgrade")) as holder:
        said = stop_waiting(program, *command, until_said="waiting for the lock", within_s=2)
    assert f"process {holder} (python" in said
    assert not program.database.exists()


def test_a_waiting_edit_ends_on_interrupt(kept: Program) -> None:
    command = ("edit", "docs", "--workers", "2")
    with held_elsewhere(kept.database, "sqlite") as holder:
        said = stop_waiting(kept, *command, until_said="waiting for the database", within_s=2)
    assert f"process {holder} (python" in said


def test_waiting_for_a_server_ends_on_interrupt(on_server: tuple[Program, Database], tree: Path) -> None:
    program, database = on_server
    with database.write():
        for command in (["run", tree], ["edit", "docs", "--workers", "2"]):
            stop_waiting(program, *command, until_said="waiting for the database")


def test_a_lock_on_the_directory_does_not_delay_creation(program: Program, tree: Path) -> None:
    with held_elsewhere(program.folder):
        began = time.monotonic()
        program.out("schedule", tree, "--every", "1h")
        assert time.monotonic() - began < 10
    assert [] == list(program.folder.glob("*.upgrade.lock"))


def test_another_holder_of_the_daemon_lock_is_named(kept: Program) -> None:
    lock_path(kept, "daemon").touch(0o600)
    with held_elsewhere(lock_path(kept, "daemon")) as holder:
        refused = kept.quick("daemon")
    said = refused.stderr.decode()
    assert (1, 1) == (refused.returncode, said.count("\n")), said
    assert f"is held by process {holder} (python" in said
    assert "already running" not in said


def test_another_holder_of_a_servers_daemon_lock_is_named(on_server: tuple[Program, Database]) -> None:
    program, database = on_server
    lock = database.location.daemon_lock(database.engine)
    assert lock.hold()
    said = program.quick("daemon").stderr.decode()
    lock.release()
    assert "is held by process " in said
    assert "already running" not in said


@pytest.mark.parametrize("how", ["flock", "sqlite"])
def test_status_names_the_process_that_blocks_runs(kept: Program, how: str) -> None:
    path = lock_path(kept, "runs") if how == "flock" else kept.database
    with kept.daemon():
        free = kept.json("status")
        assert (True, None) == (free["alive"], free["waiting_for"])
        with held_elsewhere(path, how) as holder:
            assert f"process {holder} (python" in kept.json("status")["waiting_for"]
            shown = kept.out("status")
            assert f"process {holder} (python" in shown
            assert "alive" not in shown


def test_status_names_the_process_that_locks_a_server(on_server: tuple[Program, Database]) -> None:
    program, database = on_server
    with program.daemon():
        assert program.json("status")["waiting_for"] is None
        with database.write():
            time.sleep(1.5)
            assert "(runner) keeps the database locked" in program.json("status")["waiting_for"]


def test_the_process_that_inherited_a_lock_is_named(kept: Program) -> None:
    path = lock_path(kept, "runs")
    with held_by(["bash", "-c", f"exec 9<{path}; flock -x 9; echo held; read line"]) as holder:
        blocker = filelocks.RunLockFile(kept.database).find_blocker()
    assert blocker is not None
    assert f"process {holder} (bash)" in blocker
