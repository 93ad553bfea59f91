"""The trial's side: one fresh process that carries out one task, reports and ends.

It is started with the standard library and runner's scanning package alone, has one thread and default signals, and
leads a session of its own that its workers share. Its standard input stays open as a lifeline: when the parent dies,
the kernel closes the other end and tells the whole process group by a signal.
"""

import atexit
import fcntl
import gc
import mmap
import os
import pickle
import resource
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from runner.model.errors import ScanError
from runner.model.runs import Problem
from runner.scan.snapshot import Snapshot
from runner.scan.walk import Report
from runner.strategies import STRATEGIES
from runner.strategies.base import ScanRequest

# The parent holds the other end of standard input for as long as it lives.
_LIFELINE_FD = 0

HEADER = struct.Struct("=Q")
# Native, so that each counter is written in one piece: the other process reads them at any moment.
PROGRESS = struct.Struct("@QQQ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Resources used by a process and the children it has waited for.

    Attributes:
        user_s: CPU seconds in user mode.
        system_s: CPU seconds in the kernel.
        blocks_in: Blocks read from devices.
    """

    user_s: float = 0.0
    system_s: float = 0.0
    blocks_in: int = 0

    def __sub__(self, earlier: "Usage") -> "Usage":
        return Usage(
            user_s=self.user_s - earlier.user_s,
            system_s=self.system_s - earlier.system_s,
            blocks_in=self.blocks_in - earlier.blocks_in,
        )

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            user_s=self.user_s + other.user_s,
            system_s=self.system_s + other.system_s,
            blocks_in=self.blocks_in + other.blocks_in,
        )


def usage_of(figures: resource.struct_rusage) -> Usage:
    """Pick what is kept of the operating system's figures."""
    return Usage(user_s=figures.ru_utime, system_s=figures.ru_stime, blocks_in=figures.ru_inblock)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a task gives back to the trial that carries it out.

    Attributes:
        wall_s: Seconds from beginning to end.
        startup_s: Seconds of that until work could begin.
        result: Whatever it found; can be pickled.
        end: Ends what it started, after the clock has stopped.
    """

    wall_s: float
    startup_s: float
    result: Any
    end: Callable[[], None]


class Task(Protocol):
    """Work that can be measured in a trial; pickled on the way there."""

    def carry_out(self, report: Report) -> Measured:
        """Do the work, timing it.

        Raises:
            ScanError: If it can't be done.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanTask:
    """One strategy on one tree.

    Attributes:
        strategy: Its name.
        request: The tree.
    """

    strategy: str
    request: ScanRequest

    def carry_out(self, report: Report) -> Measured:
        """Scan from the root's path to the complete list; see :class:`Task`."""
        began = time.perf_counter()
        scan = STRATEGIES[self.strategy].scan(self.request, report)
        wall_s = time.perf_counter() - began
        return Measured(wall_s=wall_s, startup_s=scan.startup_s, result=_pack(scan.snapshot), end=scan.end)


# A snapshot on its way between processes: its listings' fields and its problems' fields.
PackedSnapshot = tuple[list[tuple[Any, ...]], tuple[Problem, ...]]


def _pack(snapshot: Snapshot) -> PackedSnapshot:
    # Plain tuples are pickled several times faster than named ones.
    return [tuple(listing) for listing in snapshot.listings], snapshot.problems


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialReport:
    """What a trial sends to its parent, once.

    Attributes:
        error: Why the task could not be done; None when it was.
        defect: The traceback of an error that nobody foresaw; None without one.
        wall_s: As in :class:`Measured`.
        startup_s: As in :class:`Measured`.
        result: As in :class:`Measured`.
        own: Used by the trial itself between beginning and end of the task, its workers not included.
        workers: Used by the workers that the trial has waited for.
        own_until_end: Used by the trial itself from its start until the task had ended what it started.
        overhead: Used by the trial for itself, before the task began and after it had ended.
        max_rss_bytes: Peak resident memory of the largest process.
    """

    error: str | None = None
    defect: str | None = None
    wall_s: float = 0.0
    startup_s: float = 0.0
    result: Any = None
    own: Usage = field(default_factory=Usage)
    workers: Usage = field(default_factory=Usage)
    own_until_end: Usage = field(default_factory=Usage)
    overhead: Usage = field(default_factory=Usage)
    max_rss_bytes: int = 0


def main() -> None:
    """Read the task from standard input, carry it out, report and end without ceremony."""
    # Whatever prints in here must not end up in the report.
    result_fd = os.dup(1)
    os.dup2(2, 1)
    task: Task = pickle.loads(_read_exactly(HEADER.unpack(_read_exactly(HEADER.size))[0]))  # noqa: S301  from the parent
    _follow_parent()
    # The collector finds nothing in a scan, which makes no cycles, but walks every object kept.
    gc.disable()
    report = _carry_out(task, int(sys.argv[2]))
    if report.error is not None:
        _write_all(result_fd, *_framed(b""), *_framed(pickle.dumps(report, protocol=5)))
        os._exit(1)  # exit handlers would wait for workers that may never end
    # Lets multiprocessing remove what it keeps outside this process: named semaphores, helper processes.
    atexit._run_exitfuncs()  # noqa: SLF001  there is no public way to run them and still be the one to end
    _write_all(result_fd, *_framed(pickle.dumps(report.result, protocol=5)))
    # Reporting is not the task's doing; so little comes after this that it does not count.
    closing = usage_of(resource.getrusage(resource.RUSAGE_SELF)) - report.own_until_end
    told = replace(report, result=None, overhead=report.overhead + closing)
    _write_all(result_fd, *_framed(pickle.dumps(told, protocol=5)))
    os._exit(0)  # taking the interpreter apart costs as much CPU time as a small scan


def _carry_out(task: Task, progress_fd: int) -> TrialReport:
    overhead = usage_of(resource.getrusage(resource.RUSAGE_SELF))
    try:
        measured = task.carry_out(_share_progress(progress_fd))
        own = usage_of(resource.getrusage(resource.RUSAGE_SELF)) - overhead
        measured.end()
        own_until_end = usage_of(resource.getrusage(resource.RUSAGE_SELF))
    except ScanError as error:
        return TrialReport(error=str(error))
    except MemoryError:
        return TrialReport(error="the scan ran out of memory; free some, or scan a smaller tree")
    except Exception as error:  # noqa: BLE001  the process ends here, and the parent records it
        return TrialReport(
            error=f"a defect in runner: {type(error).__name__}: {error}; its traceback is in the log",
            defect=traceback.format_exc(),
        )
    return TrialReport(
        wall_s=measured.wall_s,
        startup_s=measured.startup_s,
        result=measured.result,
        own=own,
        workers=usage_of(resource.getrusage(resource.RUSAGE_CHILDREN)),
        own_until_end=own_until_end,
        overhead=overhead,
        max_rss_bytes=_peak_rss_bytes(),
    )


def _peak_rss_bytes() -> int:
    """Peak resident memory of this process or its largest worker, in bytes.

    ``ru_maxrss`` of a process that was started by ``vfork`` and ``exec`` begins at its parent's peak (the kernel
    carries it over in ``exec``), so that a large daemon would be counted as the scan. The peak of the memory map,
    where the kernel tells it, begins anew.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        status = ""
    told = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")]
    return max(workers, *(told or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit]))


def _follow_parent() -> None:
    """Make the kernel end this process group when the parent's end of the lifeline closes.

    No thread and no polling: a pipe in asynchronous mode signals its owner, here the process group, when the last
    writer is gone. Linux can be asked to send SIGKILL, which ends even stopped processes; elsewhere SIGIO is caught.
    """
    # Workers hold a copy of the lifeline, so that they are told even when the trial has died before its parent;
    # multiprocessing closes their standard input.
    os.dup(_LIFELINE_FD)
    fcntl.fcntl(_LIFELINE_FD, fcntl.F_SETOWN, -os.getpgrp())
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(_LIFELINE_FD, fcntl.F_SETSIG, signal.SIGKILL)
    else:
        signal.signal(signal.SIGIO, lambda *_: os.killpg(0, signal.SIGKILL))
    flags = fcntl.fcntl(_LIFELINE_FD, fcntl.F_GETFL)
    fcntl.fcntl(_LIFELINE_FD, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([_LIFELINE_FD], [], [], 0)[0]:  # it closed before the kernel was asked
        os.killpg(0, signal.SIGKILL)


def _share_progress(progress_fd: int) -> Report:
    """Give a function that adds to the counters which the parent samples from shared memory."""
    shared = mmap.mmap(progress_fd, PROGRESS.size)
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
        chunk = os.read(_LIFELINE_FD, count)
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
