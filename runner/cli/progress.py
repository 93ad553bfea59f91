"""Live progress of a run on the terminal; nothing elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.measure.observer import RunObserver
    from runner.measure.trials import Progress as TrialProgress
    from runner.model.runs import Status

# The interval of a calibration's progress lines in a log.
LOG_INTERVAL_S = 10


@contextmanager
def shown_progress(directories: int | None, stop: Callable[[], "Status | None"]) -> "Iterator[RunObserver]":
    """Show a progress bar for each strategy, relative to the directories of the last run; else a spinner.

    Args:
        directories: The number of directories in the last run; None for the first run.
        stop: Returns the status with which to stop the run, if any.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from runner.measure.observer import RunObserver
    from runner.output.console import make_console

    console = make_console(stderr=True)
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        *([BarColumn(), TextColumn("{task.percentage:>3.0f}%")] if directories else []),
        TextColumn("{task.completed:,.0f} folders, {task.fields[files]:,} files"),
        TimeElapsedColumn(),
        *([TextColumn("left"), TimeRemainingColumn()] if directories else []),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        current: list[TaskID] = []

        def on_strategy(strategy: str, position: int) -> None:
            if current:
                done = bars.tasks[current[-1]].completed
                bars.update(current[-1], total=done, completed=done)
            current.append(bars.add_task(f"{position}. {strategy}", total=directories, files=0))

        def on_progress(progress: "TrialProgress") -> None:
            bars.update(current[-1], completed=progress.directories, files=progress.files)

        yield RunObserver(
            stop=stop,
            on_strategy=on_strategy,
            on_progress=on_progress,
            on_wait=console.print,
        )


@contextmanager
def shown_rounds(stop: Callable[[], "Status | None"]) -> "Iterator[tuple[RunObserver, Callable[[int], None]]]":
    """Show a progress bar of the executions of a calibration; yields an observer and a setter of their number.

    Without a terminal a line is written every few seconds.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from runner.measure.observer import RunObserver
    from runner.output.console import make_console

    console = make_console(stderr=True)
    columns = [
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}: {task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("first look", total=1)

        def on_total(total: int) -> None:
            bars.update(task, total=total + 1)

        logged_at = time.monotonic()

        def on_strategy(name: str, _position: int) -> None:
            nonlocal logged_at
            bars.update(task, description=name, advance=name != "first look")
            if not console.is_terminal and time.monotonic() - logged_at >= LOG_INTERVAL_S:
                logged_at = time.monotonic()
                state = bars.tasks[0]
                console.print(f"{state.completed:,.0f} of {state.total or 0:,.0f}: {name}")

        yield RunObserver(stop=stop, on_strategy=on_strategy, on_wait=console.print), on_total
