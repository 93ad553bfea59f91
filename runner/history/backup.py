"""Copies of a SQLite database in use."""

import errno
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Engine

from runner.history.errors import find_shortage, refusal
from runner.history.sqlite_transactions import driver_of
from runner.model.errors import DatabaseUnusable, HistoryError, reason_of
from runner.model.links import create_file, open_parent

# The errors of file systems without hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


def copy_file(engine: Engine, target: Path) -> None:
    """Copy a database into a new file, which gets its name when it is complete; raise HistoryError if it can't."""
    try:
        with open_parent(os.fspath(target)) as (directory, name):
            if not os.path.lexists(target):  # a dangling link exists too
                return _copy(engine, target, directory, name)
    except FileExistsError:  # created in between
        pass
    except FileNotFoundError:
        raise DatabaseUnusable(f"the directory {target.parent} does not exist; create it, or choose another") from None
    except (sqlite3.Error, OSError) as error:
        lacks = HistoryError if isinstance(error, sqlite3.Error) and find_shortage(target, "") else refusal(error)
        raise lacks(f"the backup {target} can't be written: {reason_of(error)}") from error
    raise DatabaseUnusable(f"{target} exists already; choose another name for the backup")


def _copy(engine: Engine, target: Path, directory: int, name: bytes) -> None:
    unfinished = name + b".partial"
    with suppress(FileNotFoundError):
        os.unlink(unfinished, dir_fd=directory)  # of a copy that was killed
    own = create_file(directory, unfinished)
    try:
        with engine.connect() as connection, closing(sqlite3.connect(f"{target}.partial")) as copy:
            _check_is_open(own)
            copy.execute("PRAGMA journal_mode = OFF")  # no file beside it
            driver_of(connection).backup(copy)
        try:  # a rename would replace an existing file
            os.link(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(own)
        with suppress(OSError):
            os.unlink(unfinished, dir_fd=directory)


def _check_is_open(descriptor: int) -> None:
    """Check that SQLite, which opens files by path, has opened this one; raise PermissionError otherwise."""
    own, same = os.fstat(descriptor), 0
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):
            same += os.path.samestat(own, os.fstat(number))
    if same < 2:
        raise PermissionError(errno.EPERM, "another process has replaced it")
