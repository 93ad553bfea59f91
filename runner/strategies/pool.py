"""A ``multiprocessing.Pool`` whose workers read subtrees.

The tree is cut as it is discovered. What lies in the root is shared out. Whoever reads does so until another worker has
nothing left to do, and then hands back the folders it has not come to, which are shared out again. So lopsided trees
balance without knowing their sizes beforehand, and even ones are cut only a few times.

A worker killed by the kernel or by a person makes ``Pool.map`` wait for ever, and ``Pool.terminate`` after it, since
the dead worker may hold the lock of the task queue. The parent therefore watches the workers beside the results
and never joins a pool that has lost one: the trial ends, and with it its whole process group.
"""

from __future__ import annotations

import errno
import marshal
import math
import multiprocessing
import multiprocessing.pool
import os
import time
from collections import deque
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait

from runner.model.errors import ScanError
from runner.model.signals import is_known_stopped, signal_name
from runner.scan.found import Found
from runner.scan.walk import Walker
from runner.strategies.base import Scan, ScanRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess
    from multiprocessing.synchronize import Semaphore
    from typing import Any

    from runner.scan.part import Trouble
    from runner.scan.query import Selecting
    from runner.scan.walk import Report

# The most work in one task, about 0.5 s: progress is told when a task has ended.
_TASK_WORK = 1_000_000
# The least work, about 1 ms, after which a worker hands back what is left; doing so costs a tenth of that.
_LEAST_WORK = 2_000
# How long workers may take to end once they have nothing left to do.
_END_S = 5.0
# How often it is looked, while no result comes, whether a worker is stopped; after so many times it is given up.
_LOOK_S = 1.0
_MOST_STOPPED = 60
# How long it may take until the exit code of an ended worker is known.
_NOTE_S = 1.0


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
            top = walker.read([b""], report, until=_branches)
            tally = _Tally()
            tally.add(top.encode(), top.problems, top.count())
            if not top.rest:
                walker.check_root()
                return Scan(tally.found())
            crew, hunger = _hire(request, walker.identity)
            first_at = _gather(tally, top.rest, crew, request.workers, hunger, report)
            walker.check_root()
        finally:
            walker.close()
        return Scan(tally.found(), startup_s=max(0.0, first_at - began), end=crew.end)


def _hire(request: ScanRequest, identity: tuple[int, int]) -> tuple[Crew, Semaphore]:
    """Start the workers; returns them, and what tells them that one of them has nothing left to do."""
    try:
        hunger = multiprocessing.get_context(request.start_method).Semaphore(0)
    except OSError as error:
        raise ScanError(f"the workers can't share a semaphore: {error.strerror}; see /dev/shm") from error
    initargs = (request.root, request.selection, identity, hunger)
    return Crew(request.workers, request.start_method, initializer=_prepare, initargs=initargs), hunger


class _Pool(multiprocessing.pool.Pool):
    """A pool that knows every worker it ever started; by itself it forgets and replaces the dead ones."""

    def __init__(
        self, workers: int, initializer: Callable[..., None] | None, initargs: tuple[Any, ...], context: BaseContext
    ) -> None:
        self.started: list[BaseProcess] = []
        super().__init__(workers, initializer, initargs, context=context)

    def Process(self, ctx: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # noqa: N802
        """Make a worker, for the pool itself."""
        worker = ctx.Process(*args, **kwargs)
        self.started.append(worker)
        return worker


# Keeps every pool until the process ends: one that is collected as garbage is terminated first, which waits for ever
# for the lock that a killed worker held.
_crews: list[Crew] = []


class Crew:
    """A pool whose workers are watched while their results are awaited.

    Args:
        workers: How many.
        start_method: How they are started.
        initializer: Called in each worker first; if it raises, the worker ends, and with it the scan.
        initargs: Its arguments.

    Raises:
        ScanError: If they can't be started.
    """

    def __init__(
        self,
        workers: int,
        start_method: str,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        # A child inherits nothing it could confuse with its own: the pool is the only thing this process starts.
        self._start_method = start_method
        try:
            self._pool = _Pool(workers, initializer, initargs, multiprocessing.get_context(start_method))
        except OSError as error:
            cure = "; use fewer" if error.errno in {errno.EAGAIN, errno.ENOMEM, errno.EMFILE} else ""
            raise ScanError(
                f"{workers} worker{'s' if workers > 1 else ''} can't be started: {error.strerror}{cure}"
            ) from error
        # Whoever has died by now included, and without replacements: they wait for the locks that the dead held.
        self.workers: Sequence[BaseProcess] = self._pool.started[:workers]
        self._results: deque[Any] = deque()
        self._wakened, self._waken = multiprocessing.Pipe(duplex=False)
        _crews.append(self)

    def submit(self, function: Callable[..., object], *args: object) -> None:
        """Give the pool one task; its result comes out of :meth:`results`."""
        self._pool.apply_async(function, args, callback=self._arrived, error_callback=self._arrived)

    def _arrived(self, result: object) -> None:
        # Runs on the pool's own thread.
        self._results.append(result)
        self._waken.send_bytes(b"")

    def result(self) -> Any:
        """Wait for the next result, in the order of completion.

        Raises:
            ScanError: If a worker dies first, or was stopped and stays so.
            BaseException: Whatever the task raised.
        """
        stopped = 0
        while not self._results:
            came = wait([self._wakened, *(worker.sentinel for worker in self.workers)], _LOOK_S)
            for ready in came:
                if ready is not self._wakened:
                    raise ScanError(_epitaph(next(worker for worker in self.workers if worker.sentinel == ready)))
                _drain(self._wakened)
            standing = [one.pid for one in self.workers if one.pid and is_known_stopped(one.pid)] if not came else []
            stopped = stopped + 1 if standing else 0
            if stopped >= _MOST_STOPPED:
                raise ScanError(
                    f"pool worker {standing[0]} was stopped, and not continued within {_MOST_STOPPED * _LOOK_S:g} s"
                )
        result = self._results.popleft()
        if isinstance(result, BaseException):
            raise result
        return result

    def end(self) -> None:
        """Let the workers end and collect them, so that their CPU time counts.

        Raises:
            ScanError: If one of them does not end by itself with success.
        """
        self._pool.close()
        deadline = time.monotonic() + _END_S
        running = self.workers
        while running:
            # All at once: a killed worker may hold the lock that the others wait for, and it is the one to name.
            wait([worker.sentinel for worker in running], max(0.0, deadline - time.monotonic()))
            ended = [worker for worker in running if _exit_code(worker) is not None]
            for worker in ended or running:
                if worker.exitcode != 0:
                    raise ScanError(_epitaph(worker))
            running = [worker for worker in running if worker not in ended]
        if self._start_method == "forkserver":
            # The server collects the workers; only when it has itself been collected does their time count. There
            # is no public way to end it.
            forkserver._forkserver._stop()  # type: ignore[attr-defined]  # noqa: SLF001


def _drain(connection: Connection) -> None:
    while connection.poll():
        connection.recv_bytes()


def _epitaph(worker: BaseProcess) -> str:
    """Say in one line which worker ended and how."""
    code = _exit_code(worker)
    if code is None:
        return f"pool worker {worker.pid} did not end in {_END_S:g} s"
    if code < 0:
        return f"pool worker {worker.pid} was killed by {signal_name(-code)}"
    return f"pool worker {worker.pid} ended by itself with exit code {code}"


def _exit_code(worker: BaseProcess) -> int | None:
    """Tell how a worker ended; None if it still runs.

    Its end shows a moment before its code can be had, and the pool's own thread may be the one that collects it, so
    the code is asked for until someone has noted it.
    """
    deadline = time.monotonic() + _NOTE_S
    while worker.exitcode is None and wait([worker.sentinel], 0) and time.monotonic() < deadline:
        time.sleep(0.0001)
    return worker.exitcode


def _gather(tally: _Tally, starts: list[bytes], crew: Crew, workers: int, hunger: Semaphore, report: Report) -> float:
    """Let subtrees be read; returns when the first worker began to, by ``time.perf_counter``."""
    began = math.inf
    shares = [starts]
    busy = 0
    while shares or busy:
        busy += _hand_out(shares, workers - busy, crew)
        for _ in range(workers - busy):
            hunger.release()
        encoded, problems, rest, counts, began_at = marshal.loads(crew.result())  # noqa: S302  from an own worker
        busy -= 1
        while hunger.acquire(block=False):  # whoever was to hear it had finished already
            pass
        began = min(began, began_at)
        tally.add(encoded, problems, counts)
        report(*counts)
        if rest:
            shares.append(rest)
    return began


def _hand_out(shares: list[list[bytes]], idle: int, crew: Crew) -> int:
    """Give every idle worker a share, halving the largest ones until there are enough; returns how many got one."""
    while 0 < len(shares) < idle:
        largest = max(shares, key=len)
        if len(largest) == 1:
            break
        shares.remove(largest)
        # Every other folder: those found later lie deeper and hold less.
        shares += [largest[::2], largest[1::2]]
    given = min(idle, len(shares))
    for _ in range(given):
        # One piece, since thousands of small ones cost more to pickle than their folders to open.
        crew.submit(_read_share, b"\0".join(shares.pop()))
    return given


class _Tally:
    """What has been read so far."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._problems: list[Trouble] = []
        self._directories = self._entries = self._files = 0

    def add(self, encoded: bytes, problems: list[Trouble], counts: tuple[int, int, int]) -> None:
        """Add a part, and how many folders, entries and files it holds."""
        self.parts.append(encoded)
        self._problems += problems
        self._directories += counts[0]
        self._entries += counts[1]
        self._files += counts[2]

    def found(self) -> Found:
        """Give it all."""
        return Found(
            self.parts,
            directories=self._directories,
            entries=self._entries,
            files=self._files,
            problems=self._problems,
        )


# What a worker keeps between its tasks.
_assignment: tuple[bytes, Selecting] | None = None
_identity = (0, 0)
_hungry: Callable[[], bool] = bool
_walker: Walker | None = None
_began_at = 0.0


def _prepare(root: bytes, selection: Selecting, identity: tuple[int, int], hunger: Semaphore) -> None:
    """Remember the tree; it is opened by the first task, where an error reaches the parent."""
    global _assignment, _identity, _hungry  # noqa: PLW0603  a pool gives its workers no other place
    _assignment = (root, selection)
    _identity = identity
    _hungry = partial(hunger.acquire, block=False)


def _read_share(starts: bytes) -> bytes:
    """Read some subtrees, in a worker, until another one is idle and wants what is left."""
    global _began_at, _walker  # noqa: PLW0603  likewise
    assert _assignment is not None  # noqa: S101  the initializer ran first
    if _walker is None:
        _began_at = time.perf_counter()
        _walker = Walker(*_assignment)
        if _walker.identity != _identity:
            raise ScanError(f"the root {os.fsdecode(_assignment[0])!r} was replaced while it was scanned; run it again")
    part = _walker.read(starts.split(b"\0"), _no_report, until=_until)
    return marshal.dumps((part.encode(), part.problems, part.rest, part.count(), _began_at))


def _branches(_spent: int, waiting: int) -> bool:
    """Tell whether there is something to share."""
    return waiting > 1


def _until(spent: int, waiting: int) -> bool:
    """Tell when to hand back what waits; a chain of folders, of which one waits at a time, gives nothing to share."""
    return spent >= _TASK_WORK or (waiting > 1 and spent >= _LEAST_WORK and _hungry())


def _no_report(_folders: int, _entries: int, _files: int) -> None:
    """Progress is reported by the parent, which sees every result."""
