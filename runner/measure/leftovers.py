"""Temporary directories of trial processes, and the removal of what a killed runner left.

multiprocessing keeps a fork server's socket in a directory, and named semaphores in shared memory. A killed process
removes neither. So each trial process has a temporary directory of its own, and its semaphores begin with that
directory's name, which says who has to remove them.
"""

import os
import re
import shutil
import signal
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
# Where there is a short path if that of TMPDIR is too long.
_SHORT = ("/tmp", "/var/tmp")  # noqa: S108  mkdtemp makes directories there that nobody else can use
# Where Linux shows named semaphores.
_SEMAPHORES = "/dev/shm"  # noqa: S108  only names that tell their owner are looked for
_NAME = re.compile(r"(?:sem\.)?runner-(\d+)-([\d.]+)-([0-9a-f]{8})-")
# How long a killed process may take to be gone.
_END_S = 1.0


@contextmanager
def trial_directory() -> Iterator[str]:
    """Yield a new temporary directory; remove it with the semaphores named after it in the end.

    Raises:
        OSError: If it can't be created.
    """
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
        shutil.rmtree(directory, ignore_errors=True)
        _remove_semaphores(re.compile(rf"(?:sem\.)?{re.escape(os.path.basename(directory))}-"))  # noqa: PTH119


def remove_leftovers() -> None:
    """End the trial processes of runners that were killed, and remove their directories and semaphores."""
    owner = describe_process()
    for base in {tempfile.gettempdir(), *_SHORT}:
        for entry in _entries(base, _NAME):
            if entry.is_dir(follow_symlinks=False) and _is_left(entry, owner):
                _end_processes(entry.path)
                shutil.rmtree(entry.path, ignore_errors=True)
    _remove_semaphores(_NAME, owner)


def _remove_semaphores(pattern: re.Pattern[str], owner: Owner | None = None) -> None:
    """Remove semaphores by their names; with *owner* only those of processes that are gone."""
    for entry in _entries(_SEMAPHORES, pattern):
        if entry.is_file(follow_symlinks=False) and (owner is None or _is_left(entry, owner)):
            with suppress(FileNotFoundError):
                os.unlink(entry.path)  # noqa: PTH108  an entry has its path as text


def _entries(base: str, pattern: re.Pattern[str]) -> list[os.DirEntry[str]]:
    """List this user's entries of a directory whose names match."""
    found = []
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if pattern.match(entry.name) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                    found.append(entry)
    return found


def _is_left(entry: os.DirEntry[str], here: Owner) -> bool:
    """Return whether the process that an entry is named after is gone.

    One that was started under another boot, or among the processes of another container, is gone if its entry is older
    than this boot.
    """
    found = _NAME.match(entry.name)
    assert found is not None  # noqa: S101  entries are listed by it
    pid, started_s, boot = found.groups()
    if boot == _boot(here):
        return not is_alive(replace(here, pid=int(pid), started_s=float(started_s)))
    import psutil

    with suppress(FileNotFoundError):
        return entry.stat(follow_symlinks=False).st_ctime < psutil.boot_time()
    return False


def _boot(owner: Owner) -> str:
    return f"{zlib.crc32(owner.boot.encode()):08x}"


def _end_processes(directory: str) -> None:
    """Kill the processes that have a file in a trial's directory open, and wait until they are gone.

    The kernel ends a trial process with its runner, but for one that was stopped before it had become another program:
    that one still holds the locks of the runner.
    """
    import psutil

    killed = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError, psutil.Error):
            if os.readlink(link).startswith(f"{directory}/"):  # noqa: PTH115  a deleted file's name is no path
                process = psutil.Process(int(link.parts[2]))
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process)
    psutil.wait_procs(killed, _END_S)
