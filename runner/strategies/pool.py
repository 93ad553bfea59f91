"""A ``multiprocessing.Pool`` whose workers read subtrees.

The tree is cut as it is discovered. The first worker begins with the root; one that has nothing to do says so, and one
that reads gives it half of the folders it has not come to, or as many as are cheap to give. So lopsided trees balance
without knowing their sizes beforehand, and even ones are cut only a few times. The workers give to one another
directly: by way of the parent each would wait for two more processes to wake.
"""

from __future__ import annotations

import marshal
import os
import time

from runner.model.errors import ScanError
from runner.scan.found import Found, whole
from runner.scan.pending import Waiting
from runner.scan.walk import Walker
from runner.strategies.base import Scan, ScanRequest
from runner.strategies.exchange import Channel, Exchange
from runner.strategies.watched_pool import Crew, starting, trial_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runner.scan.part import Part, Trouble
    from runner.scan.query import Selecting
    from runner.scan.walk import Report

# How long a worker reads until it tells what it has found, if that is not much: progress is told then.
_TELL_AFTER_S = 0.5
# How many bytes of it are much; they are told while others still read.
_MUCH = 1 << 17
# The work, about 20 ms, after which what was found is made ready to be told.
_PIECE_WORK = 40_000
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
            crew, channel = _hire(request, walker)
            first_at = _read_rest(crew, channel, starts, tally, report)
            walker.check_root()
        finally:
            walker.close()
        return Scan(tally.found(), startup_s=max(0.0, first_at - began), end=crew.end)


def _read_top(walker: Walker, report: Report) -> tuple[Part, bytes]:
    """Read the root, and what lies below it until the rest can be shared out; gives the paths of that as well."""
    waiting = Waiting(walker.fd)
    try:
        waiting.add_starts([b""])
        top = walker.go_on(waiting, report, until=lambda _spent: waiting.can_be_shared())
        return top, b"\0".join(waiting.paths())
    finally:
        waiting.close()


def _hire(request: ScanRequest, walker: Walker) -> tuple[Crew, Channel]:
    """Start the workers; they tell through the channel."""
    context = trial_context(request.start_method)
    with starting(request.workers):
        exchange, channel = Exchange(request.workers, context, from_root=walker.branches), Channel(context)
    # What is started by other methods than fork gets these through a pipe, before anyone watches it: no starts, then.
    initargs = (request.root, request.selection, walker.identity, exchange, channel)
    return Crew(request.workers, request.start_method, initializer=_begin, initargs=initargs), channel


def _read_rest(crew: Crew, channel: Channel, starts: bytes, tally: _Tally, report: Report) -> float:
    """Let the workers read what is left; tells when the first of them began, by ``time.perf_counter``."""

    def receive() -> None:
        for message in channel.receive():
            report(*tally.merge(message))

    for each in (starts, *(b"" for _ in crew.workers[1:])):
        crew.submit(_read, each)
    began_at: list[float] = [crew.result(channel.reader, receive) for _ in crew.workers]
    receive()  # what they told last
    return min(began_at)


class _Tally:
    """What has been read so far: the pieces of each process's part, what could not be read, and how much it was.

    The parent adds up everything; a worker, what it has not told yet.
    """

    def __init__(self) -> None:
        self.parts: dict[int, list[bytes]] = {}
        self.problems: list[Trouble] = []
        self.directories = self.entries = self.files = 0
        self.size = 0  # of the pieces that were added here, in bytes

    def add(self, part: Part) -> None:
        """Add what this process has read."""
        piece = part.encode()
        self.size += len(piece)
        self._add({os.getpid(): [piece]}, part.problems, *part.count())

    def merge(self, message: bytes) -> tuple[int, int, int]:
        """Add what another process tells; returns how many folders, entries and files that are."""
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
        """Flatten it, to be told."""
        return marshal.dumps((self.parts, self.problems, self.directories, self.entries, self.files))

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

    def __init__(
        self, root: bytes, selection: Selecting, identity: tuple[int, int], exchange: Exchange, channel: Channel
    ) -> None:
        self._began_at = time.perf_counter()
        self._walker = Walker(root, selection)
        if self._walker.identity != identity:
            raise ScanError(f"the root {os.fsdecode(root)!r} was replaced while it was scanned; run it again")
        self._waiting = Waiting(self._walker.fd)
        self._exchange = exchange
        self._channel = channel
        self._ended = False
        self._tally = _Tally()
        self._due = self._began_at + _TELL_AFTER_S
        self._look_at = 0

    def begin(self) -> None:
        """Read before there is a task: from the root on, or what another worker gives.

        Asks for that but once. Whoever has something left to read or to tell does not ask again without a task, and
        nobody ends until all others have asked; so there is still a task for each of those, whoever takes the others.
        """
        if self._exchange.take_root():
            self._add_starts(b"")
        elif self._exchange.ask():
            self._get()
        self._read_all()

    def read(self, starts: bytes) -> float:
        """Read these, what is left and what other workers give, until nobody has any; tells when this one began."""
        if starts:
            self._add_starts(starts)
        while not self._ended:
            self._read_all()
            is_asked = self._exchange.ask()
            self._tell()
            if is_asked:
                self._get()
            else:
                self._exchange.end()
                self._ended = True
        return self._began_at

    def _get(self) -> None:
        if share := self._exchange.get():
            self._add_starts(share)
        else:
            self._ended = True

    def _add_starts(self, starts: bytes) -> None:
        self._waiting.add_starts(starts.split(b"\0"))
        self._look_at = _LEAST_WORK

    def _read_all(self) -> None:
        while self._waiting.folders:
            self._tally.add(self._walker.go_on(self._waiting, _no_report, until=self._is_enough))
            self._look_at = _LOOK_AFTER
            if self._tally.size >= _MUCH or time.perf_counter() >= self._due:
                self._tell()

    def _tell(self) -> None:
        if self._tally.parts:
            self._channel.send(self._tally.encode())
            self._tally = _Tally()
        self._due = time.perf_counter() + _TELL_AFTER_S

    def _is_enough(self, spent: int) -> bool:
        """Give away what is wanted, and tell whether what was read makes a piece."""
        if spent < self._look_at:
            return time.perf_counter() >= self._due
        self._look_at = spent + _LOOK_AFTER
        if self._waiting.can_part() and self._exchange.is_wanted():
            self._exchange.give(b"\0".join(self._waiting.take_half()))
            self._look_at = spent + _LEAST_WORK
        return spent >= _PIECE_WORK or time.perf_counter() >= self._due


# What a worker reads with, or why it can't.
_reader: _Reader | None = None
_error: Exception | None = None


def _begin(*assignment: Any) -> None:
    """Begin to read, in a worker; what goes wrong is raised by its first task, from where it reaches the parent."""
    global _reader, _error  # noqa: PLW0603  a pool gives its workers no other place
    try:
        _reader = _Reader(*assignment)
        _reader.begin()
    except Exception as error:  # noqa: BLE001  whatever it is
        _error = error


def _read(starts: bytes) -> float:
    """Read on, in a worker; tells when it began."""
    if _error is not None:
        raise _error
    assert _reader is not None  # noqa: S101  the initializer ran first
    return _reader.read(starts)


def _no_report(_folders: int, _entries: int, _files: int) -> None:
    """Progress is reported by the parent, which is told of everything."""
