"""One-line errors for those of the two drivers, by tables of conditions."""

import os
import re
import socket
import sqlite3
from pathlib import Path

from runner.model.errors import DatabaseUnusable, HistoryError, NotWritable, is_condition, reason_of

_Condition = tuple[type[HistoryError], str]

_LOCKED: _Condition = (HistoryError, "is locked by another program; try again when that has finished")
_FULL: _Condition = (HistoryError, "can't grow: the disk is full; free some space and try again")
_CLOSED: _Condition = (DatabaseUnusable, "can't be opened; check its path and permissions, or choose another with --db")
_OTHER: _Condition = (HistoryError, "can't be used: {reason}")
_SLOW: _Condition = (HistoryError, "takes too long to answer; ask for less, or ask on the command line")
_SQLITE: dict[int, _Condition] = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_INTERRUPT: _SLOW,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: (NotWritable, "is read-only; make it writable, or choose another with --db"),
    sqlite3.SQLITE_NOTADB: (DatabaseUnusable, "is not a SQLite database; choose another file with --db"),
    sqlite3.SQLITE_CORRUPT: (HistoryError, "is damaged; stop the daemon and put a backup in its place"),
    sqlite3.SQLITE_CANTOPEN: _CLOSED,
    sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_AUTH: _CLOSED,
    sqlite3.SQLITE_IOERR: (HistoryError, "can't be used: its disk reports an error ({reason}); check the disk"),
}
_UNREACHABLE: _Condition = (HistoryError, "can't be reached: {reason}; start its server, or choose another")
_BUSY: _Condition = (HistoryError, "can't be reached now: {reason}; try again later")
_WRONG_URL: _Condition = (DatabaseUnusable, "can't be opened: {reason}; check its URL, or choose another")
_LACKING: _Condition = (HistoryError, "lacks resources now: {reason}; try again later")
_SHUT_DOWN: _Condition = (HistoryError, "can't be reached any more: {reason}; try again when its server is back")
_FORBIDDEN = "is closed or read-only to this user: {reason}; ask for the right to, or choose another"
_POSTGRESQL: dict[str, _Condition] = {
    "55P03": _LOCKED,
    "57014": _SLOW,
    "53100": _FULL,
    "25006": (NotWritable, "is read-only: {reason}; make it writable, or choose another"),
    "42501": (NotWritable, _FORBIDDEN),
    **dict.fromkeys(("53200", "53300", "53400"), _LACKING),
    **dict.fromkeys(("57P01", "57P02", "57P03"), _SHUT_DOWN),
}
# The beginnings of the driver's errors before there is a connection; the rest may be in the server's language.
_CONNECTING = ("connection failed", "connection is bad", "connection timeout", "failed to resolve")
# How a server refuses a wrong URL (there is no code). Other refusals are temporary: too many connections, a restart.
_REFUSAL = re.compile(
    r"authentication failed|does not exist|pg_hba\.conf|permission denied|not permitted|no password|invalid"
    r"|unrecognized|unsupported|not currently accepting connections"
)
# SQLite needs a page of 32 KiB for its -shm file before it writes anything.
_LEAST_BYTES = 64 * 1024
# A database, its -wal, its -shm, and its directory.
_DESCRIPTORS = 4


def explain_sqlite(path: Path, error: BaseException | None) -> HistoryError:
    """Return an error of one line, about the database at a path, for an error of SQLite."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    where = f"the database {path}"
    # SQLite reports a full disk as an I/O error, missing inodes and descriptors as a file that can't be opened.
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR} and (shortage := find_shortage(path, where)):
        return shortage
    closed = os.access(path, os.R_OK) and not os.access(path.resolve().parent, os.W_OK | os.X_OK)
    if code == sqlite3.SQLITE_CANTOPEN and closed:
        return NotWritable(f"{where} is read-only: its directory can't be written; choose another with --db")
    return _error(_SQLITE.get(code, _OTHER), where, reason_of(error))


def find_shortage(path: Path, where: str) -> HistoryError | None:
    """Find a shortage of descriptors, space or inodes for files beside a path, which SQLite does not report as such."""
    opened: list[int] = []
    try:
        opened.extend(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(_DESCRIPTORS))
    except OSError as error:
        return HistoryError(f"{where} can't be opened now: {reason_of(error)}; try again later")
    finally:
        for descriptor in opened:
            os.close(descriptor)
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
    return _error(_FULL, where) if disk.f_bavail * disk.f_frsize < _LEAST_BYTES else None


def refusal(error: BaseException) -> type[HistoryError]:
    """Return the class for an error of the system: a condition of the machine, or a wrong path."""
    return HistoryError if is_condition(error) else DatabaseUnusable


def explain_postgresql(where: str, error: BaseException | None) -> HistoryError:
    """Return an error of one line, about the database named *where*, for an error of PostgreSQL or its driver."""
    import psycopg

    # The first of several addresses that were tried, without the part that repeats the URL.
    line = (str(error).splitlines() or [reason_of(error)])[0]
    reason = line.rpartition(" failed: ")[2]
    connecting = line.startswith(_CONNECTING)
    if state := getattr(error, "sqlstate", None):
        condition = _POSTGRESQL.get(state, _OTHER)
    elif reason.startswith("connection is bad: invalid "):  # libpq refuses a value of the URL
        condition, reason = _WRONG_URL, reason.removeprefix("connection is bad: ")
    elif connecting and not reason.startswith("FATAL:"):
        # An unknown host name is a wrong URL rather than a server that is down.
        unknown = line.startswith("failed to resolve") and f"[Errno {socket.EAI_AGAIN}]" not in line
        condition = (DatabaseUnusable, _UNREACHABLE[1]) if unknown else _UNREACHABLE
    elif connecting and not _REFUSAL.search(reason):
        condition = _BUSY
    elif connecting or isinstance(error, psycopg.ProgrammingError):
        condition = _WRONG_URL
    else:
        condition = _SHUT_DOWN if isinstance(error, psycopg.OperationalError) else _OTHER
    return _error(condition, where, reason.removeprefix("FATAL:").strip())


def _error(condition: _Condition, where: str, reason: str = "") -> HistoryError:
    error, text = condition
    return error(f"{where} {text.format(reason=reason)}")
