"""A ``multiprocessing.Pool`` whose dead workers are noticed.

A killed worker makes ``Pool.map`` wait forever, and then ``Pool.terminate``, since the dead worker may hold the lock of
the task queue. So the parent watches the workers as well as the results and never joins a pool that lost one: the trial
process ends, and with it its process group.
"""

from __future__ import annotations

import errno
import multiprocessing
import multiprocessing.pool

# Creating a pool, which is measured, would import these; imports are no part of the work.
import multiprocessing.queues
import multiprocessing.synchronize
import os
import sys
import time
from collections import deque
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait

from runner.model.errors import ScanError, is_condition, reason_of
from runner.model.signals import is_known_stopped, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess
    from typing import Any

# Limit for workers to end once they have nothing left to do.
_END_S = 5.0
# Interval of the checks for stopped workers while nothing else happens, and their number before the scan fails.
_POLL_S = 1.0
_MOST_STOPPED = 60
# Limit for the exit code of an ended worker to be known.
_EXIT_CODE_S = 1.0


class _Pool(multiprocessing.pool.Pool):
    """A pool that keeps every worker it started; the base class replaces dead ones."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.started: list[BaseProcess] = []
        super().__init__(*args, **options)

    def Process(self, ctx: Any, *args: Any, **options: Any) -> Any:  # type: ignore[override]  # noqa: N802
        """Create a worker; called by the base class."""
        self.started.append(ctx.Process(*args, **options))
        return self.started[-1]


# Keeps every pool until the process ends: garbage collection would terminate it, which waits forever for a lock that a
# killed worker held.
_pools: list[WatchedPool] = []


def trial_context(start_method: str) -> BaseContext:
    """Return a context whose semaphores are named after the trial's directory, so that a later runner can remove them.

    A killed process leaves the named semaphores of the methods spawn and forkserver in shared memory.
    """
    name = os.path.basename(os.environ.get("TMPDIR", ""))  # noqa: PTH119  as light as it gets
    if sys.platform == "linux" and name:  # elsewhere they can't be listed, and their names have to be short
        # There is no public way to name them; tests of each start method fail if this one disappears.
        vars(multiprocessing.current_process())["_config"]["semprefix"] = f"/{name}"
    return multiprocessing.get_context(start_method)


class WatchedPool:
    """A pool that watches its workers while it waits for results.

    Args:
        workers: Their number.
        start_method: How they are started.
        initializer: Called in each worker first; if it raises, the worker ends, and with it the scan.
        initargs: Its arguments; small, since they are passed before the worker is watched.

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
        self._start_method = start_method
        with starting(workers):
            self._pool = _Pool(workers, initializer, initargs, context=trial_context(start_method))
            self._wakeup_reader, self._wakeup_writer = multiprocessing.Pipe(duplex=False)
        # Includes dead workers but not their replacements, which wait for the locks that the dead held.
        self.workers: Sequence[BaseProcess] = self._pool.started[:workers]
        self._results: deque[Any] = deque()
        self._times_stopped = 0
        _pools.append(self)

    def submit(self, function: Callable[..., object], *args: object) -> None:
        """Submit one task; :meth:`result` returns its result."""
        self._pool.apply_async(function, args, callback=self._add_result, error_callback=self._add_result)

    def _add_result(self, result: object) -> None:
        # Runs on the pool's own thread.
        self._results.append(result)
        self._wakeup_writer.send_bytes(b"")

    def result(self, reader: Connection | None = None, on_ready: Callable[[], None] | None = None) -> Any:
        """Wait for the next result, in the order of completion.

        Args:
            reader: Another connection to wait for.
            on_ready: Called when it is ready.

        Raises:
            ScanError: If a worker dies first, or was stopped and not continued.
            BaseException: The exception of the task.
        """
        readers = [self._wakeup_reader] if reader is None else [self._wakeup_reader, reader]
        while not self._results:
            ready = self._wait(readers, self.workers, _POLL_S)
            for worker in self.workers:
                if worker.sentinel in ready:
                    raise ScanError(_end_of(worker))
            if on_ready is not None and reader in ready:
                on_ready()
            while self._wakeup_reader.poll():
                self._wakeup_reader.recv_bytes()
        result = self._results.popleft()
        if isinstance(result, BaseException):
            raise result
        return result

    def _wait(self, readers: list[Connection], workers: Sequence[BaseProcess], timeout_s: float) -> list[Any]:
        """Wait for a connection or the end of a worker.

        Raises:
            ScanError: If a worker was stopped again and again, and nothing else happened.
        """
        ready = wait([*readers, *(worker.sentinel for worker in workers)], timeout_s)
        stopped = [] if ready else [worker for worker in workers if worker.pid and is_known_stopped(worker.pid)]
        self._times_stopped = self._times_stopped + 1 if stopped else 0
        if self._times_stopped >= _MOST_STOPPED:
            limit_s = _MOST_STOPPED * _POLL_S
            raise ScanError(f"pool worker {stopped[0].pid} was stopped, and not continued within {limit_s:g} s")
        return ready

    def end(self) -> None:
        """End the workers and collect them, so that their CPU time counts.

        Raises:
            ScanError: If one of them does not end successfully by itself.
        """
        self._pool.close()
        deadline = time.monotonic() + _END_S
        running = self.workers
        while running:
            # All at once: a killed worker may hold the lock that the others wait for, and is the one to name.
            ready = self._wait([], running, min(_POLL_S, max(0.0, deadline - time.monotonic())))
            for worker in running:
                if worker.sentinel in ready and _exit_code(worker) != 0:
                    raise ScanError(_end_of(worker))
            running = [worker for worker in running if worker.sentinel not in ready]
            if self._times_stopped:
                deadline = time.monotonic() + _END_S
            elif running and time.monotonic() >= deadline:
                raise ScanError(f"pool worker {running[0].pid} did not end in {_END_S:g} s")
        if self._start_method == "forkserver":
            # The server collects the workers; their time counts only when the server has been collected. There is no
            # public way to end it.
            forkserver._forkserver._stop()  # type: ignore[attr-defined]  # noqa: SLF001


@contextmanager
def starting(workers: int) -> Iterator[None]:
    """Convert errors that prevent the start of workers, or their semaphores and pipes, into ScanError."""
    try:
        yield
    except (OSError, EOFError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_condition(error):
            raise
        raise cannot_start(workers, error) from error


def cannot_start(workers: int, error: BaseException) -> ScanError:
    """Return in one line why workers can't be started, with the cure."""
    reason, cure = reason_of(error), "use fewer"
    if isinstance(error, EOFError | ConnectionError):
        reason, cure = "one of them, or the fork server, ended as it was started", "use fewer, or try again"
    elif "AF_UNIX" in reason:  # it has no number
        reason, cure = f"{reason}: {os.environ.get('TMPDIR', 'their directory')}", "set TMPDIR to a shorter path"
    elif getattr(error, "errno", None) in {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT}:
        cure = "they share semaphores, which may need room in /dev/shm"
    return ScanError(f"{workers} worker{'s' if workers > 1 else ''} can't be started: {reason}; {cure}")


def _end_of(worker: BaseProcess) -> str:
    """Return in one line which worker ended and how."""
    code = _exit_code(worker)
    if code is not None and code < 0:
        return f"pool worker {worker.pid} was killed by {signal_name(-code)}"
    return f"pool worker {worker.pid} ended by itself with exit code {code}"


def _exit_code(worker: BaseProcess) -> int | None:
    """Return the exit code of an ended worker.

    The sentinel is ready a moment before the code is available, and the pool's own thread may collect the worker.
    """
    deadline = time.monotonic() + _EXIT_CODE_S
    while worker.exitcode is None and time.monotonic() < deadline:
        time.sleep(0.0001)
    return worker.exitcode
