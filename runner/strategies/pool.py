"""The pool strategy: workers of a ``multiprocessing.Pool`` read subtrees.

The tree is divided while it is discovered. One worker begins with the root; an idle one requests work, and a busy one
sends it half of its pending directories, or as many as are cheap to send. So lopsided trees balance without known
sizes, and even ones are divided only a few times. Workers send to one another directly: through the parent, each
request would wait for two more processes to wake.
"""

from __future__ import annotations

import marshal
import os
import time

from runner.model.errors import ScanError
from runner.scan.pending import Pending
from runner.scan.snapshot import Snapshot
from runner.scan.walk import Walker
from runner.strategies.base import Scan, ScanRequest
from runner.strategies.exchange import Channel, Exchange
from runner.strategies.watched_pool import WatchedPool, starting, trial_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.scan.match import Selecting
    from runner.scan.snapshot import Part, Trouble
    from runner.scan.walk import Report

# Interval of a worker's messages, which are the progress, unless they grow large.
_SEND_AFTER_S = 0.5
# Bytes of a large message, which is sent while other workers still read.
_LARGE = 1 << 17
# Work, about 20 ms, after which findings are encoded.
_PIECE_WORK = 40_000
# Minimum work, about 1 ms, before a worker sends away half of its directories, which costs a tenth of that.
_LEAST_WORK = 2_000
# Work, about 0.2 ms, between two checks for requests; a check costs as much as listing ten names.
_POLL_WORK = 400


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
                # The tree is read without a pool down to where it branches: there is nothing to share yet, and a
                # process with several threads lists a sixth more slowly.
                top, starts = _read_top(walker, report)
                if not starts:
                    walker.check_root()
                    return Scan(Snapshot.from_part(top))
                tally.add(top)
            pool, channel = _start_workers(request, walker)
            first_at = _collect(pool, channel, starts, tally, report)
            walker.check_root()
        finally:
            walker.close()
        return Scan(tally.snapshot(), startup_s=max(0.0, first_at - began), end=pool.end)


def _read_top(walker: Walker, report: Report) -> tuple[Part, bytes]:
    """Read from the root down until the rest can be shared; return what was read and the paths of the rest."""
    pending = Pending(walker.fd)
    try:
        pending.add_starts([b""])
        top = walker.read_pending(pending, report, until=lambda _spent: pending.can_be_shared())
        return top, b"\0".join(pending.paths())
    finally:
        pending.close()


def _start_workers(request: ScanRequest, walker: Walker) -> tuple[WatchedPool, Channel]:
    context = trial_context(request.start_method)
    with starting(request.workers):
        exchange, channel = Exchange(request.workers, context, from_root=walker.branches), Channel(context)
    # Other methods than fork pass these through a pipe before the worker is watched; so no starts here.
    initargs = (request.root, request.selection, walker.identity, exchange, channel)
    return WatchedPool(request.workers, request.start_method, initializer=_begin, initargs=initargs), channel


def _collect(pool: WatchedPool, channel: Channel, starts: bytes, tally: _Tally, report: Report) -> float:
    """Collect what the workers read; return when the first of them began, by ``time.perf_counter``."""

    def receive() -> None:
        for message in channel.receive():
            report(*tally.merge(message))

    for each in (starts, *(b"" for _ in pool.workers[1:])):
        pool.submit(_read, each)
    began_at: list[float] = [pool.result(channel.reader, receive) for _ in pool.workers]
    receive()  # the last messages
    return min(began_at)


class _Tally:
    """The encoded pieces of each process's part, the problems, and the counts.

    The parent collects everything; a worker, what it has not sent yet.
    """

    def __init__(self) -> None:
        self.parts: dict[int, list[bytes]] = {}
        self.problems: list[Trouble] = []
        self.directories = self.entries = self.files = 0
        self.size = 0  # bytes of the pieces added by this process

    def add(self, part: Part) -> None:
        """Add what this process has read."""
        piece = part.encode()
        self.size += len(piece)
        self._add({os.getpid(): [piece]}, part.problems, *part.count())

    def merge(self, message: bytes) -> tuple[int, int, int]:
        """Add the message of another process; return its counts of directories, entries and files."""
        parts, problems, *counts = marshal.loads(message)  # noqa: S302  by runner itself
        self._add(parts, problems, *counts)
        return counts[0], counts[1], counts[2]

    def _add(
        self, parts: dict[int, list[bytes]], problems: list[Trouble], directories: int, entries: int, files: int
    ) -> None:
        for process, pieces in parts.items():
            self.parts.setdefault(process, []).extend(pieces)
        self.problems += problems
        self.directories += directories
        self.entries += entries
        self.files += files

    def encode(self) -> bytes:
        """Encode it as a message."""
        return marshal.dumps((self.parts, self.problems, self.directories, self.entries, self.files))

    def snapshot(self) -> Snapshot:
        """Build the snapshot of the tree."""
        return Snapshot(
            list(self.parts.values()),
            directories=self.directories,
            entries=self.entries,
            files=self.files,
            problems=self.problems,
        )


class _Reader:
    """The state of a worker; raises ScanError if the root was replaced."""

    def __init__(
        self, root: bytes, selection: Selecting, identity: tuple[int, int], exchange: Exchange, channel: Channel
    ) -> None:
        self._began_at = time.perf_counter()
        self._walker = Walker(root, selection)
        if self._walker.identity != identity:
            raise ScanError(f"the root {os.fsdecode(root)!r} was replaced while it was scanned; run it again")
        self._pending = Pending(self._walker.fd)
        self._exchange = exchange
        self._channel = channel
        self._ended = False
        self._tally = _Tally()
        self._send_at = self._began_at + _SEND_AFTER_S
        self._poll_at = 0

    def begin(self) -> None:
        """Read before there is a task: from the root, or what another worker sends.

        This requests only once. A worker with something left to read or send makes no further request without a task,
        and no worker ends before all others have requested; so a task remains for each of those.
        """
        if self._exchange.take_root():
            self._add_starts(b"")
        elif self._exchange.request():
            self._receive()
        self._read_all()

    def read(self, starts: bytes) -> float:
        """Read these, the rest and what other workers send, until nothing is left; return when this worker began."""
        if starts:
            self._add_starts(starts)
        while not self._ended:
            self._read_all()
            requested = self._exchange.request()
            self._send()
            if requested:
                self._receive()
            else:
                self._exchange.end()
                self._ended = True
        return self._began_at

    def _receive(self) -> None:
        if share := self._exchange.receive():
            self._add_starts(share)
        else:
            self._ended = True

    def _add_starts(self, starts: bytes) -> None:
        self._pending.add_starts(starts.split(b"\0"))
        self._poll_at = _LEAST_WORK

    def _read_all(self) -> None:
        while self._pending.directories:
            self._tally.add(self._walker.read_pending(self._pending, _no_report, until=self._is_enough))
            self._poll_at = _POLL_WORK
            if self._tally.size >= _LARGE or time.perf_counter() >= self._send_at:
                self._send()

    def _send(self) -> None:
        if self._tally.parts:
            self._channel.send(self._tally.encode())
            self._tally = _Tally()
        self._send_at = time.perf_counter() + _SEND_AFTER_S

    def _is_enough(self, spent: int) -> bool:
        """Return whether to encode what was read; send a share if one is requested."""
        if spent < self._poll_at:
            return time.perf_counter() >= self._send_at
        self._poll_at = spent + _POLL_WORK
        if self._pending.can_split() and self._exchange.accept_request():
            self._exchange.send(b"\0".join(self._pending.take_half()))
            self._poll_at = spent + _LEAST_WORK
        return spent >= _PIECE_WORK or time.perf_counter() >= self._send_at


# The state of this worker, or why there is none.
_reader: _Reader | None = None
_error: Exception | None = None


def _begin(*assignment: Any) -> None:
    """Begin to read, in a worker; an error is raised by its first task, from which it reaches the parent."""
    global _reader, _error  # noqa: PLW0603  a pool gives its workers no other place
    try:
        _reader = _Reader(*assignment)
        _reader.begin()
    except Exception as error:  # noqa: BLE001  raised by _read
        _error = error


def _read(starts: bytes) -> float:
    """Read the rest, in a worker; return when it began."""
    if _error is not None:
        raise _error
    assert _reader is not None  # noqa: S101  the initializer ran first
    return _reader.read(starts)


def _no_report(_directories: int, _entries: int, _files: int) -> None:
    """Report nothing; the parent reports what the messages contain."""
