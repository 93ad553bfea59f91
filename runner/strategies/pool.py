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

from runner.scan.snapshot import Part, dump
from runner.scan.walk import PIECE_WORK, Walker, weigh
from runner.strategies.base import Prepared, Scan, ScanRequest
from runner.strategies.exchange import Channel, Exchange
from runner.strategies.watched_pool import WatchedPool, starting, trial_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.scan.match import Selecting
    from runner.scan.snapshot import Snapshot
    from runner.scan.walk import Report

# Interval after which a worker sends what it found in a slow tree.
_SEND_AFTER_S = 0.5
# Minimum work, about 1 ms, before a worker sends away half of its directories, which costs a tenth of that.
_LEAST_WORK = 2_000
# Work, about 0.2 ms, between two checks for requests; a check costs as much as listing ten names.
_POLL_WORK = 400


class Pool(Prepared):
    """Subtrees read by the workers of a pool."""

    parallel = True

    def scan(self, request: ScanRequest, snapshot: Snapshot, report: Report) -> Scan:
        """Scan a tree with a pool; see :class:`~runner.strategies.base.Strategy`."""
        began = time.perf_counter()
        walker = Walker(request.root, request.selection)
        try:
            top, spent, pending = Part(), 0, walker.pending
            pending.add_starts([b""])
            # There is nothing to share above, and a process with several threads lists a sixth more slowly.
            while pending.directories and not (walker.branches or pending.can_be_shared()):
                counts = walker.read_some(top, 1)
                report(*counts)
                spent += weigh(*counts)
                if spent >= PIECE_WORK:
                    snapshot.extend([top])
                    top, spent = top.following(), 0
            snapshot.extend([top])
            if not pending.directories:
                walker.check_root()
                return Scan()
            pool, channel = _start_workers(request, walker)
            starts = pending.paths()
            for number in range(request.workers):
                pool.submit(_read, starts[number :: request.workers])
            began_at: list[float] = []

            def collect() -> None:
                for message in channel.receive():
                    process, time_s, piece, counts, problems = marshal.loads(message)  # noqa: S302  by runner itself
                    snapshot.append(piece, counts, problems, source=process)
                    report(*counts)
                    began_at.append(time_s)

            for _ in range(request.workers):
                pool.result(channel.reader, collect)
            collect()  # the last messages
            walker.check_root()
        finally:
            walker.close()
        return Scan(startup_s=max(0.0, min(began_at, default=math.inf) - began), end=pool.end)


def _start_workers(request: ScanRequest, walker: Walker) -> tuple[WatchedPool, Channel]:
    context = trial_context(request.start_method)
    with starting(request.workers):
        exchange, channel = Exchange(request.workers, context), Channel(context)
    # Other methods than fork pass these through a pipe before the worker is watched; so no directories here.
    initargs = (walker.branches, request.root, request.selection, walker.identity, exchange, channel)
    return WatchedPool(request.workers, request.start_method, initializer=_begin, initargs=initargs), channel


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
            self._spent += weigh(*self._walker.read_some(self._part, work))
            work = _POLL_WORK
            if pending.can_split() and self._exchange.accept_request():
                self._exchange.send(pending.take_half())
                work = _LEAST_WORK
            if self._spent >= PIECE_WORK or time.perf_counter() >= self._send_at:
                self._send()

    def _send(self) -> None:
        part = self._part
        message = (os.getpid(), self._began_at, part.encode(), part.count(), part.problems)
        self._channel.send(dump(message))
        self._part = part.following()
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
