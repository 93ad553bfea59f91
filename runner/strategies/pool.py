"""A ``multiprocessing.Pool`` whose workers read subtrees.

The tree is cut as it is discovered. The first worker begins with the root; one that has nothing to do says so, and one
that reads gives it half of the folders it has not come to, or as many as are cheap to give. So lopsided trees balance
without knowing their sizes beforehand, and even ones are cut only a few times. The workers give to one another
directly: by way of the parent each would wait for two more processes to wake.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time

from runner.model.errors import ScanError
from runner.scan.found import Found, whole
from runner.scan.held import Waiting
from runner.scan.walk import Walker
from runner.strategies.base import Scan, ScanRequest
from runner.strategies.crew import Crew, cannot_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import TypeAlias

    from runner.scan.part import Part, Trouble
    from runner.scan.query import Selecting
    from runner.scan.walk import Report

    # What a worker has read since the last time, whether there is more, and when it began its first task, by
    # time.perf_counter.
    Result: TypeAlias = tuple["_Tally", bool, float]

# How long a worker reads until it sends what it has, unless it waits for others: progress is told then.
_SLICE_S = 0.5
# The least work, about 1 ms, after which a worker gives away half of what is left; doing so costs a tenth of that.
_LEAST_WORK = 2_000
# The work, about 0.2 ms, after which it looks again whether that is wanted; looking costs as much as listing ten names.
_LOOK_AFTER = 400


class Pool:
    """Subtrees read by the workers of a pool."""

    parallel = True

    def scan(self, request: ScanRequest, report: Report) -> Scan:
        """Scan a tree with a pool; see :class:`~runner.strategies.base.Strategy`."""
        began = time.perf_counter()
        walker = Walker(request.root, request.selection)
        tally, starts = _Tally(), b""
        try:
            if not walker.branches:
                # Down to where the tree branches it is read before there is a pool: there is nothing to share yet, and
                # with threads beside it a process lists a sixth more slowly.
                top, starts = _read_top(walker, report)
                if not starts:
                    walker.check_root()
                    return Scan(whole(top))
                tally.add(top)
            crew = _hire(request, walker.identity, starts)
            first_at = _read_rest(crew, tally, report)
            walker.check_root()
        finally:
            walker.close()
        return Scan(tally.found(), startup_s=max(0.0, first_at - began), end=crew.end)


def _read_top(walker: Walker, report: Report) -> tuple[Part, bytes]:
    """Read the root, and what lies below it until the rest can be shared out; gives the paths of that as well."""
    waiting = Waiting(walker.fd)
    try:
        waiting.add_starts([b""])
        top = walker.go_on(waiting, report, until=lambda _spent: len(waiting.folders) > 1 and waiting.can_be_shared())
        return top, b"\0".join(waiting.paths())
    finally:
        waiting.close()


class Exchange:
    """Where a worker that has nothing left to do gets folders from another: receiver-initiated load sharing.

    See Eager, Lazowska and Zahorjan, "A comparison of receiver-initiated and sender-initiated adaptive load sharing",
    Performance Evaluation 6 (1986).

    Args:
        workers: How many there are; each counts as one that has something to do until it comes.
        context: How they are started.

    Raises:
        OSError: If they can't share a semaphore.
    """

    def __init__(self, workers: int, context: BaseContext) -> None:
        self._workers = workers
        self._first = context.Semaphore(1)
        # One for each worker that waits and to which nobody has yet answered.
        self._wanted = context.Semaphore(0)
        # How many more may come to wait while another has something to do; a share on its way counts as one that has.
        self._others = context.Semaphore(workers - 1)
        self._shares = context.SimpleQueue()

    def is_first(self) -> bool:
        """Tell whether nobody has asked this before."""
        return self._first.acquire(block=False)

    def is_wanted(self) -> bool:
        """Tell whether a worker waits; whoever is told so has to :meth:`give` it something."""
        return self._wanted.acquire(block=False)

    def give(self, share: bytes) -> None:
        """Give something to a worker that waits."""
        self._others.release()
        self._shares.put(share)

    def get(self) -> bytes:
        """Wait for a share; empty when no worker has anything left."""
        share = self.get_unless_last()
        if share is None:
            for _ in range(self._workers - 1):
                self._shares.put(b"")
            return b""
        return share

    def get_unless_last(self) -> bytes | None:
        """Do as :meth:`get` does, unless all others wait by now: then give None, and let them wait on."""
        if not self._others.acquire(block=False):
            return None
        self._wanted.release()
        share: bytes = self._shares.get()
        return share


def _hire(request: ScanRequest, identity: tuple[int, int], starts: bytes) -> Crew:
    """Start the workers."""
    try:
        exchange = Exchange(request.workers, multiprocessing.get_context(request.start_method))
    except OSError as error:
        raise cannot_start(request.workers, error) from error
    initargs = (request.root, request.selection, identity, exchange, starts)
    return Crew(request.workers, request.start_method, initializer=_begin, initargs=initargs)


def _read_rest(crew: Crew, tally: _Tally, report: Report) -> float:
    """Let the workers read; tells when the first of them began, by ``time.perf_counter``."""
    reading = len(crew.workers)
    for _ in range(reading):
        crew.submit(_read)
    began = math.inf
    while reading:
        result: Result = crew.result()
        read, more, began_at = result
        began = min(began, began_at)
        tally.merge(read)
        report(read.directories, read.entries, read.files)
        if more:
            crew.submit(_read)
        else:
            reading -= 1
    return began


class _Tally:
    """What has been read so far: the pieces of each process's part, what could not be read, and how much it was."""

    def __init__(self) -> None:
        self.parts: dict[int, list[bytes]] = {}
        self.problems: list[Trouble] = []
        self.directories = self.entries = self.files = 0

    def add(self, part: Part) -> None:
        """Add what this process has read."""
        self.parts.setdefault(os.getpid(), []).append(part.encode())
        self.problems += part.problems
        self._count(*part.count())

    def merge(self, other: _Tally) -> None:
        """Add what another process has read since the last time."""
        for process, pieces in other.parts.items():
            self.parts.setdefault(process, []).extend(pieces)
        self.problems += other.problems
        self._count(other.directories, other.entries, other.files)

    def _count(self, directories: int, entries: int, files: int) -> None:
        self.directories += directories
        self.entries += entries
        self.files += files

    def found(self) -> Found:
        """Give it all."""
        return Found(
            list(self.parts.values()),
            directories=self.directories,
            entries=self.entries,
            files=self.files,
            problems=self.problems,
        )


class _Reader:
    """What a worker reads with; raises ScanError if the root is another one by now."""

    def __init__(self, root: bytes, selection: Selecting, identity: tuple[int, int], exchange: Exchange) -> None:
        self._began_at = time.perf_counter()
        self._walker = Walker(root, selection)
        if self._walker.identity != identity:
            raise ScanError(f"the root {os.fsdecode(root)!r} was replaced while it was scanned; run it again")
        self._waiting = Waiting(self._walker.fd)
        self._exchange = exchange
        self._ended = False
        self._tally = _Tally()
        self._due = self._began_at + _SLICE_S
        self._look_at = 0

    def begin(self, starts: bytes) -> None:
        """Read before there is a task: where nobody has begun yet, or what another worker gives.

        Asks for that but once. Whoever has read anything is then not told without a task that all are done: its task
        might go to another, which has nothing left to tell.
        """
        if self._exchange.is_first():
            self._waiting.add_starts(starts.split(b"\0"))
        else:
            self._add(self._exchange.get_unless_last())
        if self._waiting.folders:
            self._go_on()

    def read(self) -> Result:
        """Read what is left and what other workers give, until nobody has any or it is time to tell."""
        while not self._ended:
            if not self._waiting.folders:
                self._add(self._exchange.get())
            else:
                self._go_on()
                if time.perf_counter() >= self._due:
                    break
        tally, self._tally = self._tally, _Tally()
        self._due = time.perf_counter() + _SLICE_S
        return tally, not self._ended, self._began_at

    def _add(self, share: bytes | None) -> None:
        if share:
            self._waiting.add_starts(share.split(b"\0"))
        self._ended = share == b""

    def _go_on(self) -> None:
        self._look_at = _LEAST_WORK
        self._tally.add(self._walker.go_on(self._waiting, _no_report, until=self._is_due))

    def _is_due(self, spent: int) -> bool:
        """Give away what is wanted, and tell whether to send what was read."""
        if spent < self._look_at:
            return False
        self._look_at = spent + _LOOK_AFTER
        if self._waiting.can_part() and self._exchange.is_wanted():
            self._exchange.give(b"\0".join(self._waiting.take_half()))
            self._look_at = spent + _LEAST_WORK
        return time.perf_counter() >= self._due


# What a worker keeps between its tasks, or why it has nothing.
_reader: _Reader | None = None
_error: Exception | None = None


def _begin(root: bytes, selection: Selecting, identity: tuple[int, int], exchange: Exchange, starts: bytes) -> None:
    """Begin to read, in a worker; what goes wrong is raised by its first task, from where it reaches the parent."""
    global _reader, _error  # noqa: PLW0603  a pool gives its workers no other place
    try:
        _reader = _Reader(root, selection, identity, exchange)
        _reader.begin(starts)
    except Exception as error:  # noqa: BLE001  whatever it is
        _error = error


def _read() -> Result:
    """Read on, in a worker."""
    if _error is not None:
        raise _error
    assert _reader is not None  # noqa: S101  the initializer ran first
    return _reader.read()


def _no_report(_folders: int, _entries: int, _files: int) -> None:
    """Progress is reported by the parent, which sees every result."""
