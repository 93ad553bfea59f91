"""Live progress of a run on the terminal; nothing elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.measure.observer import RunObserver
    from runner.measure.trials import Progress as TrialProgress
    from runner.model.runs import Status

# How often a log is told of a calibration's progress.
TELL_EVERY_S = 10


@contextmanager
def shown_progress(folders: int | None, stop: Callable[[], "Status | None"]) -> "Iterator[RunObserver]":
    """Show a bar for each strategy against the folders of the last run, a spinner when there was none.

    Args:
        folders: How many folders the last run read; None on the first run.
        stop: Asked whether the run is to be stopped.
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
        *([BarColumn(), TextColumn("{task.percentage:>3.0f}%")] if folders else []),
        TextColumn("{task.completed:,.0f} folders, {task.fields[files]:,} files"),
        TimeElapsedColumn(),
        *([TextColumn("left"), TimeRemainingColumn()] if folders else []),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        current: list[TaskID] = []

        def on_strategy(strategy: str, position: int) -> None:
            if current:
                done = bars.tasks[current[-1]].completed
                bars.update(current[-1], total=done, completed=done)
            current.append(bars.add_task(f"{position}. {strategy}", total=folders, files=0))

        def on_progress(progress: "TrialProgress") -> None:
            bars.update(current[-1], completed=progress.folders, files=progress.files)

        yield RunObserver(
            stop=stop,
            on_strategy=on_strategy,
            on_progress=on_progress,
            on_wait=console.print,
        )


@contextmanager
def shown_rounds(stop: Callable[[], "Status | None"]) -> "Iterator[tuple[RunObserver, Callable[[int], None]]]":
    """Show a bar of all executions of a calibration, with the time left; gives who watches, and takes their number.

    Where no terminal is, in a log, a line tells every few seconds how far it is.
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

        told_at = time.monotonic()

        def on_strategy(name: str, _position: int) -> None:
            nonlocal told_at
            bars.update(task, description=name, advance=name != "first look")
            if not console.is_terminal and time.monotonic() - told_at >= TELL_EVERY_S:
                told_at = time.monotonic()
                state = bars.tasks[0]
                console.print(f"{state.completed:,.0f} of {state.total or 0:,.0f}: {name}")

        yield RunObserver(stop=stop, on_strategy=on_strategy, on_wait=console.print), on_total
