"""Locks in files beside a SQLite database, which the kernel releases when their holders die."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from stat import S_IMODE, S_ISREG

from runner.history.errors import find_shortage, refusal
from runner.history.locks import Lock, find_lock_holders, wait_for_lock
from runner.model.errors import DaemonError, HistoryError, LockHeld, reason_of

# How long another process may hold the run lock exclusively to check whether any run is running.
_PROBE_S = 0.5
_LINK = "it is a symbolic link; remove it"
_ALONE, _SHARED = (mode | fcntl.LOCK_NB for mode in (fcntl.LOCK_EX, fcntl.LOCK_SH))


class _LockFile(Lock):
    """A lock file beside the database *database*, whose path contains no links.

    It is never removed: a process that has opened the old file and one that creates a new file would both hold a lock.
    If somebody removes it nevertheless, the new file counts.
    """

    _name = "upgrade"

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.{self._name}.lock")
        self._database = database
        self._fd = -1

    def acquire(self, mode: int) -> None:
        """Acquire the lock or check that it is still held; raise OSError if that is impossible."""
        while True:
            if self._fd < 0 or not self._is_in_place():
                fd = self._open()
                self.release()
                self._fd = fd
            fcntl.flock(self._fd, mode)
            if self._is_in_place():  # not removed since it was opened
                return

    def _open(self) -> int:
        """Open the file, or create one that only the users who can write the database can lock.

        Source:
            SQLite does the same for the files beside a database: os_unix.c, findCreateFileMode and robust_open.
        """
        like = self._database.stat() if self._database.exists() else None
        mode = 0o600 | (S_IMODE(like.st_mode) & 0o060 if like else 0)
        while True:
            try:
                return _check(_open_to_lock(self.path), like, mode)
            except FileNotFoundError:
                pass
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except FileExistsError:  # another process was faster, or it is a link
                if self.path.is_symlink():
                    raise OSError(errno.ELOOP, _LINK) from None
                continue
            with suppress(OSError):  # a file system without permissions
                if os.geteuid() == 0 and like:
                    os.fchown(fd, like.st_uid, like.st_gid)
                os.fchmod(fd, mode)  # despite the umask
            return fd

    def _is_in_place(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._fd), self.path.lstat())
        return False

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def find_holder(self) -> str:
        return ", ".join(find_lock_holders(self.path, "FLOCK", "WRITE"))


class DaemonLockFile(_LockFile):
    """The lock of the daemon of a database."""

    _name = "daemon"
    _served: os.stat_result | None = None

    def hold(self) -> bool:
        """Acquire the lock or check that it is still held; return False if another process has it.

        Raises:
            DaemonError: If it cannot be acquired, or the database file was replaced.
            HistoryError: If it was held, and its file is gone and cannot be created now.
        """
        # While the directory is missing, no other daemon can run either.
        error_class = DaemonError if self._fd < 0 else HistoryError
        try:
            self._check_database()
            self.acquire(_ALONE)
        except BlockingIOError:
            return False
        except OSError as error:
            raise error_class(f"the daemon's lock {self.path} can't be taken: {_reason(error)}") from error
        return True

    def _check_database(self) -> None:
        """Check that the database file is still in place, so that writes do not go into a deleted file."""
        self._database.parent.stat()  # raises if the directory is gone
        current = self._database.stat() if self._database.exists() else None
        self._served = self._served or current
        if self._served and (current is None or not os.path.samestat(self._served, current)):
            event = "removed" if current is None else "replaced"
            raise DaemonError(f"the database {self._database} was {event} while its daemon ran; start the daemon again")


class RunLockFile(_LockFile):
    """The lock that all runs and calibrations share; it is visible even if their processes are in other containers."""

    _name = "runs"

    def hold(self) -> bool:
        """Acquire the lock or check that it is still held; raise LockHeld if another process has it alone."""
        try:
            wait_for_lock(partial(self.acquire, _SHARED), within_s=_PROBE_S)
        except OSError as error:
            raise self._explain(error) from error
        return True

    def find_blocker(self) -> str | None:
        """Find the reason why runs cannot share the lock; return one line, or None."""
        error = self._probe(_SHARED, _PROBE_S)
        if error is None or isinstance(error, FileNotFoundError | PermissionError):
            return None
        return str(self._explain(error))

    def is_free(self) -> bool:
        """Return whether certainly no process holds it."""
        return self._probe(_ALONE, 0) is None

    def _probe(self, mode: int, within_s: float) -> OSError | None:
        """Acquire the lock of an existing file for a moment; return the error if that fails."""
        try:
            self.path.lstat()
            wait_for_lock(partial(self.acquire, mode), within_s=within_s)
        except OSError as error:
            return error
        finally:
            self.release()
        return None

    def _explain(self, error: OSError) -> HistoryError:
        if not isinstance(error, BlockingIOError):
            return HistoryError(f"the lock of runs {self.path} can't be taken: {_reason(error)}")
        holder, cure = self.find_holder(), "end that process"
        if not holder:
            holder, cure = "another process", f"see `fuser {self.path}`, and end that process"
        return LockHeld(f"{holder} holds the lock of runs {self.path}; {cure}")


@contextmanager
def upgrade_lock(database: Path, within_s: float) -> Iterator[None]:
    """Wait for the lock of the process that creates or upgrades the schema of a database, which need not exist."""
    lock = _LockFile(database)
    try:
        what = f"the lock {lock.path}"
        wait_for_lock(partial(lock.acquire, _ALONE), within_s=within_s, what=what, find_holder=lock.find_holder)
    except BlockingIOError:
        lock.release()
        what = f"{lock.find_holder() or 'another process'} holds the lock {lock.path}; end that process"
        raise HistoryError(f"the database {database} can't be created or upgraded: {what}") from None
    except OSError as error:
        lock.release()
        raise find_shortage(lock.path, f"the database {database}") or refusal(error)(
            f"the lock {lock.path} can't be taken: {_reason(error)}; choose another database with --db"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # before the release, so that a waiting process detects the removal
            lock.path.unlink()
        lock.release()


def _open_to_lock(path: Path) -> int:
    """Open a file in order to lock it: for writing if possible, as NFS requires, and without waiting for a FIFO."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | flags)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)
    except OSError as error:
        raise OSError(error.errno, _LINK) if error.errno == errno.ELOOP else error from None


def _check(fd: int, like: os.stat_result | None, mode: int) -> int:
    """Check that an open file can be a lock, restrict its mode to *mode*, and return it."""
    stat = os.fstat(fd)
    fault = ""
    if not S_ISREG(stat.st_mode):
        fault = "it is not a regular file"
    elif stat.st_nlink > 1:
        fault = "it is a hard link to another file"
    elif stat.st_uid not in (os.geteuid(), like.st_uid if like else 0, 0) and not (like and like.st_mode & 0o020):
        fault = "it belongs to another user than the database"
    if fault:
        os.close(fd)
        raise OSError(errno.EINVAL, f"{fault}; remove it")
    if stat.st_uid == os.geteuid() and S_IMODE(stat.st_mode) & ~mode:  # created by an older runner
        with suppress(OSError):  # a file system that is read-only or has no permissions
            os.fchmod(fd, S_IMODE(stat.st_mode) & mode)
    return fd


def _reason(error: OSError) -> str:
    return f"{reason_of(error)}{'; change its permissions' if isinstance(error, PermissionError) else ''}"
