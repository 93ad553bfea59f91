"""What a worker of the cluster executes; arguments and results are encoded, so that the engine does not search them.

Nothing is kept from one task to the next: a walker that is, answers for the root and the selection of an earlier scan.
"""

from __future__ import annotations

import marshal
import os
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from traceback import format_exc

from runner.model.errors import ScanError, is_condition, ran_short, reason_of
from runner.scan.match import PlainSelection
from runner.scan.mounts import list_mounts
from runner.scan.snapshot import Part, dump
from runner.scan.walk import Walker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from runner.scan.match import Selecting
    from runner.strategies.base import Usage

    # The inode and the file system's identifier of the root and of each mount point below, relative to the root. The
    # device number, by which a walk compares, differs from host to host.
    Identities: TypeAlias = dict[bytes, tuple[int, int]]

# Work, about 0.2 ms, between two looks at the clock, and the number of found files after which a slice ends early.
_POLL_WORK = 400
_MOST_FILES = 500_000
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def encode_scan(root: bytes, selection: Selecting, identities: Identities) -> bytes:
    """Encode what all slices of a scan have in common."""
    one = PlainSelection(selection)
    fields = (one.patterns, one.excludes, one.ignore_case, one.track, one.one_file_system)
    return dump((root, fields, list(identities.items())))


def _decode_scan(scan: bytes) -> tuple[bytes, PlainSelection, Identities]:
    root, fields, identities = marshal.loads(scan)  # noqa: S302  by runner itself
    selection = PlainSelection.__new__(PlainSelection)
    for name, value in zip(("patterns", "excludes", "ignore_case", "track", "one_file_system"), fields, strict=True):
        setattr(selection, name, value)
    return root, selection, dict(identities)


def find_identities(root: bytes, selection: Selecting) -> Identities:
    """Find the identities of a root and of the mount points below that a scan reads, as this process sees them."""
    mounts = list_mounts(root, selection) or frozenset()
    return {path: _identity(root, path) for path in {b"", *mounts}}


def _identity(root: bytes, path: bytes) -> tuple[int, int]:
    full = os.path.join(root, path) if path else root
    try:
        return os.stat(full).st_ino, os.statvfs(full).f_fsid
    except OSError:
        return 0, 0


def software() -> tuple[str, str]:
    """Return the versions of runner and Python, which have to be the same everywhere."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return version("runner"), python
    except PackageNotFoundError:
        return "unknown", python


def describe_worker(scan: bytes, dask_worker: Any) -> tuple[tuple[str, str], int, Identities, Usage]:
    """Describe this worker: its software, its threads, the root as it sees it, and its usage so far."""
    root, selection, _ = _decode_scan(scan)
    threads = dask_worker.state.nthreads
    return software(), threads, find_identities(root, selection), usage(resource.RUSAGE_SELF)


def usage(who: int) -> Usage:
    """Return the resources used by this process or thread."""
    used = resource.getrusage(who)
    return used.ru_utime, used.ru_stime, used.ru_maxrss * _RSS_UNIT, used.ru_inblock


def read_slice(*arguments: Any) -> bytes:
    """Read directories for some time, in a task.

    Args:
        arguments: The encoded scan and paths, how long to read, and whether to read what lies below.

    Returns:
        Encoded: the worker, its usage before and after, the CPU time of the task, the encoded piece, the problems and
        counts, and the directories left over; or why the whole scan fails, and the traceback of a defect. An error is
        not raised, since a client waits forever if it can't decode it.
    """
    try:
        return _read_slice(*arguments)
    except ScanError as error:
        return dump((str(error), ""))
    except Exception as error:  # noqa: BLE001  raised by the driver
        return dump((str(ran_short(error)), "") if is_condition(error) else (reason_of(error), format_exc()))


def _read_slice(scan: bytes, paths: bytes, length_s: float, descend: bool) -> bytes:  # noqa: FBT001  by position
    from distributed import get_worker

    began_s = time.monotonic()
    worker = get_worker()
    before, thread_before = usage(resource.RUSAGE_SELF), _thread_cpu_s()
    root, selection, identities = _decode_scan(scan)
    if worker.state.nthreads != 1:
        raise ScanError(several_threads(worker.address))
    _check_identities(root, identities, worker.address)
    # A walk ends in another directory, where it would keep a file system busy.
    here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    walker = Walker(root, selection)
    try:
        part = _read(walker, marshal.loads(paths), began_s + length_s, descend=descend)  # noqa: S302  by runner itself
        left = part.rest + walker.pending.paths()
        _check_identities(root, identities, worker.address)  # first, since it names the worker
        walker.check_root()
    finally:
        walker.close()
        os.fchdir(here)
        os.close(here)
    spent_s = _thread_cpu_s() - thread_before
    used = (before, usage(resource.RUSAGE_SELF), spent_s)
    return dump((worker.address, *used, part.encode(), part.problems, part.count(), left))


def _read(walker: Walker, paths: list[bytes], until_s: float, *, descend: bool) -> Part:
    part, found = Part(), 0
    walker.pending.add_starts(paths)
    while walker.pending.directories:
        found += walker.read_some(part, _POLL_WORK, descend=descend)[2]
        if time.monotonic() >= until_s or found >= _MOST_FILES:
            break
    return part


def _check_identities(root: bytes, identities: Identities, address: str) -> None:
    for path, identity in identities.items():
        if _identity(root, path) != identity:
            raise ScanError(foreign(address, root, path))


def foreign(address: str, root: bytes, path: bytes) -> str:
    """Return in one line that a worker sees another directory, with the cure."""
    what = os.fsdecode(os.path.join(root, path) if path else root)
    return f"{what!r} is another directory on the worker {address}, or not mounted there; mount it, or end that worker"


def several_threads(address: str) -> str:
    """Return in one line that a worker has several threads, with the cure."""
    return f"the worker {address} has several threads, but a scan needs one; start it with --nthreads 1"


def _thread_cpu_s() -> float:
    used = resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))
    return used.ru_utime + used.ru_stime
