"""A ``multiprocessing.Pool`` whose workers read subtrees.

The tree is cut as it is discovered. What lies in the root is shared out; from then on a worker that has nothing left
to do says so, and one that reads gives it half of the folders it has not come to, or as many as are cheap to give. So
lopsided trees balance without knowing their sizes beforehand, and even ones are cut only a few times. The workers give
to one another directly: by way of the parent each would wait for two more processes to wake.
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
    from typing import Any, TypeAlias

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


class Pool:
    """Subtrees read by the workers of a pool."""

    parallel = True

    def scan(self, request: ScanRequest, report: Report) -> Scan:
        """Scan a tree with a pool; see :class:`~runner.strategies.base.Strategy`."""
        began = time.perf_counter()
        walker = Walker(request.root, request.selection)
        try:
            # Down to where the tree branches it is read before there is a pool: there is nothing to share yet, and with
            # threads beside it a process lists a sixth more slowly.
            top, starts = _read_top(walker, report)
            if not starts:
                walker.check_root()
                return Scan(whole(top))
            # A share is one piece: thousands of small ones cost more to pickle than their folders to open. They are
            # made and the small ones gone before a fork: what a process changes after it is copied first.
            shares = [b"\0".join(starts[number :: request.workers]) for number in range(request.workers)]
            del starts
            crew = _hire(request, walker.identity)
            tally, first_at = _read_shares(top, shares, crew, report)
            walker.check_root()
        finally:
            walker.close()
        return Scan(tally.found(), startup_s=max(0.0, first_at - began), end=crew.end)


def _read_top(walker: Walker, report: Report) -> tuple[Part, list[bytes]]:
    """Read the root, and what lies below it until the rest can be shared out; gives that as well."""
    waiting = Waiting(walker.fd)
    try:
        waiting.add_starts([b""])
        top = walker.go_on(waiting, report, until=lambda _spent: waiting.can_be_shared())
        return top, waiting.paths()
    finally:
        waiting.close()


class Exchange:
    """Where a worker that has nothing left to do gets folders from another: receiver-initiated load sharing.

    See Eager, Lazowska and Zahorjan, "A comparison of receiver-initiated and sender-initiated adaptive load sharing",
    Performance Evaluation 6 (1986).

    Args:
        workers: How many there are; each has something to do at first.
        context: How they are started.

    Raises:
        OSError: If they can't share a semaphore.
    """

    def __init__(self, workers: int, context: BaseContext) -> None:
        self._workers = workers
        # One for each worker that waits and to which nobody has yet answered.
        self._wanted = context.Semaphore(0)
        # How many more may come to wait while another has something to do; a share on its way counts as one that has.
        self._others = context.Semaphore(workers - 1)
        self._shares = context.SimpleQueue()

    def is_wanted(self) -> bool:
        """Tell whether a worker waits; whoever is told so has to :meth:`give` it something."""
        return self._wanted.acquire(block=False)

    def give(self, share: bytes) -> None:
        """Give something to a worker that waits."""
        self._others.release()
        self._shares.put(share)

    def get(self) -> bytes:
        """Wait for a share; empty when no worker has anything left."""
        if self._others.acquire(block=False):
            self._wanted.release()
            share: bytes = self._shares.get()
            return share
        for _ in range(self._workers - 1):
            self._shares.put(b"")
        return b""


def _hire(request: ScanRequest, identity: tuple[int, int]) -> Crew:
    """Start the workers."""
    try:
        exchange = Exchange(request.workers, multiprocessing.get_context(request.start_method))
    except OSError as error:
        raise cannot_start(request.workers, error) from error
    initargs = (request.root, request.selection, identity, exchange)
    return Crew(request.workers, request.start_method, initializer=_prepare, initargs=initargs)


def _read_shares(top: Part, shares: list[bytes], crew: Crew, report: Report) -> tuple[_Tally, float]:
    """Let what was left be read; returns all that was, and when the first worker began, by ``time.perf_counter``."""
    reading = len(shares)
    while shares:
        crew.submit(_read, shares.pop())
    tally = _Tally()
    tally.add(top)
    began = math.inf
    while reading:
        result: Result = crew.result()
        read, more, began_at = result
        began = min(began, began_at)
        tally.merge(read)
        report(read.directories, read.entries, read.files)
        if more:
            crew.submit(_read, b"")
        else:
            reading -= 1
    return tally, began


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
        self._gave_at = 0
        self._due = 0.0

    def read(self, starts: bytes) -> Result:
        """Read subtrees, those left from before, and what other workers give, until nobody has any or it is due."""
        self._add(starts)
        tally = _Tally()
        # Only from here on, or as much as takes longer to add would never be read.
        self._due = time.perf_counter() + _SLICE_S
        while more := bool(self._waiting.folders or self._add(self._exchange.get())):
            self._gave_at = 0
            tally.add(self._walker.go_on(self._waiting, _no_report, until=self._is_due))
            if time.perf_counter() >= self._due:
                break
        return tally, more, self._began_at

    def _add(self, starts: bytes) -> bool:
        if starts:
            self._waiting.add_starts(starts.split(b"\0"))
        return bool(starts)

    def _is_due(self, spent: int) -> bool:
        """Give away what is wanted, and tell whether to send what was read."""
        if spent - self._gave_at >= _LEAST_WORK and self._waiting.can_part() and self._exchange.is_wanted():
            self._exchange.give(b"\0".join(self._waiting.take_half()))
            self._gave_at = spent
        return time.perf_counter() >= self._due


# What a worker keeps between its tasks.
_assignment: tuple[bytes, Selecting, tuple[int, int], Exchange] | None = None
_reader: _Reader | None = None


def _prepare(*assignment: Any) -> None:
    """Remember the tree; it is opened by the first task, where an error reaches the parent."""
    global _assignment  # noqa: PLW0603  a pool gives its workers no other place
    _assignment = assignment


def _read(starts: bytes) -> Result:
    """Read subtrees, in a worker."""
    global _reader  # noqa: PLW0603  likewise
    if _reader is None:
        assert _assignment is not None  # noqa: S101  the initializer ran first
        _reader = _Reader(*_assignment)
    return _reader.read(starts)


def _no_report(_folders: int, _entries: int, _files: int) -> None:
    """Progress is reported by the parent, which sees every result."""
