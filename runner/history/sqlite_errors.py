"""Messages for the errors of SQLite, which reports a full disk as an I/O error and missing inodes as "can't open"."""

import os
import sqlite3
from pathlib import Path

from runner.model.errors import DatabaseUnusable, HistoryError, NotWritable, is_condition, reason_of

# SQLite needs a page of 32 KiB for its -shm file before it writes anything.
_LEAST_BYTES = 64 * 1024
# A database, its -wal, its -shm, and its directory.
_DESCRIPTORS = 4


def explain(path: Path, error: BaseException | None) -> HistoryError:  # noqa: PLR0911  a table
    """Return an error of one line, about the database at a path, for an error of SQLite."""
    code = getattr(error, "sqlite_errorcode", None)
    where = f"the database {path}"
    match code & 0xFF if code is not None else None:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return HistoryError(f"{where} is locked by another program; try again when that has finished")
        case sqlite3.SQLITE_FULL:
            return _full(where)
        case sqlite3.SQLITE_READONLY:
            return NotWritable(f"{where} is read-only; make it writable, or choose another with --db")
        case sqlite3.SQLITE_NOTADB:
            return DatabaseUnusable(f"{where} is not a SQLite database; choose another file with --db")
        case sqlite3.SQLITE_CORRUPT:
            return HistoryError(f"{where} is damaged; stop the daemon and put a backup in its place")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR:
            return _find_lack_of_descriptors(where) or find_shortage(path, where) or _otherwise(path, where, error)
        case sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return _not_permitted(where)
        case _:
            return HistoryError(f"{where} can't be used: {reason_of(error)}")


def _full(where: str) -> HistoryError:
    return HistoryError(f"{where} can't grow: the disk is full; free some space and try again")


def _not_permitted(where: str) -> HistoryError:
    return DatabaseUnusable(f"{where} can't be opened; check its path and permissions, or choose another with --db")


def _find_lack_of_descriptors(where: str) -> HistoryError | None:
    """Find a shortage of descriptors, which SQLite reports as a file that can't be opened."""
    opened: list[int] = []
    try:
        opened.extend(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(_DESCRIPTORS))
    except OSError as error:
        return HistoryError(f"{where} can't be opened now: {reason_of(error)}; try again later")
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return None


def find_shortage(path: Path, where: str) -> HistoryError | None:
    """Find a shortage of space or inodes for a file beside the database, which SQLite does not report as such."""
    try:
        disk = os.statvfs(path.resolve().parent)
    except OSError:
        return None
    if disk.f_flag & os.ST_RDONLY:
        return NotWritable(f"{where} is read-only: its file system is mounted so; choose another with --db")
    if disk.f_files and not disk.f_favail:
        return HistoryError(
            f"{where} can't be used: its file system has no inodes left for new files; remove some files and try again"
        )
    return _full(where) if disk.f_bavail * disk.f_frsize < _LEAST_BYTES else None


def refusal(error: BaseException) -> type[HistoryError]:
    """Return the class for an error of the system: a condition of the machine, or a wrong path."""
    return HistoryError if is_condition(error) else DatabaseUnusable


def lacking(path: Path) -> type[HistoryError]:
    """Return the class for a path at which SQLite failed: a condition of the machine, or a wrong path."""
    return HistoryError if _find_lack_of_descriptors("") or find_shortage(path, "") else DatabaseUnusable


def _otherwise(path: Path, where: str, error: BaseException | None) -> HistoryError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
        return HistoryError(f"{where} can't be used: its disk reports an error ({reason_of(error)}); check the disk")
    if path.exists() and not os.access(path, os.R_OK):
        return _not_permitted(where)
    if path.exists() and not os.access(path.resolve().parent, os.W_OK | os.X_OK):
        return NotWritable(f"{where} is read-only: its folder can't be written; choose another with --db")
    return _not_permitted(where)
