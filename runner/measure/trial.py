"""The trial process: a fresh process that carries out one task, sends its result and ends.

It imports only the standard library and runner's scanning packages, has one thread and default signals, and leads its
own session, which its workers share. It reads the task from standard input, which is then replaced by its lifeline: a
pipe, at whose closing by the death of the parent the kernel signals the whole process group.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import mmap
import os
import resource
import select
import struct
import sys
import time

# The C parts of pickle and signal: their Python modules import regular expressions and enums, which no scan needs.
from _pickle import dumps, load
from _signal import SIGIO, SIGKILL, signal  # type: ignore[import-not-found]
from types import SimpleNamespace

from runner.model.errors import ScanError, is_condition, ran_short, reason_of
from runner.scan.filesystems import find_filesystem
from runner.scan.mounts import check_mounts, list_mounts
from runner.scan.root import open_root
from runner.scan.snapshot import Snapshot
from runner.strategies import load_strategy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from runner.model.runs import Status
    from runner.scan.walk import Report
    from runner.strategies.base import ScanRequest

    # Ends what a task started, after the clock has stopped.
    End: TypeAlias = Callable[[], None] | None

# The length of the result, which precedes it: workers that outlive the process keep the pipe open.
HEADER = struct.Struct("=Q")
# Native, so that each counter is written in one piece: the parent reads them at any moment.
PROGRESS = struct.Struct("@QQQ")
# Follows the counters: the type of the file system, as soon as it is known.
FILESYSTEM = struct.Struct("256p")
SHARED_BYTES = PROGRESS.size + FILESYSTEM.size


class TrialResult(SimpleNamespace):
    """How a trial process ended, what it measured and what it found.

    Its own start and end are no part of the execution, so that the measured values span the task alone; a task collects
    all of its workers before it ends.
    """

    status: Status  # set by the parent
    message: str | None = None  # why it did not succeed
    defect: str | None = None  # the traceback of an unexpected error
    begun: bool = True  # if not, the message says why the work can't be begun
    left: bool = False  # whether a process of it could not be killed and still exists
    filesystem: str = ""  # type of the file system of the work; empty if unknown
    value: Any = None  # what the task found
    wall_s: float = 0.0  # from the beginning of the task to its end
    startup_s: float = 0.0  # of that until work could begin
    # CPU time of the first process alone, which is all that it can see of itself, and of its workers.
    own_user_s: float = 0.0
    own_system_s: float = 0.0
    workers_user_s: float = 0.0
    workers_system_s: float = 0.0
    blocks_in: int = 0  # read from devices
    max_rss_bytes: int = 0  # peak resident memory of the largest process
    workers: int | None = None  # that were used, if that was not the requested number
    detail: str = ""  # a remark about these figures

    @property
    def user_s(self) -> float:
        """User CPU time of all processes."""
        return self.own_user_s + self.workers_user_s

    @property
    def system_s(self) -> float:
        """System CPU time of all processes."""
        return self.own_system_s + self.workers_system_s


class Task:
    """Work that a trial process can measure; pickled on the way there. It may raise ScanError."""

    def prepare(self) -> str:
        """Import what the work needs, outside the measured time; return its file system's type, empty if unknown."""
        return ""

    def carry_out(self, report: Report, output: int) -> tuple[TrialResult, End]:
        """Execute and measure the work; return its times and value, and what ends it.

        *output* is a descriptor of an empty file, for what is too large to be sent.
        """
        raise NotImplementedError


class ScanTask(Task):
    """One strategy on one tree; its value is a :class:`~runner.scan.snapshot.Snapshot`."""

    def __init__(self, *, strategy: str, request: ScanRequest) -> None:
        self.strategy = strategy
        self.request = request

    def prepare(self) -> str:
        """Import the strategy and check the root."""
        load_strategy(self.strategy).prepare(self.request)
        return _check_root(self.request.root)

    def carry_out(self, report: Report, output: int) -> tuple[TrialResult, End]:
        """Scan from the root's path to the complete list, which lies in a file."""
        strategy, request, snapshot = load_strategy(self.strategy), self.request, Snapshot(output)
        mounts = list_mounts(request.root, request.selection, request.mounts)
        began = time.perf_counter()
        scan = strategy.scan(request, snapshot, report)
        wall_s = time.perf_counter() - began

        def end() -> None:
            scan.end()
            check_mounts(snapshot, request.root, request.selection, request.mounts, mounts)

        result = TrialResult(wall_s=wall_s, startup_s=scan.startup_s, value=snapshot)
        result.workers, result.detail = scan.workers, scan.detail
        result.workers_user_s, result.workers_system_s, result.max_rss_bytes, result.blocks_in = scan.remote
        return result, end


class CheckTask(Task):
    """A function, pickled by its name, of paths that each count as a directory read; its value lists the results."""

    def __init__(self, check: Callable[[Any], Any], paths: Sequence[bytes]) -> None:
        self.check = check
        self.paths = paths

    def carry_out(self, report: Report, _output: int) -> tuple[TrialResult, End]:
        """Check the paths."""
        results = []
        for path in self.paths:
            results.append(self.check(path))
            report(1, 0, 0)
        return TrialResult(value=results), None


def look_at_root(root: bytes) -> tuple[str, str | None]:
    """Return the type of a root's file system, and why it can't be scanned, None if it can."""
    try:
        return _check_root(root), None
    except ScanError as error:
        if is_condition(error.__cause__):
            raise
        return "", str(error)


def _check_root(root: bytes) -> str:
    # Only trial processes touch a root: if its file system does not answer, they hang, but can be killed.
    os.close(open_root(root))
    return find_filesystem(root)


def main() -> None:
    """Read the task from standard input, carry it out, send the result and end at once."""
    # Anything printed here must not end up in the result.
    result_fd = os.dup(1)
    os.dup2(2, 1)
    task: Task = load(sys.stdin.buffer)
    _follow_parent(int(sys.argv[4]))
    # A scan creates no cycles, but the collector would traverse every object kept.
    gc.disable()
    result = _carry_out(task, int(sys.argv[2]), int(sys.argv[3]))
    message = dumps(result, protocol=5)
    with os.fdopen(result_fd, "wb") as pipe:
        pipe.write(HEADER.pack(len(message)))
        pipe.write(message)
    # Finalising the interpreter costs as much CPU time as a small scan, and nothing of it is needed.
    os._exit(0 if result.message is None else 1)


def _carry_out(task: Task, progress_fd: int, output: int) -> TrialResult:
    begun = False
    try:
        shared = mmap.mmap(progress_fd, SHARED_BYTES)
        FILESYSTEM.pack_into(shared, PROGRESS.size, task.prepare().encode("ascii", "replace"))
        begun = True
        before = resource.getrusage(resource.RUSAGE_SELF)
        result, end = task.carry_out(_share_progress(shared), output)
        after = resource.getrusage(resource.RUSAGE_SELF)
        if end is not None:
            end()
        # Lets multiprocessing remove its named semaphores and helper processes. There is no public way to do so
        # without ending.
        atexit._run_exitfuncs()  # noqa: SLF001
    except ScanError as error:
        return TrialResult(message=str(error), begun=begun or is_condition(error.__cause__))
    except Exception as error:  # noqa: BLE001  the process ends here, and the parent records it
        if is_condition(error):
            return TrialResult(message=str(ran_short(error)))
        from traceback import format_exc

        message = f"a defect in runner: {type(error).__name__}: {reason_of(error)}; its traceback is in the log"
        return TrialResult(message=message, defect=format_exc())
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    result.own_user_s = after.ru_utime - before.ru_utime
    result.own_system_s = after.ru_stime - before.ru_stime
    result.workers_user_s += workers.ru_utime
    result.workers_system_s += workers.ru_stime
    result.blocks_in += after.ru_inblock - before.ru_inblock + workers.ru_inblock
    result.max_rss_bytes = max(result.max_rss_bytes, _peak_rss_bytes())
    return result


def _peak_rss_bytes() -> int:
    """Return the peak resident memory of this process or its largest worker.

    ``ru_maxrss`` begins at the parent's peak, since ``exec`` after ``vfork`` keeps it, so that a large daemon would be
    counted as the scan. The peak of the memory map begins at zero; Linux shows it.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123  as light as it gets
            status = file.read()
    except FileNotFoundError:
        status = ""
    peak = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")]
    return max(workers, *(peak or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit]))


def _follow_parent(lifeline: int) -> None:
    """Make the kernel kill this process group when the parent's end of the lifeline closes."""
    # Workers hold copies of both, so that they are signalled even if the trial process has died before its parent;
    # multiprocessing closes their standard input.
    os.dup2(lifeline, sys.stdin.fileno())
    if not hasattr(fcntl, "F_SETSIG"):
        signal(SIGIO, lambda *_: os.killpg(0, SIGKILL))
    end_with_parent(lifeline, os.getpgrp())
    if select.select([lifeline], [], [], 0)[0]:  # it closed before the call above
        os.killpg(0, SIGKILL)


def end_with_parent(lifeline: int, group: int) -> None:
    """Make the kernel signal a process group when the other end of a pipe closes.

    A pipe in asynchronous mode signals its owner, here the group, when the last writer is gone. On Linux the signal can
    be SIGKILL, which ends even stopped processes; elsewhere it is SIGIO.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -group)
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, SIGKILL)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)


def _share_progress(shared: mmap.mmap) -> Report:
    counters = memoryview(shared).cast("Q")

    def report(directories: int, entries: int, files: int) -> None:
        counters[0] += directories
        counters[1] += entries
        counters[2] += files

    return report
