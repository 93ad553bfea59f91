"""The parent's side: start a trial, watch it, reap it, and leave nothing of it behind."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import runner
from runner.measure.leftovers import trial_directory
from runner.measure.trial import FILESYSTEM, HEADER, PROGRESS, SHARED_BYTES, TrialReport, end_with_parent
from runner.model.errors import ScanError, is_condition_text, ran_short, reason_of
from runner.model.runs import Status
from runner.model.signals import is_known_stopped, signal_group, signal_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.measure.trial import Task

# How often a running trial is looked at; its result wakes the parent at once.
_TICK_S = 0.1
# After so many looks in a row that find it stopped, it is ended: whoever waits for it would wait for ever.
_MOST_STOPPED = 600
# How long a trial may take to end by itself once it has reported, and how long a broken one has to clean up.
_GRACE_S = 2.0
_CLEAN_UP_S = 0.3
# How long a killed one may take to be gone. The kernel ends none that waits for a device or a file system.
_REAP_S = 2.0
_PIPE_BYTES = 1 << 20

# -I: no user site, no environment, no current folder. -S: no site-packages at all. UTF-8 mode makes names exact
# in every locale.
_FLAGS = ("-I", "-S", "-X", "utf8")
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from runner.measure.trial import main; main()"


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a trial has come.

    Attributes:
        folders: Folders read.
        entries: Entries listed in them.
        files: Entries found.
    """

    folders: int
    entries: int
    files: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a finished trial cost.

    Its own start and end are no part of the execution, so the figures span the task alone; a task collects all of its
    workers before it has ended.

    Attributes:
        wall_s: Seconds from the beginning of the task to its end, start-up of workers included.
        startup_s: Seconds of that until work could begin.
        own_user_s: User CPU seconds of the trial's first process alone, which is all that it can see of itself.
        own_system_s: System CPU seconds likewise.
        workers_user_s: User CPU seconds of the workers, from their start to their end.
        workers_system_s: System CPU seconds likewise.
        max_rss_bytes: Peak resident memory of the largest process.
        blocks_in: Blocks read from devices.
    """

    wall_s: float
    startup_s: float
    own_user_s: float
    own_system_s: float
    workers_user_s: float
    workers_system_s: float
    max_rss_bytes: int
    blocks_in: int

    @property
    def user_s(self) -> float:
        """User CPU seconds of all processes."""
        return self.own_user_s + self.workers_user_s

    @property
    def system_s(self) -> float:
        """System CPU seconds of all processes."""
        return self.own_system_s + self.workers_system_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a trial ended.

    Attributes:
        status: succeeded, failed, timed_out, or what it was stopped as.
        message: Why it did not succeed; None when it did.
        defect: The traceback behind a failure that nobody foresaw.
        begun: Whether its work was begun; if not, the message says why it can't be.
        left: Whether a process of it could not be ended, and goes on.
        filesystem: Type of the file system that it was on; empty where that was not told.
        figures: What it cost; None unless it succeeded.
        result: What the task found; None unless it succeeded.
    """

    status: Status
    message: str | None = None
    defect: str | None = None
    begun: bool = True
    left: bool = False
    filesystem: str = ""
    figures: Figures | None = None
    result: Any = None


def _keep_going() -> Status | None:
    return None


def carry_out(
    task: Task,
    *,
    timeout_s: float | None = None,
    stop: Callable[[], Status | None] = _keep_going,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Carry out a task in a fresh process.

    Args:
        task: What to do.
        timeout_s: Seconds after which the trial is ended; None for never.
        stop: Asked several times a second; a status ends the trial, which is then recorded with it.
        on_progress: Told several times a second how far the trial has come.

    Returns:
        How it ended. No process of it is left, but one that waits in the kernel and can't be ended before that has
        let go of it; the message says so.

    Raises:
        ScanError: If the process can't be started.
    """
    request = pickle.dumps(task, protocol=5)
    with ExitStack() as files:
        try:
            trial, shared, stderr = _start(files)
        except (OSError, MemoryError) as error:  # no descriptors are left, or no room for its temporary files
            named = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
            raise ScanError(f"a process for the scan can't be started: {reason_of(error)}{named}") from error
        try:
            ended_as = trial.follow(request, timeout_s, stop, _sampler(shared, on_progress))
        except MemoryError as error:  # for what it has found
            raise ran_short(error) from error
        finally:
            trial.end()
        (filesystem,) = FILESYSTEM.unpack_from(shared, PROGRESS.size)
        if ended_as is not None:
            outcome = Outcome(status=ended_as, message=_why_ended(ended_as, timeout_s))
        else:
            outcome = _read_report(trial, stderr)
        if trial.left and outcome.figures is None:
            outcome = replace(outcome, left=True, message=f"{outcome.message}; {trial.remainder()}")
        return replace(outcome, filesystem=filesystem.decode("ascii"))


def _start(files: ExitStack) -> tuple[_Trial, mmap.mmap, IO[bytes]]:
    """Start a trial; returns it, what it shares with this process, and what it writes to stderr."""
    directory = files.enter_context(trial_directory())
    # Its open files show which process belongs to a trial, even before that is a program of its own.
    try:
        progress_file = files.enter_context(tempfile.TemporaryFile(dir=directory))  # noqa: SIM115  the stack closes it
        stderr = files.enter_context(tempfile.TemporaryFile(dir=directory))  # noqa: SIM115  the stack closes it
        # Whoever maps a hole in a file on a full disk dies by SIGBUS.
        os.write(progress_file.fileno(), bytes(SHARED_BYTES))
    except OSError as error:
        raise OSError(error.errno, reason_of(error), os.path.dirname(directory)) from error  # noqa: PTH120
    shared = files.enter_context(mmap.mmap(progress_file.fileno(), SHARED_BYTES, access=mmap.ACCESS_READ))
    return _Trial(progress_file, stderr, directory), shared, stderr


# The processes that were left; they are collected once the kernel has let go of them.
_left: list[subprocess.Popen[bytes]] = []


def _collect_left() -> None:
    for process in _left.copy():
        if process.poll() is not None:
            with suppress(ValueError):  # another thread was faster
                _left.remove(process)


class _Trial:
    """A started trial: its process, the lifeline to it and the pipe from it."""

    def __init__(self, progress_file: IO[bytes], stderr: IO[bytes], directory: str) -> None:
        _collect_left()
        command = [sys.executable, *_FLAGS, "-c", _BOOT, str(Path(runner.__file__).parent.parent)]
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, str(progress_file.fileno()), str(lifeline)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=[progress_file.fileno(), lifeline],
                start_new_session=True,
                env={**os.environ, "TMPDIR": directory},
            )
            if hasattr(fcntl, "F_SETSIG"):
                # The trial does it as well, but may be stopped before.
                end_with_parent(lifeline, self._process.pid)
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        self.exit_code: int | None = None
        # Numbers of its processes that could not be ended.
        self.left: list[int] = []
        self._received = bytearray()

    def follow(
        self,
        request: bytes,
        timeout_s: float | None,
        stop: Callable[[], Status | None],
        sample: Callable[[], None],
    ) -> Status | None:
        """Send the task and wait for the report; returns what the trial is to be stopped as, if it is."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018  they are pipes
        # The pipe takes in no more than 64 KiB from whoever does not wait for the trial, and that may be stopped.
        os.set_blocking(stdin.fileno(), False)
        unsent = memoryview(HEADER.pack(len(request)) + request)
        deadline = time.monotonic() + timeout_s if timeout_s is not None else math.inf
        next_look, stopped = 0.0, 0
        while not self._complete():
            ready, takes, _ = select.select([stdout], [stdin] if unsent else [], [], _TICK_S)
            if takes:
                unsent = _send(stdin, unsent)
            if ready:
                chunk = os.read(stdout.fileno(), _PIPE_BYTES)
                self._received += chunk
                if not chunk:
                    return None  # it died, and so did its workers
            elif self._reap():
                # It died, but workers of it still hold the pipe; or it has reported and ended since the look above.
                while select.select([stdout], [], [], 0)[0] and (chunk := os.read(stdout.fileno(), _PIPE_BYTES)):
                    self._received += chunk
                return None
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _TICK_S
                sample()
                stopped = stopped + 1 if is_known_stopped(self._process.pid) else 0
                status = Status.TIMED_OUT if now >= deadline else stop()
                if status is not None:
                    return status
                if stopped >= _MOST_STOPPED:
                    return Status.FAILED
        sample()
        return None

    def _complete(self) -> bool:
        return self._messages() is not None

    def _messages(self) -> tuple[memoryview, memoryview] | None:
        """Split what was received into the pickled report and the pickled result; None until both are whole."""
        received = memoryview(self._received)
        messages = []
        start = 0
        for _ in range(2):
            if len(received) < start + HEADER.size:
                return None
            start, (size,) = start + HEADER.size, HEADER.unpack_from(received, start)
            if len(received) < start + size:
                return None
            messages.append(received[start : start + size])
            start += size
        return messages[0], messages[1]

    def report(self) -> tuple[TrialReport, Any] | None:
        """Give the report and the result; None if the trial did not live to send them."""
        messages = self._messages()
        if messages is None:
            return None
        try:
            return pickle.loads(messages[0]), pickle.loads(messages[1])  # noqa: S301  from runner's own child
        except MemoryError as error:
            raise ran_short(error) from error

    def _reap(self) -> bool:
        """Collect the process if it has ended; returns whether it has."""
        if self.exit_code is None:
            pid, status, _ = os.wait4(self._process.pid, os.WNOHANG)
            if pid == 0:
                return False
            self.exit_code = self._process.returncode = os.waitstatus_to_exitcode(status)
        return True

    def end(self) -> None:
        """Leave no process of the trial behind.

        After a success the trial ends by itself. Otherwise the group is asked to end first: multiprocessing's resource
        tracker survives SIGTERM and then removes the semaphores that the others left outside. Then it is killed, and
        left to the kernel if it is not gone soon, or the caller would wait for as long as its file system does.
        """
        if self._complete():
            self._wait_until(self._reap, _GRACE_S)
        if self.exit_code != 0:
            signal_group(self._process.pid, signal.SIGTERM)
            # Ended orphans count as members until init has collected them, so this may take all of its time.
            self._wait_until(lambda: self._reap() and not signal_group(self._process.pid, 0), _CLEAN_UP_S)
        # Nobody else has the group's number yet: the trial itself was collected only moments before.
        signal_group(self._process.pid, signal.SIGKILL)
        self._wait_until(lambda: self._reap() and not _living(self._process.pid), _REAP_S)
        self.left = _living(self._process.pid)
        if self.exit_code is None:
            self.left = [self._process.pid, *(pid for pid in self.left if pid != self._process.pid)]
            _left.append(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None  # noqa: S101  they are pipes
            pipe.close()
        os.close(self._lifeline)

    def remainder(self) -> str:
        """Say in one line what is left of a trial that could not be ended."""
        numbers = ", ".join(map(str, self.left))
        which = f"its process {numbers}" if len(self.left) == 1 else f"of its processes {numbers} each"
        return (
            f"{which} can't be ended and is left behind: it waits in the kernel, as for a file system that does not "
            "answer"
        )

    def _wait_until(self, done: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not done() and time.monotonic() < deadline:
            time.sleep(0.002)


def _living(group: int) -> list[int]:
    """Tell which processes of a group have not ended; those that nobody has collected yet have."""
    found: list[int] = []
    if signal_group(group, 0):
        with suppress(OSError):  # without descriptors it can't be told
            import psutil

            for pid in psutil.pids():
                with suppress(ProcessLookupError, PermissionError, psutil.Error):
                    if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                        found.append(pid)
    return found


def _send(stdin: IO[bytes], unsent: memoryview) -> memoryview:
    """Send as much as the pipe takes; returns what is left."""
    try:
        return unsent[os.write(stdin.fileno(), unsent) :]
    except BrokenPipeError:  # it has died, which the other pipe will tell
        return unsent[:0]


def _sampler(shared: mmap.mmap, on_progress: Callable[[Progress], None] | None) -> Callable[[], None]:
    def sample() -> None:
        if on_progress is not None:
            folders, entries, files = PROGRESS.unpack_from(shared, 0)
            on_progress(Progress(folders=folders, entries=entries, files=files))

    return sample


def _why_ended(status: Status, timeout_s: float | None) -> str:
    match status:
        case Status.TIMED_OUT:
            return f"ended after its time limit of {timeout_s:g} s; raise --timeout, or scan a smaller tree"
        case Status.CANCELLED:
            return "cancelled"
        case Status.FAILED:
            return f"the trial process was stopped, and not continued within {_MOST_STOPPED * _TICK_S:g} s"
        case _:
            return "ended because runner was stopped"


def _read_report(trial: _Trial, stderr: IO[bytes]) -> Outcome:
    received = trial.report()
    if received is None:
        # One that was killed had nothing to say; what its workers said about it is no defect.
        told = _tail(stderr) if (trial.exit_code or 0) >= 0 else None
        lacking = list(filter(is_condition_text, (told or "").splitlines()))
        if lacking:
            return Outcome(status=Status.FAILED, message=f"{_epitaph(trial)}: {lacking[-1]}")
        return Outcome(status=Status.FAILED, message=_epitaph(trial), defect=told)
    report, result = received
    if report.error is not None:
        return Outcome(status=Status.FAILED, message=report.error, defect=report.defect, begun=report.begun)
    (own_user_s, own_system_s, own_blocks), (workers_user_s, workers_system_s, workers_blocks) = (
        report.own,
        report.workers,
    )
    return Outcome(
        status=Status.SUCCEEDED,
        figures=Figures(
            wall_s=report.wall_s,
            startup_s=report.startup_s,
            own_user_s=own_user_s,
            own_system_s=own_system_s,
            workers_user_s=workers_user_s,
            workers_system_s=workers_system_s,
            max_rss_bytes=report.max_rss_bytes,
            blocks_in=own_blocks + workers_blocks,
        ),
        result=result,
    )


def _epitaph(trial: _Trial) -> str:
    """Say in one line how a trial ended that sent no report."""
    code = trial.exit_code
    if code is None:
        return "the trial process ceased to report"
    if code < 0:
        return f"the trial process was killed by {signal_name(-code)}"
    return f"the trial process ended with exit code {code} before it had reported"


def _tail(stderr: IO[bytes]) -> str | None:
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - 10_000))
    return stderr.read().decode("utf-8", "backslashreplace").strip() or None
