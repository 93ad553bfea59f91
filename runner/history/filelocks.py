"""Locks beside a SQLite file, which the kernel releases when their holders die."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE

from runner.model.errors import DaemonError, HistoryError


class _LockFile:
    """A file of its own beside the database.

    It is never removed: one that had opened the old file and one that made a new one would both hold a lock. Where
    somebody has removed it all the same, the one in its place counts.
    """

    def __init__(self, database: Path, name: str) -> None:
        self._path = database.with_name(f"{database.name}.{name}.lock")
        self._database = database
        self._fd = -1

    def _take(self, how: int) -> None:
        """Take it, or make sure that it is still held.

        Raises:
            OSError: If its file can't be opened or made, or not be locked.
        """
        while True:
            if self._fd < 0 or not self._is_in_place():
                fd = self._open()
                self.release()
                self._fd = fd
            fcntl.flock(self._fd, how)
            if self._is_in_place():  # or it was removed since it was opened
                return

    def _open(self) -> int:
        """Open its file, or make one that can be locked by whoever may use the database, whoever makes it.

        Source:
            So does SQLite with what it keeps beside a database: os_unix.c, findCreateFileMode and robust_open.
        """
        with suppress(FileNotFoundError):
            return _open_to_lock(self._path)
        like = self._database.stat()
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with suppress(OSError):  # another one was faster, or its file system knows no permissions
            os.fchmod(fd, S_IMODE(like.st_mode))  # whatever the umask
            if os.geteuid() == 0:
                os.fchown(fd, like.st_uid, like.st_gid)
        return fd

    def _is_in_place(self) -> bool:
        """Whether the file that is open is still the one that others open."""
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class DaemonLockFile(_LockFile):
    """A lock that one holds: the daemon of a database.

    Args:
        database: The file, without links.
    """

    def __init__(self, database: Path) -> None:
        super().__init__(database, "daemon")
        self._served: os.stat_result | None = None

    def hold(self) -> bool:
        """Take it, or make sure that it is still held, and of the same database; False if another process has it.

        Raises:
            DaemonError: If it can't be taken, or somebody has put another file in the database's place.
            HistoryError: If it was held, its file is gone and can't be made now.
        """
        # Where its folder is gone for a while there is no other daemon either.
        kind = DaemonError if self._fd < 0 else HistoryError
        try:
            self._look_at_database()
            self._take(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise kind(f"the daemon's lock {self._path} can't be taken: {_reason(error)}") from error
        return True

    def _look_at_database(self) -> None:
        """Make sure that what is written is not written into a file that nobody will find again."""
        try:
            there = self._database.stat()
        except FileNotFoundError:
            self._database.parent.stat()  # which raises where the folder is gone
            there = None
        served = self._served = self._served or there
        if served is not None and (there is None or not os.path.samestat(served, there)):
            happened = "removed" if there is None else "replaced"
            raise DaemonError(
                f"the database {self._database} was {happened} while its daemon ran; start the daemon again"
            )


class RunLockFile(_LockFile):
    """A lock that several hold at once: each run or calibration that goes on.

    Processes of other containers can't be looked for, but share the locks of a file with those of this one.

    Args:
        database: The file, without links.
    """

    def __init__(self, database: Path) -> None:
        super().__init__(database, "runs")

    def hold(self) -> None:
        """Take it, or make sure that it is still held; that it is looked at keeps it busy for no longer than that.

        Raises:
            HistoryError: If it can't be taken.
        """
        try:
            self._take(fcntl.LOCK_SH)
        except OSError as error:
            raise HistoryError(f"the lock of runs {self._path} can't be taken: {_reason(error)}") from error

    def is_free(self) -> bool:
        """Whether it is certain that nobody holds it."""
        try:
            fd = _open_to_lock(self._path)
        except OSError:  # who knows what somebody holds who has it open
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True


def _open_to_lock(path: Path) -> int:
    """Open a file that is to be locked; to read it does, but on NFS."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _reason(error: OSError) -> str:
    return f"{error.strerror}{'; change its permissions' if isinstance(error, PermissionError) else ''}"
