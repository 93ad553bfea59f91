"""The trial's side: one fresh process that carries out one task, reports and ends.

It is started with the standard library and runner's scanning package alone, has one thread and default signals, and
leads a session of its own that its workers share. It receives the task on its standard input, whose place a pipe then
takes that is its lifeline: when the parent dies, the kernel closes the other end and tells the whole process group by a
signal.
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

# The parts in C of pickle and signal: what stands around them in Python imports regular expressions and enums, which
# no scan needs.
from _pickle import dumps, loads
from _signal import SIGIO, SIGKILL, signal  # type: ignore[import-not-found]

from runner.model.errors import ScanError, is_condition, ran_short, reason_of
from runner.scan.filesystems import find_filesystem
from runner.scan.mounts import check_mounts, list_mounts
from runner.scan.root import open_root
from runner.strategies import load_strategy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeAlias

    from runner.scan.walk import Report
    from runner.strategies.base import ScanRequest

    # User and system CPU seconds, and blocks read from devices.
    Usage: TypeAlias = tuple[float, float, int]

    class Task(Protocol):
        """Work that can be measured in a trial; pickled on the way there."""

        def prepare(self) -> str:
            """Import what the work needs, which is no part of it.

            Returns:
                Type of the file system that it is done on; empty where that can't be told.

            Raises:
                ScanError: If it can't even be begun.
            """

        def carry_out(self, report: Report) -> Measured:
            """Do the work, timing it.

            Raises:
                ScanError: If it can't be done.
            """


# The task comes from here, and then the lifeline is here.
_STDIN_FD = 0

HEADER = struct.Struct("=Q")
# Native, so that each counter is written in one piece: the other process reads them at any moment.
PROGRESS = struct.Struct("@QQQ")
# What lies behind the counters: the type of the file system, as soon as it is known.
FILESYSTEM = struct.Struct("256p")
SHARED_BYTES = PROGRESS.size + FILESYSTEM.size


class Measured:
    """What a task gives back to the trial that carries it out.

    Args:
        wall_s: Seconds from beginning to end.
        startup_s: Seconds of that until work could begin.
        result: Whatever it found; can be pickled.
        end: Ends what it started, after the clock has stopped.
    """

    __slots__ = ("end", "result", "startup_s", "wall_s")

    def __init__(self, *, wall_s: float, startup_s: float, result: Any, end: Callable[[], None]) -> None:
        self.wall_s = wall_s
        self.startup_s = startup_s
        self.result = result
        self.end = end


class ScanTask:
    """One strategy on one tree; its result is a :class:`~runner.scan.snapshot.Snapshot`.

    Args:
        strategy: Its name.
        request: The tree.
    """

    __slots__ = ("request", "strategy")

    def __init__(self, *, strategy: str, request: ScanRequest) -> None:
        self.strategy = strategy
        self.request = request

    def prepare(self) -> str:
        """Import the strategy and look at the root; see :class:`Task`."""
        load_strategy(self.strategy)
        return look_at_root(self.request.root)

    def carry_out(self, report: Report) -> Measured:
        """Scan from the root's path to the complete list; see :class:`Task`."""
        strategy, request = load_strategy(self.strategy), self.request
        mounts = list_mounts(request.root, request.selection, request.mounts)
        began = time.perf_counter()
        scan = strategy.scan(request, report)
        wall_s = time.perf_counter() - began

        def end() -> None:
            scan.end()
            check_mounts(scan.found, request.root, request.selection, request.mounts, mounts)

        return Measured(wall_s=wall_s, startup_s=scan.startup_s, result=scan.found, end=end)


class LookTask:
    """A look whether trees can be scanned, which tells for each its file system, and why it can't be or None.

    Args:
        roots: Absolute paths of the directories; each counts as a directory read once it has answered.
    """

    __slots__ = ("roots",)

    def __init__(self, roots: tuple[bytes, ...]) -> None:
        self.roots = roots

    def prepare(self) -> str:
        """Prepare nothing; see :class:`Task`."""
        return ""

    def carry_out(self, report: Report) -> Measured:
        """Look at the roots; see :class:`Task`."""
        looked: list[tuple[str, str | None]] = []
        for root in self.roots:
            try:
                looked.append((look_at_root(root), None))
            except ScanError as error:
                if is_condition(error.__cause__):
                    raise
                looked.append(("", str(error)))
            report(1, 0, 0)
        return Measured(wall_s=0.0, startup_s=0.0, result=looked, end=_nothing_to_end)


class ExistsTask:
    """A look whether there is anything at a path, which is its result.

    Args:
        path: The path.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def prepare(self) -> str:
        """Prepare nothing; see :class:`Task`."""
        return ""

    def carry_out(self, report: Report) -> Measured:  # noqa: ARG002  nothing is counted
        """Look; see :class:`Task`."""
        # os.path answers where pathlib raises: for a name that is too long to be one.
        there = os.path.exists(self.path)  # noqa: PTH110
        return Measured(wall_s=0.0, startup_s=0.0, result=there, end=_nothing_to_end)


def look_at_root(root: bytes) -> str:
    """Tell the type of a root's file system.

    Nobody else touches the root: where its file system does not answer, it is a trial that hangs, and can be given up.

    Raises:
        ScanError: If it can't be scanned.
    """
    os.close(open_root(root))
    return find_filesystem(root)


def _nothing_to_end() -> None:
    """End a task that started nothing."""


class TrialReport:
    """What a trial sends to its parent, once, beside the result.

    Args:
        error: Why the task could not be done; None when it was.
        defect: The traceback of an error that nobody foresaw; None without one.
        begun: Whether the work was begun; if not, the error says why it can't be.
        wall_s: As in :class:`Measured`.
        startup_s: As in :class:`Measured`.
        own: Used by the trial itself between beginning and end of the task.
        workers: Used by the workers, which the trial has collected.
        max_rss_bytes: Peak resident memory of the largest process.
    """

    __slots__ = ("begun", "defect", "error", "max_rss_bytes", "own", "startup_s", "wall_s", "workers")

    def __init__(
        self,
        *,
        error: str | None = None,
        defect: str | None = None,
        begun: bool = True,
        wall_s: float = 0.0,
        startup_s: float = 0.0,
        own: Usage = (0.0, 0.0, 0),
        workers: Usage = (0.0, 0.0, 0),
        max_rss_bytes: int = 0,
    ) -> None:
        self.error = error
        self.defect = defect
        self.begun = begun
        self.wall_s = wall_s
        self.startup_s = startup_s
        self.own = own
        self.workers = workers
        self.max_rss_bytes = max_rss_bytes


def main() -> None:
    """Read the task from standard input, carry it out, report and end without ceremony."""
    # Whatever prints in here must not end up in the report.
    result_fd = os.dup(1)
    os.dup2(2, 1)
    task: Task = loads(_read_exactly(HEADER.unpack(_read_exactly(HEADER.size))[0]))
    _follow_parent(int(sys.argv[3]))
    # The collector finds nothing in a scan, which makes no cycles, but walks every object kept.
    gc.disable()
    report, result = _carry_out(task, int(sys.argv[2]))
    _write_all(result_fd, *_framed(dumps(report, protocol=5)), *_framed(dumps(result, protocol=5)))
    # Taking the interpreter apart costs as much CPU time as a small scan; nothing of it is needed.
    os._exit(0 if report.error is None else 1)


def _carry_out(task: Task, progress_fd: int) -> tuple[TrialReport, Any]:
    begun = False
    try:
        shared = mmap.mmap(progress_fd, SHARED_BYTES)
        FILESYSTEM.pack_into(shared, PROGRESS.size, task.prepare().encode("ascii", "replace"))
        begun = True
        before = _usage(resource.RUSAGE_SELF)
        measured = task.carry_out(_share_progress(shared))
        after = _usage(resource.RUSAGE_SELF)
        measured.end()
        # Lets multiprocessing remove what it keeps outside this process: named semaphores, helper processes. There
        # is no public way to do so and still be the one to end.
        atexit._run_exitfuncs()  # noqa: SLF001
    except ScanError as error:
        return TrialReport(error=str(error), begun=begun or is_condition(error.__cause__)), None
    except Exception as error:  # noqa: BLE001  the process ends here, and the parent records it
        if is_condition(error):
            return TrialReport(error=str(ran_short(error))), None
        from traceback import format_exc

        message = f"a defect in runner: {type(error).__name__}: {reason_of(error)}; its traceback is in the log"
        return TrialReport(error=message, defect=format_exc()), None
    report = TrialReport(
        wall_s=measured.wall_s,
        startup_s=measured.startup_s,
        own=(after[0] - before[0], after[1] - before[1], after[2] - before[2]),
        workers=_usage(resource.RUSAGE_CHILDREN),
        max_rss_bytes=_peak_rss_bytes(),
    )
    return report, measured.result


def _usage(who: int) -> Usage:
    figures = resource.getrusage(who)
    return figures.ru_utime, figures.ru_stime, figures.ru_inblock


def _peak_rss_bytes() -> int:
    """Peak resident memory of this process or its largest worker, in bytes.

    ``ru_maxrss`` of a process that was started by ``vfork`` and ``exec`` begins at its parent's peak (the kernel
    carries it over in ``exec``), so that a large daemon would be counted as the scan. The peak of the memory map,
    where the kernel tells it, begins anew.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123  as light as it gets
            status = file.read()
    except FileNotFoundError:
        status = ""
    told = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")]
    return max(workers, *(told or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit]))


def _follow_parent(lifeline: int) -> None:
    """Make the kernel end this process group when the parent's end of the lifeline closes."""
    # Workers hold copies of both, so that they are told even when the trial has died before its parent; multiprocessing
    # closes their standard input.
    os.dup2(lifeline, _STDIN_FD)
    if not hasattr(fcntl, "F_SETSIG"):
        signal(SIGIO, lambda *_: os.killpg(0, SIGKILL))
    end_with_parent(lifeline, os.getpgrp())
    if select.select([lifeline], [], [], 0)[0]:  # it closed before the kernel was asked
        os.killpg(0, SIGKILL)


def end_with_parent(lifeline: int, group: int) -> None:
    """Make the kernel signal a process group when the other end of a pipe closes.

    No thread and no polling: a pipe in asynchronous mode signals its owner, here the group, when the last writer is
    gone. Linux can be asked to send SIGKILL, which ends even stopped processes; elsewhere it sends SIGIO.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -group)
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, SIGKILL)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)


def _share_progress(shared: mmap.mmap) -> Report:
    """Give a function that adds to the counters which the parent samples from shared memory."""
    totals = [0, 0, 0]

    def report(folders: int, entries: int, files: int) -> None:
        totals[0] += folders
        totals[1] += entries
        totals[2] += files
        PROGRESS.pack_into(shared, 0, *totals)

    return report


def _read_exactly(count: int) -> bytes:
    chunks = []
    while count:
        chunk = os.read(_STDIN_FD, count)
        if not chunk:  # the parent died before it had told the task
            os._exit(1)
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def _framed(message: bytes) -> tuple[bytes, bytes]:
    return HEADER.pack(len(message)), message


def _write_all(fd: int, *buffers: bytes) -> None:
    for buffer in buffers:
        view = memoryview(buffer)
        while view:
            view = view[os.write(fd, view) :]
