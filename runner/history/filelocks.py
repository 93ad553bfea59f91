"""Locks in files beside a SQLite database, which the kernel releases when their holders die."""

import errno
import fcntl
import logging
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from stat import S_IMODE, S_ISREG

from runner.history.locks import find_lock_holders, wait_for_lock
from runner.history.sqlite_errors import find_shortage, refusal
from runner.model.errors import DaemonError, HistoryError, LockHeld, reason_of

_log = logging.getLogger(__name__)

# How long another process may hold the run lock exclusively to check whether any run is running.
_PROBE_S = 0.5
_LINK = "it is a symbolic link; remove it"


class _LockFile:
    """A lock file beside the database *database*, whose path contains no links.

    It is never removed: a process that has opened the old file and one that creates a new file would both hold a lock.
    If somebody removes it nevertheless, the new file counts.
    """

    def __init__(self, database: Path, name: str) -> None:
        self._path = database.with_name(f"{database.name}.{name}.lock")
        self._database = database
        self._fd = -1

    def _acquire(self, mode: int) -> None:
        """Acquire the lock or check that it is still held.

        Raises:
            OSError: If its file cannot be opened, created or locked.
        """
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

        Raises:
            OSError: If there is another file in its place, possibly planted.

        Source:
            SQLite does the same for the files beside a database: os_unix.c, findCreateFileMode and robust_open.
        """
        like = self._database.stat() if self._database.exists() else None
        mode = 0o600 | (S_IMODE(like.st_mode) & 0o060 if like else 0)
        while True:
            try:
                return _check(_open_to_lock(self._path), like, mode)
            except FileNotFoundError:
                pass
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except FileExistsError:  # another process was faster, or it is a link
                if self._path.is_symlink():
                    raise OSError(errno.ELOOP, _LINK) from None
                continue
            with suppress(OSError):  # a file system without permissions
                if os.geteuid() == 0 and like:
                    os.fchown(fd, like.st_uid, like.st_gid)
                os.fchmod(fd, mode)  # despite the umask
            return fd

    def _is_in_place(self) -> bool:
        """Return whether the open file is still the one at the path."""
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.lstat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def find_holder(self) -> str:
        """Find the other process that holds it exclusively, such as ``process 123 (name)``; empty if unknown."""
        return ", ".join(find_lock_holders(self._path, "FLOCK", "WRITE"))


class DaemonLockFile(_LockFile):
    """The lock of the daemon of a database."""

    def __init__(self, database: Path) -> None:
        super().__init__(database, "daemon")
        self._served: os.stat_result | None = None

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
            self._acquire(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise error_class(f"the daemon's lock {self._path} can't be taken: {_reason(error)}") from error
        return True

    def _check_database(self) -> None:
        """Check that the database file is still in place, so that writes do not go into a deleted file."""
        try:
            current = self._database.stat()
        except FileNotFoundError:
            self._database.parent.stat()  # raises if the directory is gone
            current = None
        served = self._served = self._served or current
        if served is not None and (current is None or not os.path.samestat(served, current)):
            event = "removed" if current is None else "replaced"
            raise DaemonError(f"the database {self._database} was {event} while its daemon ran; start the daemon again")


class RunLockFile(_LockFile):
    """The lock that each running run or calibration shares.

    Processes of other containers are invisible, but their locks on a shared file are not.
    """

    def __init__(self, database: Path) -> None:
        super().__init__(database, "runs")

    def hold(self) -> None:
        """Acquire the lock or check that it is still held, waiting while another process probes it.

        Raises:
            LockHeld: If another process holds it exclusively for longer.
            HistoryError: If it cannot be acquired.
        """
        try:
            wait_for_lock(lambda: self._acquire(fcntl.LOCK_SH | fcntl.LOCK_NB), within_s=_PROBE_S)
        except BlockingIOError as error:
            raise LockHeld(self._describe_holder()) from error
        except OSError as error:
            raise HistoryError(f"the lock of runs {self._path} can't be taken: {_reason(error)}") from error

    def find_blocker(self) -> str | None:
        """Find the process that holds the lock exclusively, which blocks runs; return one line, or None."""
        try:
            fd = _open_to_lock(self._path)
        except (FileNotFoundError, PermissionError):
            return None
        except OSError as error:
            return f"the lock of runs {self._path} can't be taken: {_reason(error)}"
        try:
            wait_for_lock(partial(fcntl.flock, fd, fcntl.LOCK_SH | fcntl.LOCK_NB), within_s=_PROBE_S)
        except BlockingIOError:
            return self._describe_holder()
        except OSError:
            return None
        finally:
            os.close(fd)
        return None

    def _describe_holder(self) -> str:
        holder, cure = self.find_holder(), "end that process"
        if not holder:
            holder, cure = "another process", f"see `fuser {self._path}`, and end that process"
        return f"{holder} holds the lock of runs {self._path}; {cure}"

    def is_free(self) -> bool:
        """Return whether certainly no process holds it."""
        try:
            fd = _open_to_lock(self._path)
        except OSError:  # another process may have it open
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True


class UpgradeLockFile(_LockFile):
    """The lock of the process that creates or upgrades the schema; its holder removes the file.

    Args:
        database: The database, which need not exist.
        within_s: How long to wait for another process.
    """

    def __init__(self, database: Path, *, within_s: float) -> None:
        super().__init__(database, "upgrade")
        self._within_s = within_s

    def __enter__(self) -> None:
        """Acquire the lock.

        Raises:
            HistoryError: If another process holds it all the time, or the disk is full.
            DatabaseUnusable: If it cannot be acquired.
        """
        acquire = partial(self._acquire, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            wait_for_lock(acquire, within_s=self._within_s, on_wait=self._report)
        except BlockingIOError:
            self.release()
            raise HistoryError(
                f"the database {self._database} can't be created or upgraded: {self.find_holder() or 'another process'}"
                f" holds the lock {self._path}; end that process"
            ) from None
        except OSError as error:
            self.release()
            shortage = find_shortage(self._path, f"the database {self._database}")
            raise shortage or refusal(error)(
                f"the lock {self._path} can't be taken: {_reason(error)}; choose another database with --db"
            ) from error

    def __exit__(self, *_error: object) -> None:
        """Remove the file, then release the lock, so that a waiting process detects the removal."""
        with suppress(OSError):
            self._path.unlink()
        self.release()

    def _report(self) -> None:
        _log.warning("waiting for the lock %s, held by %s", self._path, self.find_holder() or "another process")


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
