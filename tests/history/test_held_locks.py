"""Locks: what may lie in the places of their files, and each wait is limited, names the process and ends on ^C."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE

import pytest
from conftest import Program, until

from runner.history import filelocks, sqlite
from runner.history.database import Database, locate
from runner.history.upgrade import open_database
from runner.model.errors import DaemonError, DatabaseUnusable, HistoryError, LockHeld

HOLD = """
import fcntl, os, sys
from runner.history.database import Database, locate
place, how = sys.argv[1:]
database = Database(locate(place))
if how == "write":
    writing = database.write()
    writing.__enter__()
elif how == "daemon" and "://" in place:
    lock = database.location.daemon_lock(database.engine)
    assert lock.hold()
else:
    held = os.open(f"{place}.{how}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
os._exit(0)
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


@contextmanager
def held_elsewhere(place: Path | str, how: str) -> Iterator[str]:
    """Yield a pattern for the description of another process that holds a lock: one of files, or the write lock."""
    with held_by([sys.executable, "-c", HOLD, str(place), how]) as pid:
        # A server knows the processes that serve its clients.
        yield r"process \d+ \(runner\)" if "://" in str(place) else rf"process {pid} \(python.*\)"


def lock_path(database: Database, name: str) -> Path:
    return Path(f"{database.location}.{name}.lock")


def hold(database: Database, name: str) -> None:
    lock = database.location.run_lock() if name == "runs" else database.location.daemon_lock(database.engine)
    try:
        lock.hold()
    finally:
        lock.release()


@pytest.fixture
def kept(place: str, tmp_path: Path, tree: Path) -> Program:
    """Return the program with a history of one run, in each kind of database."""
    program = Program(tmp_path, {**os.environ, "RUNNER_DB": place})
    program.out("run", tree)
    return program


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


sqlite_only = pytest.mark.parametrize("make_place", ["sqlite"], indirect=True)


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


def test_a_link_planted_while_a_lock_is_created_is_refused(
    history: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(path: Path) -> int:
        path.symlink_to(tmp_path / "target")
        raise FileNotFoundError

    monkeypatch.setattr(filelocks, "_open_to_lock", planted)
    with pytest.raises(HistoryError, match="symbolic link"):
        hold(history, "runs")
    assert not (tmp_path / "target").exists()


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
    with held_elsewhere(str(history.location), "runs") as holder, pytest.raises(LockHeld, match=f"{holder} holds"):
        hold(history, "runs")
    monkeypatch.setattr(sqlite, "_UPGRADE_LOCK_TIMEOUT_S", 0.1)
    new = tmp_path / "new.db"
    with held_elsewhere(new, "upgrade") as holder, pytest.raises(HistoryError, match=f"{holder} holds"):
        open_database(locate(str(new)))


@pytest.mark.parametrize("command", ["run", "calibrate", "edit"])
def test_waiting_for_a_writer_ends_on_interrupt(kept: Program, tree: Path, command: str) -> None:
    arguments = ("docs", "--workers", "2") if command == "edit" else (tree,)
    place = kept.environment["RUNNER_DB"]
    with held_elsewhere(place, "write") as holder:
        said = stop_waiting(kept, command, *arguments, until_said="waiting for the database")
    assert re.search(holder, said)


@sqlite_only
@pytest.mark.parametrize("command", ["run", "calibrate"])
def test_waiting_for_the_run_lock_ends_on_interrupt(kept: Program, tree: Path, command: str) -> None:
    with held_elsewhere(kept.database, "runs") as holder:
        assert re.search(holder, stop_waiting(kept, command, tree, until_said=f"{kept.database}.runs.lock"))


def test_creating_a_database_ends_on_interrupt(program: Program, tree: Path) -> None:
    command = ("schedule", tree, "--every", "1h")
    with held_elsewhere(program.database, "upgrade") as holder:
        assert re.search(holder, stop_waiting(program, *command, until_said="waiting for the lock", within_s=2))
    assert not program.database.exists()


def test_a_lock_on_the_directory_does_not_delay_creation(program: Program, tree: Path) -> None:
    directory = os.open(program.folder, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    began = time.monotonic()
    program.out("schedule", tree, "--every", "1h")
    assert time.monotonic() - began < 10
    os.close(directory)
    assert [] == list(program.folder.glob("*.upgrade.lock"))


def test_another_holder_of_the_daemon_lock_is_named(kept: Program) -> None:
    with held_elsewhere(kept.environment["RUNNER_DB"], "daemon") as holder:
        refused = kept.quick("daemon")
    said = refused.stderr.decode()
    assert (1, 1) == (refused.returncode, said.count("\n")), said
    assert re.search(f"is held by {holder}", said)
    assert "already running" not in said


@pytest.mark.parametrize("how", ["runs", "write"])
def test_status_names_the_process_that_blocks_runs(kept: Program, how: str) -> None:
    place = kept.environment["RUNNER_DB"]
    if how == "runs" and "://" in place:
        how = "write"
    with kept.daemon():
        free = kept.json("status")
        assert (True, None) == (free["alive"], free["waiting_for"])
        with held_elsewhere(place, how) as holder:
            time.sleep(1.1)  # a shorter writer is no blocker
            assert re.search(holder, kept.json("status")["waiting_for"])
            shown = kept.out("status")
            assert re.search(holder, shown)
            assert "alive" not in shown


def test_the_process_that_inherited_a_lock_is_named(history: Database) -> None:
    path = lock_path(history, "runs")
    with held_by(["bash", "-c", f"exec 9>>{path}; flock -x 9; echo held; read line"]) as holder:
        blocker = filelocks.RunLockFile(Path(str(history.location))).find_blocker()
    assert blocker is not None
    assert f"process {holder} (bash)" in blocker
