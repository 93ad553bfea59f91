"""The pool strategy: workers of a ``multiprocessing.Pool`` read subtrees.

The tree is read without a pool down to where it branches, and the subtrees are dealt out to the workers. An idle worker
requests work, and a busy one sends it half of its pending directories, or as many as are cheap to send. So lopsided
trees balance without known sizes. Workers send to one another directly: through the parent, each request would wait for
two more processes to wake.
"""

from __future__ import annotations

import marshal
import math
import os
import time

from runner.scan.snapshot import Part, Snapshot, dump
from runner.scan.walk import Walker
from runner.strategies.base import Prepared, Scan, ScanRequest
from runner.strategies.exchange import Channel, Exchange
from runner.strategies.watched_pool import WatchedPool, starting, trial_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.scan.match import Selecting
    from runner.scan.snapshot import Trouble
    from runner.scan.walk import Report

# Work, about 50 ms, after which a worker sends what it found, and the interval after which it does so in a slow tree.
_PIECE_WORK = 100_000
_SEND_AFTER_S = 0.5
# Minimum work, about 1 ms, before a worker sends away half of its directories, which costs a tenth of that.
_LEAST_WORK = 2_000
# Work, about 0.2 ms, between two checks for requests; a check costs as much as listing ten names.
_POLL_WORK = 400


class Pool(Prepared):
    """Subtrees read by the workers of a pool."""

    parallel = True

    def scan(self, request: ScanRequest, report: Report) -> Scan:
        """Scan a tree with a pool; see :class:`~runner.strategies.base.Strategy`."""
        began = time.perf_counter()
        walker = Walker(request.root, request.selection)
        try:
            top, pending = Part(), walker.pending
            pending.add_starts([b""])
            # There is nothing to share above, and a process with several threads lists a sixth more slowly.
            while pending.directories and not (walker.branches or pending.can_be_shared()):
                report(*walker.read_some(top, 1))
            if not pending.directories:
                walker.check_root()
                return Scan(Snapshot.from_part(top))
            pool, channel = _start_workers(request, walker)
            starts = pending.paths()
            for number in range(request.workers):
                pool.submit(_read, starts[number :: request.workers])
            collected = _Collected(top)
            for _ in range(request.workers):
                pool.result(channel.reader, lambda: collected.add(channel, report))
            collected.add(channel, report)  # the last messages
            walker.check_root()
        finally:
            walker.close()
        return Scan(collected.snapshot(), startup_s=max(0.0, collected.began_at - began), end=pool.end)


def _start_workers(request: ScanRequest, walker: Walker) -> tuple[WatchedPool, Channel]:
    context = trial_context(request.start_method)
    with starting(request.workers):
        exchange, channel = Exchange(request.workers, context), Channel(context)
    # Other methods than fork pass these through a pipe before the worker is watched; so no directories here.
    initargs = (walker.branches, request.root, request.selection, walker.identity, exchange, channel)
    return WatchedPool(request.workers, request.start_method, initializer=_begin, initargs=initargs), channel


class _Collected:
    """What the parent has read and received from workers, and when the first of them began."""

    def __init__(self, top: Part) -> None:
        self._parts = {os.getpid(): [top.encode()]} if top.names else {}
        self._problems: list[Trouble] = top.problems
        self._counts = top.count()
        self.began_at = math.inf

    def add(self, channel: Channel, report: Report) -> None:
        """Add the messages of workers that have come."""
        for message in channel.receive():
            process, began_at, piece, problems, counts = marshal.loads(message)  # noqa: S302  by runner itself
            self.began_at = min(began_at, self.began_at)
            self._parts.setdefault(process, []).append(piece)
            self._problems += problems
            directories, entries, files = self._counts
            self._counts = directories + counts[0], entries + counts[1], files + counts[2]
            report(*counts)

    def snapshot(self) -> Snapshot:
        """Return the snapshot of the tree."""
        return Snapshot(list(self._parts.values()), self._counts, self._problems)


class _Reader:
    """The state of a worker; raises ScanError if the root was replaced."""

    def __init__(
        self, root: bytes, selection: Selecting, identity: tuple[int, int], exchange: Exchange, channel: Channel
    ) -> None:
        self._began_at = time.perf_counter()
        self._walker = Walker(root, selection)
        self._walker.check_identity(identity)
        self._exchange = exchange
        self._channel = channel
        self._part = Part()
        self._spent = 0
        self._send_at = self._began_at + _SEND_AFTER_S

    def read(self, share: list[bytes]) -> None:
        """Read these directories and what other workers send, until nothing is left."""
        share = share or self._exchange.request()
        while share:
            self._walker.pending.add_starts(share)
            self._read_all()
            self._send()
            share = self._exchange.request()

    def _read_all(self) -> None:
        pending, work = self._walker.pending, _LEAST_WORK
        while pending.directories:
            self._walker.read_some(self._part, work)
            self._spent += work
            work = _POLL_WORK
            if pending.can_split() and self._exchange.accept_request():
                self._exchange.send(pending.take_half())
                work = _LEAST_WORK
            if self._spent >= _PIECE_WORK or time.perf_counter() >= self._send_at:
                self._send()

    def _send(self) -> None:
        part = self._part
        message = (os.getpid(), self._began_at, part.encode(), part.problems, part.count())
        self._channel.send(dump(message))
        self._part = Part(part.first_row + len(part.names))
        self._spent, self._send_at = 0, time.perf_counter() + _SEND_AFTER_S


# The state of this worker, or why it failed.
_reader: _Reader | None = None
_error: Exception | None = None


def _begin(from_root: bool, *assignment: Any) -> None:  # noqa: FBT001  pools pass arguments by position
    """Begin in a worker; tasks come a millisecond later, so a tree that is read from its root is read without them.

    An error is raised by a task, from which it reaches the parent. A worker that failed requests no work, so that all
    others wait and one of the tasks is its own.
    """
    global _reader, _error  # noqa: PLW0603  a pool gives its workers no other place
    try:
        reader = _Reader(*assignment)
        if from_root:
            exchange: Exchange = assignment[3]
            reader.read([b""] if exchange.take_root() else [])
        else:
            _reader = reader
    except Exception as error:  # noqa: BLE001  raised by _read
        _error = error


def _read(share: list[bytes]) -> None:
    """Read a share, in a worker, unless all was read from the root."""
    if _error is not None:
        raise _error
    if _reader is not None:
        _reader.read(share)
