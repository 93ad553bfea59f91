"""Temporary directories of trial processes, and the removal of what a killed runner left.

multiprocessing keeps a fork server's socket in a directory, and named semaphores in shared memory. Each trial process
has its own directory, whose name contains the owner and begins the names of its semaphores.
"""

import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from runner.measure.environment import describe_process, is_alive
from runner.model.errors import reason_of
from runner.model.runs import Owner

# A socket's path has at most 103 bytes on macOS and 107 on Linux. multiprocessing appends this to the directory.
_LONGEST_BYTES = 103 - len("/pymp-12345678/listener-12345678")
# Used if the path of TMPDIR is too long.
_SHORT = ("/tmp", "/var/tmp")  # noqa: S108  mkdtemp creates directories there that only this user can use
# Where Linux shows named semaphores; macOS does not show them.
_SEMAPHORES = "/dev/shm"  # noqa: S108  only names that contain their owner are removed
_NAME = re.compile(r"(?:sem\.)?runner-(\d+)-([\d.]+)-([0-9a-f]{8})-")
# Limit for a killed process to disappear.
_END_S = 1.0

# Directories that could not be removed, for example while the process had no free descriptors. Their owner lives, so
# only this process can remove them.
_unremoved: set[str] = set()


@contextmanager
def trial_directory() -> Iterator[str]:
    """Yield a new temporary directory; at the end, remove it and the semaphores named after it."""
    for earlier in _unremoved.copy():
        _remove(earlier)
    owner = describe_process()
    prefix = f"runner-{owner.pid}-{owner.started_s}-{_boot(owner)}-"
    usual = tempfile.gettempdir()
    longest = _LONGEST_BYTES - len(f"/{prefix}12345678")
    short = (base for base in (usual, *_SHORT) if len(os.fsencode(base)) <= longest and os.access(base, os.W_OK))
    base = next(short, usual)
    try:
        directory = tempfile.mkdtemp(prefix=prefix, dir=base)
    except OSError as error:
        raise OSError(error.errno, reason_of(error), base) from error
    try:
        yield directory
    finally:
        _remove(directory)


def _remove(directory: str) -> None:
    """Remove a trial's directory and semaphores, or remember it for the next trial."""
    _unremoved.add(directory)
    with suppress(OSError):
        for semaphore in _entries(_SEMAPHORES, re.compile(rf"sem\.{re.escape(Path(directory).name)}-")):
            _delete(semaphore)
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.lexists(directory):
            _unremoved.discard(directory)


def remove_leftovers() -> None:
    """Kill the trial processes of runners that were killed, and remove their directories and semaphores."""
    owner = describe_process()
    # tempfile falls back from one to the next while a directory can't be written, for example on a full disk.
    chosen = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    for base in {os.path.abspath(base) for base in (*chosen, *_SHORT, "/usr/tmp", ".", _SEMAPHORES)}:  # noqa: PTH100  resolves no link
        with suppress(OSError):
            for entry in _entries(base, _NAME):
                if _is_left(entry, owner):
                    _delete(entry)


def _entries(base: str, pattern: re.Pattern[str]) -> list[os.DirEntry[str]]:
    """List this user's entries of a directory whose names match; none if it does not exist."""
    found = []
    with suppress(FileNotFoundError), os.scandir(base) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if pattern.match(entry.name) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                    found.append(entry)
    return found


def _delete(entry: os.DirEntry[str]) -> None:
    """Delete a trial's directory, with its processes, or a semaphore; other files of such a name stay."""
    if entry.is_dir(follow_symlinks=False):
        _kill_users(entry.path)
        shutil.rmtree(entry.path, ignore_errors=True)
    elif entry.is_file(follow_symlinks=False) and entry.path.startswith(f"{_SEMAPHORES}/"):
        Path(entry.path).unlink(missing_ok=True)


def _is_left(entry: os.DirEntry[str], here: Owner) -> bool:
    """Return whether the owner in an entry's name is gone."""
    found = _NAME.match(entry.name)
    assert found is not None  # noqa: S101  entries are listed by it
    pid, started_s, boot = found.groups()
    if boot == _boot(here):
        return not is_alive(replace(here, pid=int(pid), started_s=float(started_s)))
    import psutil

    with suppress(FileNotFoundError):  # it may belong to another container of this boot
        return entry.stat(follow_symlinks=False).st_ctime < psutil.boot_time()
    return False


def _boot(owner: Owner) -> str:
    return f"{zlib.crc32(owner.boot.encode()):08x}"


def _kill_users(directory: str) -> None:
    """Kill the processes that have a file in a trial's directory open, and wait for their end.

    The kernel ends a trial process with its runner, except one that was stopped before it executed its program: that
    one still holds the locks of the runner.
    """
    import psutil

    killed = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError, psutil.Error):
            if os.readlink(link).startswith(f"{directory}/"):  # noqa: PTH115  a deleted file's name is no path
                process = psutil.Process(int(link.parts[2]))
                process.kill()
                killed.append(process)
    psutil.wait_procs(killed, _END_S)
