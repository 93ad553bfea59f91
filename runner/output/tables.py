"""Tables for people: runs, jobs and fire times."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import zip_longest
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.jobs import Job
from runner.model.runs import Attempts, Cache, Execution, Run
from runner.model.units import format_seconds
from runner.output import cells
from runner.output.cells import Cell, Column
from runner.output.formats import STRATEGIES
from runner.output.grid import Grid, key_values
from runner.output.text import printable

if TYPE_CHECKING:
    from runner.schedules.fire_times import FireTime

JobRow = tuple[Job, datetime | None, Run | None]
_SHORT = {"sequential": "seq", "incremental": "incr"}
_LEVELS = "▁▂▃▄▅▆▇█"
# With fewer runs the numbers say more than a chart.
_FEWEST_TO_DRAW = 5


def runs_table(runs: Sequence[Run], *, now: datetime, attempts: Attempts = cells.NO_ATTEMPTS) -> RenderableType:
    """Render runs for ``history``; a run that never started shows its fire time, dimmed."""
    jobs = {run.job for run in runs}
    strategies = strategies_of(runs)
    charts = _sparklines(runs, strategies) if len(jobs) == 1 else []
    columns = _run_columns(runs, strategies, attempts, now, alone=len(jobs) == 1)
    return Group(
        Grid(rows=runs, columns=columns, empty="no runs"),
        *cold_note(execution for run in runs for execution in run.executions),
        *charts,
    )


def _run_columns(
    runs: Sequence[Run], strategies: Sequence[str], attempts: Attempts, now: datetime, *, alone: bool
) -> list[Column]:
    """Return the columns of runs; priorities from 1, the first to be dropped, to 13."""

    def started(pattern: str, priority: int, substitute: Column | None = None) -> Column:
        def cell(run: Run) -> Cell:
            return Cell(cells.clock(run.started_at or run.scheduled_at, pattern), "" if run.started_at else "dim")

        return Column("started", cell, priority=priority, substitute=substitute)

    def wall(strategy: str) -> Column:
        def cell(run: Run) -> Cell:
            return cells.wall(execution_of(run, strategy))

        brief = Column(_SHORT.get(strategy, strategy), cell, right=True, priority=12)
        return Column(strategy, cell, right=True, priority=4, substitute=brief)

    columns = [
        Column("run", lambda run: str(run.run_id), right=True),
        Column("job", lambda run: printable(run.job), least=10, priority=6 if alone else 13),
        Column("root", "root", least=20, priority=2),
        Column("cause", "cause", priority=3),
        Column("status", cells.status),
    ]
    if any(cells.attempt(run, attempts) for run in runs):
        columns.append(Column("attempt", lambda run: cells.attempt(run, attempts), priority=9))
    columns += [
        started("%Y-%m-%d %H:%M:%S", 5, substitute=started("%m-%d %H:%M:%S", 10)),
        Column("", lambda run: cells.ago(run.started_at or run.scheduled_at, now), priority=3),
        *map(wall, strategies),
    ]
    if {"sequential", "pool"} <= set(strategies):
        columns.append(Column("ratio", _ratio, right=True, priority=8))
    columns += [
        Column("files", "files", right=True, priority=7),
        Column("dirs", "directories", right=True, priority=2),
        Column("changes", cells.changes, priority=11),
        Column("problems", lambda run: Cell(str(run.problems), "yellow" if run.problems else "dim"), priority=3),
    ]
    if any(run.message for run in runs):
        columns.append(Column("message", lambda run: cells.message(run, attempts), priority=1, below=True))
    return columns


def _ratio(run: Run) -> Cell:
    return cells.ratio(execution_of(run, "pool"), execution_of(run, "sequential"))


def _sparklines(runs: Sequence[Run], strategies: Sequence[str]) -> list[RenderableType]:
    """Draw the wall times of one job, oldest first, a line for each strategy with enough runs."""
    lines = []
    for strategy in strategies:
        executions = [execution_of(run, strategy) for run in reversed(runs)]
        walls = [execution.wall_s if execution else None for execution in executions]
        known = [wall for wall in walls if wall is not None]
        if len(known) >= _FEWEST_TO_DRAW:
            span = f"{format_seconds(min(known))} to {format_seconds(max(known))}"
            lines.append((strategy, f"{sparkline(walls)}  {span}"))
    return [Text(""), key_values(lines)] if lines else []


def sparkline(values: Sequence[float | None], width: int = 60) -> str:
    """Draw a series as at most *width* characters, each the median of a group of values; None leaves a gap."""
    size = -(-len(values) // width) or 1
    points = []
    for start in range(0, len(values), size):
        group = [value for value in values[start : start + size] if value is not None]
        points.append(median(group) if group else None)
    known = [point for point in points if point is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    step = (high - low) / len(_LEVELS) or 1
    return "".join(" " if point is None else _LEVELS[min(7, int((point - low) / step))] for point in points)


def cold_note(executions: Iterable[Execution]) -> list[Text]:
    """Return the explanation of the asterisk, if there is one."""
    return [Text(cells.COLD_NOTE, "dim")] if any(execution.cache is Cache.COLD for execution in executions) else []


def jobs_table(rows: Sequence[JobRow], *, now: datetime) -> RenderableType:
    """Render jobs for ``jobs``, each with its next fire time and its last run, or None."""
    columns = [
        Column("#", lambda row: str(row[0].job_id), right=True),
        Column("job", lambda row: printable(row[0].spec.name), least=12, fold=True),
        Column("schedule", _schedule, least=16, fold=True, priority=5),
        Column("next", lambda row: Cell("paused", "yellow") if row[0].spec.paused else row[1]),
        Column("", lambda row: cells.ago(None if row[0].spec.paused else row[1], now), priority=3),
        Column("last run", lambda row: cells.status(row[2]) if row[2] else Cell("never", "dim")),
        Column("", lambda row: cells.ago(_ended(row[2]), now), priority=2),
        Column("strategies", lambda row: " ".join(row[0].spec.strategies), priority=1),
        Column("finds", lambda row: printable(" ".join(row[0].spec.selection.patterns)), priority=1),
        Column("root", lambda row: row[0].spec.root, least=16, priority=4),
    ]
    if any(row[0].spec.tags for row in rows):
        columns.insert(2, Column("tags", lambda row: printable(" ".join(row[0].spec.tags)), priority=4))
    return Grid(rows=rows, columns=columns, empty="no jobs")


def _schedule(row: JobRow) -> Any:
    from runner.schedules.fire_times import describe  # reading cron takes a while, and history needs none of it

    schedule = row[0].spec.schedule
    return Cell("by hand", "dim") if schedule is None else describe(schedule)


def _ended(run: Run | None) -> datetime | None:
    return None if run is None else run.finished_at or run.started_at or run.scheduled_at


def next_table(fires: Sequence["FireTime"], *, now: datetime, jobs: Sequence[str] = ()) -> RenderableType:
    """Render fire times for ``next``; *jobs* has the name of the job of each."""
    columns = [
        Column("fires at", lambda row: f"{row[0].local:%a %Y-%m-%d %H:%M:%S %Z}"),
        Column("UTC", lambda row: Cell(f"{row[0].at:%Y-%m-%d %H:%M:%S}", "dim"), priority=1),
        Column("", lambda row: cells.ago(row[0].at, now), priority=2),
        Column("", lambda row: Cell(row[0].note, "yellow"), least=12, fold=True),
    ]
    if jobs:
        columns.insert(0, Column("job", lambda row: printable(row[1]), least=12, fold=True))
    return Grid(rows=list(zip_longest(fires, jobs)), columns=columns, empty="no fire times")


def strategies_of(runs: Iterable[Run]) -> list[str]:
    """List the strategies of the runs, the known ones first in their order."""
    names = {execution.strategy for run in runs for execution in run.executions}
    return [*(name for name in STRATEGIES if name in names), *sorted(names - set(STRATEGIES))]


def execution_of(run: Run, strategy: str) -> Execution | None:
    """Return the execution of a strategy in a run."""
    return next((execution for execution in run.executions if execution.strategy == strategy), None)
