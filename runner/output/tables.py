"""Tables for people: runs, jobs, fire times, files and changes."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, tzinfo
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.jobs import Job
from runner.model.runs import Attempts, Change, Execution, FoundFile, Run
from runner.model.units import format_seconds
from runner.output.bars import sparkline
from runner.output.cells import (
    CHANGE_MARKS,
    NO_ATTEMPTS,
    attempt_text,
    changes_cell,
    clock,
    cold_note,
    count_cell,
    message_text,
    ratio_cell,
    relative,
    size_cell,
    status_cell,
    wall_cell,
)
from runner.output.formats import STRATEGIES
from runner.output.grid import Cell, Column, Grid
from runner.output.records import modified_at
from runner.output.text import printable

if TYPE_CHECKING:
    from runner.schedules.fire_times import FireTime

Row = TypeVar("Row")
JobRow = tuple[Job, datetime | None, Run | None]
_SHORT = {"sequential": "seq", "incremental": "incr"}
# With fewer runs the numbers say more than a chart.
_FEWEST_TO_DRAW = 5
# Listings are rendered in parts of this many rows, so that a million files need little memory.
_PART = 5_000


def runs_table(
    runs: Sequence[Run], *, now: datetime, attempts: Attempts = NO_ATTEMPTS, zone: tzinfo | None = None
) -> RenderableType:
    """Render runs for ``history``.

    A run that never started shows its fire time, dimmed. Messages without room follow the table.

    Args:
        runs: In the order to show.
        now: The instant that relative times count from; aware.
        attempts: The attempts of their firings.
        zone: The time zone shown; None for that of the machine.
    """
    if not runs:
        return Text("no runs", style="dim")
    alone = len({run.job for run in runs}) == 1
    columns = _run_columns(runs, attempts, now, zone, alone=alone)
    lines = _sparklines(runs, strategies_of(runs)) if alone else []
    return Group(
        Grid(rows=runs, columns=columns),
        *cold_note(execution for run in runs for execution in run.executions),
        *lines,
    )


def _run_columns(
    runs: Sequence[Run], attempts: Attempts, now: datetime, zone: tzinfo | None, *, alone: bool
) -> list[Column]:
    """Return the columns of runs; priorities from 1, the first to be dropped, to 13."""

    def started(run: Run, pattern: str) -> Cell:
        return Cell(clock(run.started_at or run.scheduled_at, zone, pattern), "" if run.started_at else "dim")

    def wall(strategy: str) -> Column:
        def cell(run: Run) -> Cell:
            return wall_cell(_execution(run, strategy))

        brief = Column(_SHORT.get(strategy, strategy), cell, right=True, priority=12)
        return Column(strategy, cell, right=True, priority=4, substitute=brief)

    strategies = strategies_of(runs)
    short_start = Column("started", lambda run: started(run, "%m-%d %H:%M:%S"), priority=10)
    columns = [
        Column("run", lambda run: Cell(str(run.run_id)), right=True),
        Column("job", lambda run: Cell(printable(run.job)), least=10, priority=6 if alone else 13),
        Column("root", lambda run: Cell(printable(run.root)), least=20, priority=2),
        Column("cause", lambda run: Cell(run.cause.value), priority=3),
        Column("status", status_cell),
        Column("attempt", lambda run: Cell(attempt_text(run, attempts)), priority=9),
        Column("started", lambda run: started(run, "%Y-%m-%d %H:%M:%S"), priority=5, substitute=short_start),
        Column("", lambda run: _ago(run.started_at or run.scheduled_at, now), priority=3),
        *map(wall, strategies),
        Column("ratio", _ratio, right=True, priority=8),
        Column("files", lambda run: count_cell(run.files), right=True, priority=7),
        Column("folders", lambda run: count_cell(run.directories), right=True, priority=2),
        Column("changes", changes_cell, priority=11),
        Column("problems", lambda run: Cell(str(run.problems), "yellow" if run.problems else "dim"), priority=3),
    ]
    unused = set() if any(attempt_text(run, attempts) for run in runs) else {"attempt"}
    unused |= set() if {"sequential", "pool"} <= set(strategies) else {"ratio"}
    messages = [(f"run {run.run_id}", message_text(run, attempts, zone)) for run in runs if run.message]
    if messages:
        show = Column(
            "message", lambda run: Cell(message_text(run, attempts, zone)), priority=1, note=key_values(messages)
        )
        columns.append(show)
    return [column for column in columns if column.header not in unused]


def _ratio(run: Run) -> Cell:
    return ratio_cell(_execution(run, "pool"), _execution(run, "sequential"))


def _sparklines(runs: Sequence[Run], strategies: Sequence[str]) -> list[RenderableType]:
    """Draw the wall times of one job, oldest first, a line for each strategy with enough runs."""
    lines: list[tuple[str, str | Cell]] = []
    for strategy in strategies:
        executions = [_execution(run, strategy) for run in reversed(runs)]
        walls = [execution.wall_s if execution else None for execution in executions]
        known = [wall for wall in walls if wall is not None]
        if len(known) >= _FEWEST_TO_DRAW:
            lines.append(
                (strategy, f"{sparkline(walls)}  {format_seconds(min(known))} to {format_seconds(max(known))}")
            )
    return [Text(""), key_values(lines)] if lines else []


def jobs_table(rows: Sequence[JobRow], *, now: datetime, zone: tzinfo | None = None) -> RenderableType:
    """Render jobs for ``jobs``, each with its next fire time and its last run, or None."""
    if not rows:
        return Text("no jobs", style="dim")
    columns = [
        Column("#", lambda row: Cell(str(row[0].job_id)), right=True),
        Column("job", lambda row: Cell(printable(row[0].spec.name)), least=12, fold=True),
        Column("schedule", _schedule, least=16, fold=True, priority=5),
        Column("next", lambda row: _next(row, zone)),
        Column("", lambda row: _ago(None if row[0].spec.paused else row[1], now), priority=3),
        Column("last run", lambda row: status_cell(row[2]) if row[2] else Cell("never", "dim")),
        Column("", lambda row: _ago(_ended(row[2]), now), priority=2),
        Column("strategies", lambda row: Cell(" ".join(row[0].spec.strategies)), priority=1),
        Column("finds", lambda row: Cell(printable(" ".join(row[0].spec.selection.patterns))), priority=1),
        Column("root", lambda row: Cell(printable(row[0].spec.root)), least=16, priority=4),
    ]
    return Grid(rows=rows, columns=columns)


def next_table(fires: Sequence["FireTime"], *, now: datetime, jobs: Sequence[str] = ()) -> RenderableType:
    """Render fire times for ``next``; *jobs* has the name of the job of each."""
    if not fires:
        return Text("no fire times", style="dim")
    columns = [
        Column("fires at", lambda row: Cell(f"{row[0].local:%a %Y-%m-%d %H:%M:%S %Z}")),
        Column("UTC", lambda row: Cell(f"{row[0].at:%Y-%m-%d %H:%M:%S}", "dim"), priority=1),
        Column("", lambda row: _ago(row[0].at, now), priority=2),
        Column("", lambda row: Cell(row[0].note, "yellow"), least=12, fold=True),
    ]
    if jobs:
        columns.insert(0, Column("job", lambda row: Cell(printable(row[1])), least=12, fold=True))
    return Grid(rows=list(zip_longest(fires, jobs)), columns=columns)


def files_table(
    files: Iterable[FoundFile], *, zone: tzinfo | None = None, doubtful: bool = False
) -> Iterator[RenderableType]:
    """Yield tables of files for ``files``, in parts; none without files.

    Args:
        files: In the order to show.
        zone: The time zone shown; None for that of the machine.
        doubtful: Whether unknown files are marked.
    """
    columns = [
        Column("size", lambda file: size_cell(file.size_bytes), right=True, width=10, priority=3),
        Column("modified", lambda file: Cell(clock(modified_at(file.mtime_ns), zone)), width=19, priority=2),
        Column("since run", lambda file: Cell(str(file.first_run), "dim"), right=True, width=9, priority=1),
        *([Column("", lambda file: Cell("?" if file.unknown else "", "yellow"), width=1)] if doubtful else []),
        Column("path", lambda file: Cell(printable(file.path)), least=24, width=24, fold=True),
    ]
    for part, header in _parts(files):
        yield Grid(rows=part, columns=columns, header=header)


def changes_table(changes: Iterable[Change]) -> Iterator[RenderableType]:
    """Yield tables of changed files for ``changes``, in parts; none without changes."""
    columns = [
        Column("", lambda change: CHANGE_MARKS[change.kind]),
        Column("before", lambda change: size_cell(change.old_size_bytes), right=True, width=10, priority=1),
        Column("after", lambda change: size_cell(change.new_size_bytes), right=True, width=10, priority=1),
        Column(
            "path",
            lambda change: Cell(printable(change.path), CHANGE_MARKS[change.kind].style),
            least=24,
            width=24,
            fold=True,
        ),
    ]
    for part, header in _parts(changes):
        yield Grid(rows=part, columns=columns, header=header)


def key_values(pairs: Iterable[tuple[str, str | Cell]]) -> Grid:
    """Render names and values, one pair per line; long values continue below."""
    rows = [(key, value if isinstance(value, Cell) else Cell(value)) for key, value in pairs]
    columns = [Column("", lambda row: Cell(row[0], "dim")), Column("", lambda row: row[1], least=20, fold=True)]
    return Grid(rows=rows, columns=columns, header=False)


def strategies_of(runs: Iterable[Run]) -> list[str]:
    """List the strategies of the runs, the known ones first in their order."""
    order = {name: number for number, name in enumerate(STRATEGIES)}
    names = {execution.strategy for run in runs for execution in run.executions}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def _parts(rows: Iterable[Row]) -> Iterator[tuple[list[Row], bool]]:
    """Yield the rows in parts, each with whether it is the first."""
    rows, first = iter(rows), True
    while part := list(islice(rows, _PART)):
        yield part, first
        first = False


def _execution(run: Run, strategy: str) -> Execution | None:
    return next((execution for execution in run.executions if execution.strategy == strategy), None)


def _ago(instant: datetime | None, now: datetime) -> Cell:
    return Cell("" if instant is None else relative(instant, now), "dim")


def _schedule(row: JobRow) -> Cell:
    from runner.schedules.fire_times import describe  # reading cron takes a while, and history needs none of it

    schedule = row[0].spec.schedule
    return Cell("by hand", "dim") if schedule is None else Cell(describe(schedule))


def _ended(run: Run | None) -> datetime | None:
    return None if run is None else run.finished_at or run.started_at or run.scheduled_at


def _next(row: JobRow, zone: tzinfo | None) -> Cell:
    job, next_at, _ = row
    return Cell("paused", "yellow") if job.spec.paused else Cell(clock(next_at, zone))
