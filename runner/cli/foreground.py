"""Work in the foreground: its progress on the terminal, nothing elsewhere; and ^C, which stops it in order."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich import progress

from runner.history.database import Database
from runner.measure.observer import RunObserver
from runner.measure.trials import Progress
from runner.model.runs import Status
from runner.output.console import make_console

# The interval of a calibration's progress lines in a log.
LOG_INTERVAL_S = 10
# The longest wait for a locked database after ^C.
_WRITES_S = 2.0


class Interrupt:
    """Turns the first ^C into a request to stop; a second one exits at once.

    Args:
        database: Its pending writes wait only briefly for locks after the first ^C.
    """

    def __init__(self, database: Database) -> None:
        self.status: Status | None = None
        self._database = database
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def __call__(self) -> Status | None:
        """Return the status to record for the stopped run; None without a request to stop."""
        return self.status

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.status is not None:
            sys.exit(128 + number)
        self.status = Status.CANCELLED
        self._database.set_deadline(_WRITES_S)


def progress_bars(*columns: progress.ProgressColumn) -> progress.Progress:
    """Return progress bars for stderr, with Rich's columns by default."""
    console = make_console(stderr=True)
    return progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def shown_progress(directories: int | None, stop: Callable[[], Status | None]) -> Iterator[RunObserver]:
    """Show a progress bar for each strategy, relative to the directories of the last run; else a spinner.

    Args:
        directories: The number of directories in the last run; None for the first run.
        stop: Returns the status with which to stop the run, if any.
    """
    known = bool(directories)
    with progress_bars(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        *([progress.BarColumn(), progress.TextColumn("{task.percentage:>3.0f}%")] if known else []),
        progress.TextColumn("{task.completed:,.0f} directories, {task.fields[files]:,} files"),
        progress.TimeElapsedColumn(),
        *([progress.TextColumn("left"), progress.TimeRemainingColumn()] if known else []),
    ) as bars:

        def on_strategy(strategy: str, position: int) -> None:
            for task in bars.tasks[-1:]:
                bars.update(task.id, total=task.completed, completed=task.completed)
            bars.add_task(f"{position}. {strategy}", total=directories, files=0)

        def on_progress(scanned: Progress) -> None:
            bars.update(bars.tasks[-1].id, completed=scanned.directories, files=scanned.files)

        yield RunObserver(stop=stop, on_strategy=on_strategy, on_progress=on_progress, on_wait=bars.console.print)


@contextmanager
def shown_rounds(stop: Callable[[], Status | None]) -> Iterator[tuple[RunObserver, Callable[[int], None]]]:
    """Show a progress bar of the executions of a calibration; yields an observer and a setter of their number.

    Without a terminal a line is written every few seconds.
    """
    with progress_bars(
        progress.BarColumn(),
        progress.TextColumn("{task.completed:,.0f} of {task.total:,.0f}: {task.description}"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
    ) as bars:
        task = bars.add_task("first look", total=1)
        logged_at = time.monotonic()

        def on_strategy(name: str, _position: int) -> None:
            nonlocal logged_at
            bars.update(task, description=name, advance=name != "first look")
            if not bars.console.is_terminal and time.monotonic() - logged_at >= LOG_INTERVAL_S:
                logged_at = time.monotonic()
                state = bars.tasks[0]
                bars.console.print(f"{state.completed:,.0f} of {state.total or 0:,.0f}: {name}")

        observer = RunObserver(stop=stop, on_strategy=on_strategy, on_wait=bars.console.print)
        yield observer, lambda total: bars.update(task, total=total + 1)
