"""Locks beside a SQLite file, which the kernel releases when their holders die."""

import errno
import fcntl
import logging
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from stat import S_IMODE, S_ISREG

from runner.history.lockholders import find_lock_holders
from runner.history.sqlite_errors import find_shortage, refusal
from runner.history.waiting import wait_for_lock
from runner.model.errors import DaemonError, HistoryError, LockHeld, reason_of

_log = logging.getLogger(__name__)

# How long another process may hold the run lock alone, which it does to see whether any run is going on.
_PROBE_S = 0.5
_LINK = "it is a symbolic link; remove it"


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
            OSError: If its file can't be opened or created, or not be locked.
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
        """Open its file, or create one that whoever may write the database can lock, and nobody else.

        Raises:
            OSError: If there is something else in its place, which may have been planted there.

        Source:
            So does SQLite with what it keeps beside a database: os_unix.c, findCreateFileMode and robust_open.
        """
        like = self._database.stat() if self._database.exists() else None
        mode = 0o600 | (S_IMODE(like.st_mode) & 0o060 if like else 0)
        while True:
            try:
                return _checked(_open_to_lock(self._path), like, mode)
            except FileNotFoundError:
                pass
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except FileExistsError:  # another process was faster, or it is a link
                if self._path.is_symlink():
                    raise OSError(errno.ELOOP, _LINK) from None
                continue
            with suppress(OSError):  # its file system has no permissions
                if os.geteuid() == 0 and like:
                    os.fchown(fd, like.st_uid, like.st_gid)
                os.fchmod(fd, mode)  # whatever the umask
            return fd

    def _is_in_place(self) -> bool:
        """Whether the file that is open is still the one that others open."""
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.lstat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def find_holder(self) -> str:
        """Find the other process that holds it alone, such as ``process 123 (name)``; empty if that is not known."""
        return ", ".join(find_lock_holders(self._path, "FLOCK", "WRITE"))


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
            LockHeld: If another process holds it alone, for longer than it takes to look at it.
            HistoryError: If it can't be taken.
        """
        try:
            wait_for_lock(lambda: self._take(fcntl.LOCK_SH | fcntl.LOCK_NB), within_s=_PROBE_S)
        except BlockingIOError as error:
            raise LockHeld(self._describe_holder()) from error
        except OSError as error:
            raise HistoryError(f"the lock of runs {self._path} can't be taken: {_reason(error)}") from error

    def find_blocker(self) -> str | None:
        """Find what keeps runs from starting: a process that holds the lock alone; a line about it, or None."""
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


class UpgradeLockFile(_LockFile):
    """A lock that one holds: who creates or upgrades the schema. It is removed by its holder.

    Args:
        database: The file, without links; it need not exist.
        within_s: How long to wait for another process.
    """

    def __init__(self, database: Path, *, within_s: float) -> None:
        super().__init__(database, "upgrade")
        self._within_s = within_s

    def __enter__(self) -> None:
        """Take it.

        Raises:
            HistoryError: If another process holds it all the time, or the disk lacks room for it.
            DatabaseUnusable: If it can't be taken.
        """
        try:
            wait_for_lock(
                lambda: self._take(fcntl.LOCK_EX | fcntl.LOCK_NB), within_s=self._within_s, on_wait=self._report
            )
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
        """Remove it, then let go of it: who has waited for it finds that its file is not in place any more."""
        with suppress(OSError):
            self._path.unlink()
        self.release()

    def _report(self) -> None:
        holder = self.find_holder() or "another process"
        _log.warning("waiting for the lock %s, held by %s", self._path, holder)


def _open_to_lock(path: Path) -> int:
    """Open a file that is to be locked; to read it does, but on NFS. A FIFO is not waited for."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | flags)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)
    except OSError as error:
        raise OSError(error.errno, _LINK) if error.errno == errno.ELOOP else error from None


def _checked(fd: int, like: os.stat_result | None, mode: int) -> int:
    """Check that a file can be a lock of runner; restrict a lock that an older runner left open to everybody."""
    found = os.fstat(fd)
    wrong = ""
    if not S_ISREG(found.st_mode):
        wrong = "it is not a regular file"
    elif found.st_nlink > 1:
        wrong = "it is a hard link to another file"
    elif found.st_uid not in (os.geteuid(), like.st_uid if like else 0, 0) and not (like and like.st_mode & 0o020):
        wrong = "it belongs to another user than the database"
    if wrong:
        os.close(fd)
        raise OSError(errno.EINVAL, f"{wrong}; remove it")
    if found.st_uid == os.geteuid() and S_IMODE(found.st_mode) & ~mode:
        with suppress(OSError):  # its file system is read-only, or has no permissions
            os.fchmod(fd, S_IMODE(found.st_mode) & mode)
    return fd


def _reason(error: OSError) -> str:
    return f"{reason_of(error)}{'; change its permissions' if isinstance(error, PermissionError) else ''}"
