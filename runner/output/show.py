"""One run: whole for ``show``, and in a few lines for ``run``."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.notifications import Notification
from runner.model.runs import Attempts, Change, Difference, Environment, Execution, Problem, Run, Status
from runner.model.units import format_count, format_seconds
from runner.output import cells
from runner.output.cells import Cell, Column
from runner.output.contents import changes_table
from runner.output.grid import Grid, key_values, titled
from runner.output.tables import cold_note, execution_of
from runner.output.text import printable

# The maximum number of items shown of each list; of problems in a summary.
_LIMIT, _SHOWN_PROBLEMS = 20, 3
_BAR = 40  # characters
_ORDINALS = {1: "first", 2: "second", 3: "third"}


def run_view(
    run: Run,
    changes: Iterable[Change] = (),
    problems: Sequence[Problem] = (),
    differences: Sequence[Difference] = (),
    notifications: Sequence[Notification] = (),
    *,
    now: datetime,
    attempts: Attempts = cells.NO_ATTEMPTS,
) -> RenderableType:
    """Render one run for ``show``."""
    parts: list[RenderableType] = [key_values(_summary(run, now, attempts))]
    if run.executions:
        parts += titled("executions", _executions(run))
        parts += _phases(run.executions)
        said = [(execution.strategy, execution.message) for execution in run.executions if execution.message]
        parts += [key_values(said)] if said else []
        parts += cold_note(run.executions)
    parts += _section("changes", changes, changes_table)
    parts += _section("problems: not read", problems, lambda shown: [_path_grid(shown, _error)])
    parts += _section("differences: the strategies disagree", differences, lambda shown: [_path_grid(shown, _finders)])
    if notifications:
        parts += titled("notifications", _notifications(notifications))
    if run.environment:
        parts += titled("environment", key_values(environment_lines(run.environment)))
    return Group(*parts)


def _summary(run: Run, now: datetime, attempts: Attempts) -> Iterator[tuple[str, Any]]:
    def shown(instant: datetime) -> str:
        return f"{instant.astimezone().isoformat(sep=' ', timespec='seconds')} ({cells.relative(instant, now)})"

    yield "run", str(run.run_id)
    yield "job", printable(run.job)
    yield "root", run.root
    yield "status", cells.status(run)
    if run.message:
        yield (
            "message",
            Cell(run.message, cells.STATUS_STYLES[run.status] if run.status is not Status.SUCCEEDED else ""),
        )
    yield "cause", run.cause
    if attempt := cells.attempt(run, attempts):
        again_at = attempts.again_at.get(run.run_id)
        yield "attempt", attempt + ("" if again_at is None else f"; next attempt at {shown(again_at)}")
    for name, instant in (
        ("scheduled", run.scheduled_at),
        ("started", run.started_at),
        ("finished" if run.started_at else "recorded", run.finished_at),
    ):
        if instant is not None:
            yield name, shown(instant)
    if run.started_at is None:  # nothing was measured or found
        return
    yield "wall", cells.to_cell(run.wall_s, "wall_s")
    yield "files", run.files
    yield "directories", run.directories
    yield "changes", cells.changes(run)
    if run.problems:
        yield "problems", Cell(f"{run.problems:,}", "yellow")
    if run.differences:
        yield "differences", Cell(f"{run.differences:,}", "red")


def execution_lines(run: Run) -> list[Column]:
    """Return what is shown of each execution of a run, as columns whose rows are executions."""
    baseline = execution_of(run, "sequential")
    return [
        Column("went", lambda one: _ORDINALS.get(one.position, f"{one.position}th")),
        Column("status", lambda one: Cell(one.status.value, cells.STATUS_STYLES[one.status])),
        Column("wall", cells.wall),
        Column("of sequential", lambda one: cells.ratio(one, baseline)),
        Column("start-up", "startup_s"),
        Column("user", "user_s"),
        Column("system", "system_s"),
        Column("CPU / wall", _cpu_per_wall),
        Column("peak memory", "max_rss_bytes"),
        Column("cache", "cache"),
        Column("workers", "workers"),
        Column("started by", "start_method"),
        Column("files", "files"),
        Column("dirs", "directories"),
        Column("entries", "entries"),
    ]


def _executions(run: Run) -> Grid:
    """Return a table with a column for each execution."""

    def column(execution: Execution) -> Column:
        return Column(execution.strategy, lambda line: line.cell(execution), right=True)

    columns = [Column("", lambda line: Cell(line.header, "dim")), *map(column, run.executions)]
    return Grid(rows=execution_lines(run), columns=columns, split=True)


def _phases(executions: Sequence[Execution]) -> list[RenderableType]:
    """Draw the start-up and scanning time of each execution on one scale."""
    timed = [(one.strategy, one.startup_s or 0.0, one.wall_s) for one in executions if one.wall_s]
    longest = max((wall_s for _, _, wall_s in timed), default=0.0)
    rows = []
    for strategy, startup_s, wall_s in timed:
        parts = (("▒", "start-up", startup_s), ("█", "scanning", wall_s - startup_s))
        # A part above zero is always visible.
        bar = "".join(shade * max(1, round(part_s / longest * _BAR)) for shade, _, part_s in parts if part_s > 0)
        texts = (f"{name} {format_seconds(part_s)}" for _, name, part_s in parts if part_s or name == "scanning")
        rows.append((strategy, f"{bar}  {', '.join(texts)}"))
    return titled("phases", key_values(rows)) if rows else []


def environment_lines(environment: Environment) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each part of an environment."""
    yield "host", environment.host
    yield "system", f"{environment.system} {environment.machine}"
    yield "python", environment.python
    yield "CPUs usable", environment.cpus
    yield "pool", f"{format_count(environment.workers, 'worker')} by {environment.start_method}"
    yield "file system", environment.filesystem or None
    yield "runner", environment.runner_version


def _cpu_per_wall(execution: Execution) -> Cell:
    if execution.user_s is None or execution.system_s is None or not execution.wall_s:
        return cells.NOTHING
    return Cell(f"{(execution.user_s + execution.system_s) / execution.wall_s:.2f}")


def _section(title: str, items: Iterable[Any], view: Callable[[Any], Iterable[RenderableType]]) -> list[RenderableType]:
    """Render the first of the items below a title, and the number of the others."""
    items = iter(items)
    shown = list(islice(items, _LIMIT))
    n_more = sum(1 for _ in items)
    more = [Text(f"… and {n_more:,} more", style="dim")] if n_more else []
    return titled(title, *view(shown), *more) if shown else []


def _path_grid(rows: Sequence[Problem | Difference], reason: Callable[[Any], str]) -> Grid:
    columns = [
        Column("", lambda row: Cell(reason(row), "yellow"), least=30, fold=True),
        Column("", "path", least=24, fold=True),
    ]
    return Grid(rows=rows, columns=columns, header=False)


def _error(problem: Problem) -> str:
    return f"{problem.text} (errno {problem.errno})"


def _finders(difference: Difference) -> str:
    return f"found by {' and '.join(difference.found_by)}"


def _notifications(notifications: Sequence[Notification]) -> Grid:
    columns = [
        Column("", "event"),
        Column("", sent),
        Column("", "wall_s", right=True),
        Column("", lambda one: shlex.join(one.command), least=24, fold=True),
        Column("", lambda one: one.message or "", least=24, fold=True),
    ]
    return Grid(rows=notifications, columns=columns, header=False)


def sent(notification: Notification) -> Cell:
    """Format whether a notification was delivered."""
    if notification.exit_code == 0:
        return Cell("sent", "green")
    return Cell("not sent" if notification.exit_code is None else f"exit code {notification.exit_code}", "red")


def run_summary(
    run: Run, *, problems: Sequence[Problem] = (), differences: Sequence[Difference] = ()
) -> RenderableType:
    """Format the result of one run in a few lines."""
    return Group(key_values(_lines(run, problems, differences)), *cold_note(run.executions))


def _lines(run: Run, problems: Sequence[Problem], differences: Sequence[Difference]) -> Iterator[tuple[str, Any]]:
    took = "" if run.wall_s is None else f" in {format_seconds(run.wall_s)}"
    yield f"run {run.run_id}", Cell(f"{printable(run.job)} {run.status.value}{took}", cells.STATUS_STYLES[run.status])
    if run.message:
        yield "message", Cell(printable(run.message), cells.STATUS_STYLES[run.status])
    if run.files is not None and run.directories is not None:
        yield "files", f"{run.files:,} in {format_count(run.directories, 'directory', 'directories')}"
    if run.added is not None and run.removed is not None and run.modified is not None:
        yield "changes", f"{run.added:,} added, {run.removed:,} removed, {run.modified:,} modified"
    baseline = execution_of(run, "sequential")
    for execution in sorted(run.executions, key=lambda one: one is not baseline):
        yield execution.strategy, _time(execution, baseline)
    if problems:
        texts = [f"{printable(one.path or b'.')}: {one.text}" for one in problems[:_SHOWN_PROBLEMS]]
        more = f"; and {len(problems) - len(texts):,} more" if len(problems) > len(texts) else ""
        yield "problems", Cell(f"{len(problems):,} not read: {'; '.join(texts)}{more}", "yellow")
    if run.differences:
        paths = ", ".join(printable(one.path) for one in differences[:_SHOWN_PROBLEMS])
        yield "differences", Cell(f"the strategies disagree on {run.differences:,}: {paths}", "red")
    yield "next", next_command(run)


def _time(execution: Execution, baseline: Execution | None) -> Cell:
    if execution.status is not Status.SUCCEEDED:
        message = f": {printable(execution.message)}" if execution.message else ""
        return Cell(f"{execution.status.value}{message}", cells.STATUS_STYLES[execution.status])
    ratio = cells.NOTHING if execution is baseline else cells.ratio(execution, baseline)
    return Cell(cells.wall(execution).text + ("" if ratio is cells.NOTHING else f", {ratio.text} sequential"))


def next_command(run: Run) -> str:
    """Return the command that shows what is most likely asked next."""
    if run.status is Status.SUCCEEDED and not run.differences:
        job = shlex.quote(run.job)
        if run.removed or run.modified or (run.added and run.added != run.files):
            return f"runner changes {job}"
        if run.added:
            return f"runner files {job}"
    return f"runner show {run.run_id}"
