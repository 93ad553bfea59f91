"""One run whole: what it was, its executions side by side, what it found changed, what went wrong, and where it ran."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, tzinfo

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.notifications import Notification
from runner.model.runs import Attempts, Change, Difference, Execution, Problem, Run, Status
from runner.model.units import format_bytes, format_count, format_seconds
from runner.output.bars import parts_bar
from runner.output.cells import (
    NO_ATTEMPTS,
    NOTHING,
    STATUS_STYLES,
    attempt_text,
    changes_cell,
    cold_note,
    count_cell,
    message_text,
    ratio_cell,
    relative,
    status_cell,
    wall_cell,
)
from runner.output.grid import Cell, Column, Grid
from runner.output.tables import changes_table, key_values
from runner.output.text import printable


def run_view(
    run: Run,
    changes: Sequence[Change] = (),
    problems: Sequence[Problem] = (),
    differences: Sequence[Difference] = (),
    notifications: Sequence[Notification] = (),
    *,
    now: datetime,
    attempts: Attempts = NO_ATTEMPTS,
    zone: tzinfo | None = None,
    limit: int = 20,
) -> RenderableType:
    """Render one run for ``show``.

    Args:
        run: The run.
        now: The instant that relative times count from; aware.
        attempts: What is known of the attempts of its firing.
        changes: What changed in it.
        problems: What it could not read.
        differences: On what its strategies disagree.
        notifications: Its notifications.
        zone: Whose clock is shown; None for this machine's.
        limit: The maximum number of items shown of each list.
    """
    parts: list[RenderableType] = [key_values(_summary(run, now, attempts, zone))]
    if run.executions:
        parts += [_title("executions"), _executions(run.executions)]
        parts += _phases(run.executions)
        said = [(execution.strategy, execution.message) for execution in run.executions if execution.message]
        parts += [key_values(said)] if said else []
        parts += cold_note(run.executions)
    if changes:
        parts += [_title("changes"), *changes_table(changes[:limit]), *_others(changes, limit)]
    if problems:
        unread = [(f"{problem.text} (errno {problem.errno})", problem.path) for problem in problems[:limit]]
        parts += [_title("problems: not read"), _path_grid(unread), *_others(problems, limit)]
    if differences:
        found = [("found by " + " and ".join(each.found_by), each.path) for each in differences[:limit]]
        parts += [
            _title("differences: the strategies disagree"),
            _path_grid(found),
            *_others(differences, limit),
        ]
    if notifications:
        parts += [_title("notifications"), _notifications(notifications)]
    if run.environment:
        parts += [_title("environment"), key_values(_environment(run))]
    return Group(*parts)


def _summary(run: Run, now: datetime, attempts: Attempts, zone: tzinfo | None) -> Iterator[tuple[str, str | Cell]]:
    yield "run", str(run.run_id)
    yield "job", printable(run.job)
    yield "root", printable(run.root)
    yield "status", status_cell(run)
    if run.message:
        message = message_text(run, NO_ATTEMPTS, zone)
        yield "message", Cell(message, STATUS_STYLES[run.status] if run.status is not Status.SUCCEEDED else "")
    yield "cause", run.cause.value
    if attempt := attempt_text(run, attempts):
        again_at = attempts.again_at.get(run.run_id)
        again = "" if again_at is None else f"; next attempt at {_shown_instant(again_at, now, zone)}"
        yield "attempt", attempt + again
    for name, instant in (
        ("scheduled", run.scheduled_at),
        ("started", run.started_at),
        ("finished" if run.started_at else "recorded", run.finished_at),
    ):
        if instant is not None:
            yield name, _shown_instant(instant, now, zone)
    if run.started_at is None:  # nothing was measured or found
        return
    yield "wall", format_seconds(run.wall_s)
    yield "files", count_cell(run.files)
    yield "folders", count_cell(run.directories)
    yield "changes", changes_cell(run)
    if run.problems:
        yield "problems", Cell(f"{run.problems:,}", "yellow")
    if run.differences:
        yield "differences", Cell(f"{run.differences:,}", "red")


def _shown_instant(instant: datetime, now: datetime, zone: tzinfo | None) -> str:
    return f"{instant.astimezone(zone).isoformat(sep=' ', timespec='seconds')} ({relative(instant, now)})"


def _executions(executions: Sequence[Execution]) -> Grid:
    baseline = next((execution for execution in executions if execution.strategy == "sequential"), None)
    rows: dict[str, Callable[[Execution], Cell]] = {
        "went": lambda execution: Cell(_ordinal(execution.position)),
        "status": lambda execution: Cell(execution.status.value, STATUS_STYLES[execution.status]),
        "wall": wall_cell,
        "of sequential": lambda execution: ratio_cell(execution, baseline),
        "start-up": lambda execution: Cell(format_seconds(execution.startup_s)),
        "user": lambda execution: Cell(format_seconds(execution.user_s)),
        "system": lambda execution: Cell(format_seconds(execution.system_s)),
        "CPU / wall": _cpu_per_wall,
        "peak memory": lambda execution: Cell(format_bytes(execution.max_rss_bytes)),
        "cache": lambda execution: NOTHING if execution.cache is None else Cell(execution.cache.value),
        "workers": lambda execution: Cell(str(execution.workers)),
        "started by": lambda execution: NOTHING if execution.start_method is None else Cell(execution.start_method),
        "files": lambda execution: count_cell(execution.files),
        "folders": lambda execution: count_cell(execution.directories),
        "entries": lambda execution: count_cell(execution.entries),
    }

    def column(execution: Execution) -> Column:
        return Column(execution.strategy, lambda row: row[1](execution), right=True)

    columns = [Column("", lambda row: Cell(row[0], "dim")), *map(column, executions)]
    return Grid(rows=list(rows.items()), columns=columns, split=True)


def _phases(executions: Sequence[Execution]) -> list[RenderableType]:
    """Draw the start-up and scanning time of each execution on one scale."""
    timed = [(one.strategy, one.startup_s or 0.0, one.wall_s) for one in executions if one.wall_s]
    if not timed:
        return []
    longest = max(wall_s for _, _, wall_s in timed)
    rows: list[tuple[str, str | Cell]] = []
    for strategy, startup_s, wall_s in timed:
        start = f"start-up {format_seconds(startup_s)}, " if startup_s else ""
        bar = parts_bar([startup_s, wall_s - startup_s], longest)
        rows.append((strategy, f"{bar}  {start}scanning {format_seconds(wall_s - startup_s)}"))
    return [_title("phases"), key_values(rows)]


def _environment(run: Run) -> Iterator[tuple[str, str | Cell]]:
    environment = run.environment
    if environment is not None:
        yield "host", environment.host
        yield "system", f"{environment.system} {environment.machine}"
        yield "python", environment.python
        yield "CPUs usable", str(environment.cpus)
        yield "pool", f"{format_count(environment.workers, 'worker')} by {environment.start_method}"
        yield "file system", environment.filesystem or NOTHING
        yield "runner", environment.runner_version


def _cpu_per_wall(execution: Execution) -> Cell:
    if execution.user_s is None or execution.system_s is None or not execution.wall_s:
        return NOTHING
    return Cell(f"{(execution.user_s + execution.system_s) / execution.wall_s:.2f}")


def _ordinal(position: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(position, f"{position}th")


def _path_grid(rows: Sequence[tuple[str, bytes]]) -> Grid:
    columns = [
        Column("", lambda row: Cell(row[0], "yellow"), least=30, fold=True),
        Column("", lambda row: Cell(printable(row[1] or b".")), least=24, fold=True),
    ]
    return Grid(rows=rows, columns=columns, header=False)


def _notifications(notifications: Sequence[Notification]) -> Grid:
    columns = [
        Column("", lambda one: Cell(one.event.value)),
        Column("", _sent),
        Column("", lambda one: Cell(format_seconds(one.wall_s)), right=True),
        Column("", lambda one: Cell(shlex.join(one.command)), least=24, fold=True),
        Column("", lambda one: Cell(one.message or ""), least=24, fold=True),
    ]
    return Grid(rows=notifications, columns=columns, header=False)


def _sent(notification: Notification) -> Cell:
    if notification.exit_code == 0:
        return Cell("sent", "green")
    return Cell("not sent" if notification.exit_code is None else f"exit code {notification.exit_code}", "red")


def _others(items: Sequence[object], limit: int) -> Iterator[Text]:
    if len(items) > limit:
        yield Text(f"… and {len(items) - limit:,} more", style="dim")


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")
