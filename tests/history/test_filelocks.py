"""Locks beside a SQLite file: what may lie in their places, and who may open them."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE

import pytest
from conftest import Program

from runner.history import sqlite
from runner.history.database import Database, locate
from runner.history.upgrade import open_database
from runner.model.errors import DaemonError, DatabaseUnusable, HistoryError, LockHeld


def hold(database: Database, name: str) -> None:
    lock = database.location.run_lock() if name == "runs" else database.location.daemon_lock(database.engine)
    try:
        lock.hold()
    finally:
        lock.release()


def lock_path(database: Database, name: str) -> Path:
    return Path(f"{database.location}.{name}.lock")


@contextmanager
def held(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


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
    assert (before is not None) == target.exists()
    if before is not None:
        after = target.stat()
        assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)


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


def test_waiting_for_a_lock_is_limited(history: Database) -> None:
    hold(history, "runs")
    with held(lock_path(history, "runs")), pytest.raises(LockHeld, match=r"(another process|process \d+ \(.*\)) holds"):
        hold(history, "runs")


def test_creating_a_database_fails_if_it_stays_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_UPGRADE_LOCK_TIMEOUT_S", 0.1)
    (tmp_path / "new.db.upgrade.lock").touch(0o600)
    with (
        held(tmp_path / "new.db.upgrade.lock"),
        pytest.raises(HistoryError, match=r"(another process|process \d+ \(.*\)) holds"),
    ):
        open_database(locate(str(tmp_path / "new.db")))


def test_a_waiting_run_names_the_lock_and_ends_on_interrupt(tmp_path: Path) -> None:
    program = Program(tmp_path, {**os.environ, "RUNNER_DB": str(tmp_path / "h.db"), "COLUMNS": "500"})
    (tmp_path / "tree").mkdir()
    assert 0 == program.call("run", "tree").returncode
    with held(tmp_path / "h.db.runs.lock"):
        process = program.start("run", "tree", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        try:
            assert b"h.db.runs.lock" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert 0 != process.wait(20)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_planted_links_to_missing_files_create_nothing(program: Program, tmp_path: Path, suffix: str) -> None:
    database, target = tmp_path / "shared.db", tmp_path / "target"
    Path(f"{database}{suffix}").symlink_to(target)
    refused = program.call("schedule", tmp_path, "--every", "1h", "--db", database)
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
    if os.geteuid() == 0:
        os.lchown(link, 0, 0)
    open_database(locate(str(link))).close()
    assert target.exists()


def test_a_link_to_a_database_is_followed(program: Program, tmp_path: Path) -> None:
    real, link = tmp_path / "real.db", tmp_path / "link.db"
    program.out("schedule", tmp_path, "--every", "1h", "--db", real)
    link.symlink_to(real)
    assert 1 == len(program.json("jobs", "--db", link))
