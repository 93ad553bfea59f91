"""A ``multiprocessing.Pool`` whose workers are watched.

A worker killed by the kernel or by a person makes ``Pool.map`` wait for ever, and ``Pool.terminate`` after it, since
the dead worker may hold the lock of the task queue. The parent therefore watches the workers beside the results
and never joins a pool that has lost one: the trial ends, and with it its whole process group.
"""

from __future__ import annotations

import errno
import multiprocessing
import multiprocessing.pool

# What a pool would import when it is made, which is measured; imports are no part of the work.
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

# How long workers may take to end once they have nothing left to do.
_END_S = 5.0
# How often it is looked, while no result comes, whether a worker is stopped; after so many times it is given up.
_LOOK_S = 1.0
_MOST_STOPPED = 60
# How long it may take until the exit code of an ended worker is known.
_NOTE_S = 1.0


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


def trial_context(start_method: str) -> BaseContext:
    """Return a context whose semaphores are named after the trial's directory, so that a later runner can remove them.

    Whoever is killed leaves the named semaphores of the methods spawn and forkserver in shared memory.
    """
    name = os.path.basename(os.environ.get("TMPDIR", ""))  # noqa: PTH119  as light as it gets
    if sys.platform == "linux" and name:  # elsewhere they can't be listed, and their names have to be short
        # There is no public way to name them; a test of each start method notices if this one is gone.
        vars(multiprocessing.current_process())["_config"]["semprefix"] = f"/{name}"
    return multiprocessing.get_context(start_method)


class Crew:
    """A pool whose workers are watched while their results are awaited.

    Args:
        workers: How many.
        start_method: How they are started.
        initializer: Called in each worker first; if it raises, the worker ends, and with it the scan.
        initargs: Its arguments; few, since they are handed over before anybody watches the worker.

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
        with starting(workers):
            self._pool = _Pool(workers, initializer, initargs, trial_context(start_method))
            self._wakened, self._waken = multiprocessing.Pipe(duplex=False)
        # Whoever has died by now included, and without replacements: they wait for the locks that the dead held.
        self.workers: Sequence[BaseProcess] = self._pool.started[:workers]
        self._results: deque[Any] = deque()
        _crews.append(self)

    def submit(self, function: Callable[..., object], *args: object) -> None:
        """Give the pool one task; its result comes out of :meth:`result`."""
        self._pool.apply_async(function, args, callback=self._arrived, error_callback=self._arrived)

    def _arrived(self, result: object) -> None:
        # Runs on the pool's own thread.
        self._results.append(result)
        self._waken.send_bytes(b"")

    def result(self, inlet: Connection | None = None, on_ready: Callable[[], None] | None = None) -> Any:
        """Wait for the next result, in the order of completion.

        Args:
            inlet: What else may come meanwhile.
            on_ready: Called when it does.

        Raises:
            ScanError: If a worker dies first, or was stopped and stays so.
            BaseException: Whatever the task raised.
        """
        stopped = 0
        while not self._results:
            inlets = [self._wakened] if inlet is None else [self._wakened, inlet]
            came = wait([*inlets, *(worker.sentinel for worker in self.workers)], _LOOK_S)
            for worker in self.workers:
                if worker.sentinel in came:
                    raise ScanError(_epitaph(worker))
            if on_ready is not None and inlet in came:
                on_ready()
            if self._wakened in came:
                _drain(self._wakened)
            standing = [] if came else _stopped(self.workers)
            stopped = stopped + 1 if standing else 0
            if stopped >= _MOST_STOPPED:
                raise ScanError(_left_stopped(standing[0]))
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
        stopped = 0
        running = self.workers
        while running:
            # All at once: a killed worker may hold the lock that the others wait for, and it is the one to name.
            wait([worker.sentinel for worker in running], min(_LOOK_S, max(0.0, deadline - time.monotonic())))
            ended = [worker for worker in running if _exit_code(worker) is not None]
            for worker in ended:
                if worker.exitcode != 0:
                    raise ScanError(_epitaph(worker))
            running = [worker for worker in running if worker not in ended]
            if standing := _stopped(running):
                stopped += 1
                if stopped >= _MOST_STOPPED:
                    raise ScanError(_left_stopped(standing[0]))
                deadline = time.monotonic() + _END_S
            elif running and time.monotonic() >= deadline:
                raise ScanError(_epitaph(running[0]))
        if self._start_method == "forkserver":
            # The server collects the workers; only when it has itself been collected does their time count. There
            # is no public way to end it.
            forkserver._forkserver._stop()  # type: ignore[attr-defined]  # noqa: SLF001


@contextmanager
def starting(workers: int) -> Iterator[None]:
    """Raise what keeps workers from being started, or from sharing semaphores and pipes, as a ScanError."""
    try:
        yield
    except (OSError, EOFError, MemoryError) as error:
        raise cannot_start(workers, error) from error
    except RuntimeError as error:
        if not is_condition(error):
            raise
        raise cannot_start(workers, error) from error


def cannot_start(workers: int, error: BaseException) -> ScanError:
    """Say in one line why workers can't be started, and what to do."""
    reason, cure = reason_of(error), "use fewer"
    if isinstance(error, EOFError | ConnectionError):
        reason, cure = "one of them, or the fork server, ended as it was started", "use fewer, or try again"
    elif "AF_UNIX" in reason:  # it has no number
        reason, cure = f"{reason}: {os.environ.get('TMPDIR', 'their directory')}", "set TMPDIR to a shorter path"
    elif getattr(error, "errno", None) in {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT}:
        cure = "they share semaphores, which may need room in /dev/shm"
    return ScanError(f"{workers} worker{'s' if workers > 1 else ''} can't be started: {reason}; {cure}")


def _drain(connection: Connection) -> None:
    while connection.poll():
        connection.recv_bytes()


def _stopped(workers: Sequence[BaseProcess]) -> list[BaseProcess]:
    return [worker for worker in workers if worker.pid and is_known_stopped(worker.pid)]


def _left_stopped(worker: BaseProcess) -> str:
    return f"pool worker {worker.pid} was stopped, and not continued within {_MOST_STOPPED * _LOOK_S:g} s"


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
