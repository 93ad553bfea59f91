"""A ``multiprocessing.Pool`` whose workers read subtrees.

The tree is cut as it is discovered. The parent reads the top until there are folders enough to share out; a worker
reads a share until its budget is spent and hands back the folders it did not come to, which are shared out again.
So lopsided trees balance without knowing their sizes beforehand.

A worker killed by the kernel or by a person makes ``Pool.map`` wait for ever, and ``Pool.terminate`` after it, since
the dead worker may hold the lock of the task queue. The parent therefore watches the workers beside the results
and never joins a pool that has lost one: the trial ends, and with it its whole process group.
"""

from __future__ import annotations

import marshal
import multiprocessing
import multiprocessing.pool
import time
from collections import deque
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait

from runner.model.errors import ScanError
from runner.model.signals import signal_name
from runner.scan.found import Found
from runner.scan.walk import FOLDER_COST, Walker
from runner.strategies.base import Scan, ScanRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess
    from typing import Any

    from runner.scan.part import Trouble
    from runner.scan.query import Selecting
    from runner.scan.walk import Report

# The parent reads the top of the tree until it has this many folders for each worker, or at first this much work.
_SHARES_PER_WORKER = 8
_TOP_BUDGET = 2_000
# The most work in one task, about 20 ms: small enough to balance, large against the 0.1 ms that a task costs.
_TASK_BUDGET = 40_000
# Tasks handed out beyond those being worked on, so that no worker waits for the parent.
_TASKS_AHEAD = 2
# How long workers may take to end once they have nothing left to do.
_END_S = 5.0
# How long it may take until the exit code of an ended worker is known.
_NOTE_S = 1.0


class Pool:
    """Subtrees read by the workers of a pool."""

    parallel = True

    def scan(self, request: ScanRequest, report: Report) -> Scan:
        """Scan a tree with a pool; see :class:`~runner.strategies.base.Strategy`."""
        began = time.perf_counter()
        walker = Walker(request.root, request.selection)
        crew = Crew(
            request.workers, request.start_method, initializer=_prepare, initargs=(request.root, request.selection)
        )
        try:
            found, ready = _gather(walker, crew, request.workers, report)
            walker.check_root()
        finally:
            walker.close()
        return Scan(found, startup_s=max(0.0, ready - began), end=crew.end)


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
            raise ScanError(f"{workers} workers can't be started: {error.strerror}; use fewer") from error
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
            ScanError: If a worker dies first.
            BaseException: Whatever the task raised.
        """
        while not self._results:
            for ready in wait([self._wakened, *(worker.sentinel for worker in self.workers)]):
                if ready is not self._wakened:
                    raise ScanError(_epitaph(next(worker for worker in self.workers if worker.sentinel == ready)))
                _drain(self._wakened)
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


def _gather(walker: Walker, crew: Crew, workers: int, report: Report) -> tuple[Found, float]:
    """Read the whole tree; returns it and when the last worker became ready, by ``time.perf_counter``."""
    ready = time.perf_counter()  # if the parent reads it all, no worker tells otherwise
    tally = _Tally()
    frontier = deque([b""])
    budget = _TOP_BUDGET
    under_way = 0
    while frontier or under_way:
        if not under_way and (len(frontier) < workers or not tally.parts):
            # A chain of folders gives nothing to share out, and handing it over would only cost. Each time more of it
            # is read, since each time it is opened anew from the root.
            part = walker.read(frontier, report, budget=budget, enough=_SHARES_PER_WORKER * workers, depth_first=False)
            budget *= 2
            frontier = deque(part.rest)
            tally.add(part.encode(), part.problems, part.count())
            continue
        # What a budget is likely to cover, so that few folders come back; all of them together no more than a round.
        share = max(1, min(len(frontier) // (2 * workers), int(_TASK_BUDGET / tally.mean_cost())))
        while frontier and under_way < workers * _TASKS_AHEAD:
            crew.submit(_read_share, [frontier.popleft() for _ in range(min(share, len(frontier)))])
            under_way += 1
        encoded, problems, rest, counts, ready_at = marshal.loads(crew.result())  # noqa: S302  from an own worker
        under_way -= 1
        ready = max(ready, ready_at)
        tally.add(encoded, problems, counts)
        frontier.extend(rest)
        report(*counts)
    return tally.found(), ready


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

    def mean_cost(self) -> float:
        """Tell what a folder costs on average, in units of the budget."""
        return FOLDER_COST + self._entries / max(1, self._directories)

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
_walker: Walker | None = None
_ready_at = 0.0


def _prepare(root: bytes, selection: Selecting) -> None:
    """Remember the tree; it is opened by the first task, where an error reaches the parent."""
    global _assignment, _ready_at  # noqa: PLW0603  a pool gives its workers no other place
    _assignment = (root, selection)
    _ready_at = time.perf_counter()


def _read_share(starts: list[bytes]) -> bytes:
    """Read some subtrees within the budget, in a worker."""
    global _walker  # noqa: PLW0603  likewise
    if _walker is None:
        assert _assignment is not None  # noqa: S101  the initializer ran first
        _walker = Walker(*_assignment)
    part = _walker.read(starts, _no_report, budget=_TASK_BUDGET)
    return marshal.dumps((part.encode(), part.problems, part.rest, part.count(), _ready_at))


def _no_report(_folders: int, _entries: int, _files: int) -> None:
    """Progress is reported by the parent, which sees every result."""
