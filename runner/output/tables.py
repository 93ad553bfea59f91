"""Tables for people: runs, jobs, fire times, files and changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model.jobs import Job
from runner.model.runs import Attempts, Cache, Cause, Change, ChangeKind, Execution, FoundFile, Run, Status
from runner.model.units import format_bytes, format_seconds
from runner.output.bars import sparkline
from runner.output.formats import STRATEGIES
from runner.output.grid import Cell, Column, Grid
from runner.output.records import modified_at
from runner.output.text import printable

if TYPE_CHECKING:
    from runner.schedules.fire_times import FireTime

Row = TypeVar("Row")
JobRow = tuple[Job, datetime | None, Run | None]
# Written by name, because they look like a hyphen and the letter x.
UNKNOWN, MINUS, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
NOTHING = Cell(UNKNOWN, "dim")
COLD_NOTE = "* cold cache: read from the device, not comparable with a warm one"

STATUS_STYLES = {
    Status.RUNNING: "cyan",
    Status.SUCCEEDED: "green",
    Status.PARTIAL: "yellow",
    Status.FAILED: "bold red",
    Status.TIMED_OUT: "bold red",
    Status.CANCELLED: "yellow",
    Status.INTERRUPTED: "red",
    Status.MISSED: "magenta",
    Status.SKIPPED: "magenta",
}
CHANGE_MARKS = {
    ChangeKind.ADDED: Cell("+", "green"),
    ChangeKind.REMOVED: Cell(MINUS, "red"),
    ChangeKind.MODIFIED: Cell("~", "yellow"),
}
_SHORT = {"sequential": "seq", "incremental": "incr"}
# With fewer runs than this a picture of them says less than the numbers.
_FEWEST_TO_DRAW = 5
# Listings are laid out in parts of this many rows, so that a million files need no room.
_PART = 5_000
NO_ATTEMPTS = Attempts()


def runs_table(
    runs: Sequence[Run], *, now: datetime, attempts: Attempts = NO_ATTEMPTS, zone: tzinfo | None = None
) -> RenderableType:
    """Lay out runs for ``history``.

    A run that never started shows, dimmed, the fire time at which it should have. Messages that do not fit follow.

    Args:
        runs: In the order to show.
        now: The instant that relative times count from; aware.
        attempts: What is known of the attempts of their firings.
        zone: Whose clock is shown; None for this machine's.
    """
    if not runs:
        return Text("no runs", style="dim")
    strategies = strategies_of(runs)
    columns = {
        "run": _column(runs, "run", lambda run: Cell(str(run.run_id)), right=True),
        "job": _column(runs, "job", lambda run: Cell(printable(run.job)), least=10),
        "root": _column(runs, "root", lambda run: Cell(printable(run.root)), least=20),
        "cause": _column(runs, "cause", lambda run: Cell(run.cause.value)),
        "status": _column(runs, "status", status_cell),
        "attempt": _column(runs, "attempt", lambda run: Cell(attempt_text(run, attempts))),
        "started": _column(runs, "started", lambda run: _started(run, "%Y-%m-%d %H:%M:%S", zone)),
        "clock": _column(runs, "started", lambda run: _started(run, "%m-%d %H:%M:%S", zone)),
        "ago": _column(runs, "", lambda run: _ago(run.started_at or run.scheduled_at, now)),
        "ratio": _column(
            runs, "ratio", lambda run: ratio_cell(_execution(run, "pool"), _execution(run, "sequential")), right=True
        ),
        "files": _column(runs, "files", lambda run: count_cell(run.files), right=True),
        "folders": _column(runs, "folders", lambda run: count_cell(run.directories), right=True),
        "changes": _column(runs, "changes", changes_cell),
        "problems": _column(runs, "problems", lambda run: Cell(str(run.problems), "yellow" if run.problems else "dim")),
        "message": _column(runs, "message", lambda run: Cell(message_text(run, attempts, zone))),
    }
    walls, short = ([f"{kind}:{name}" for name in strategies] for kind in ("wall", "short"))
    for name, wall, brief in zip(strategies, walls, short, strict=True):
        cells = [wall_cell(_execution(run, name)) for run in runs]
        columns[wall] = Column(header=name, cells=cells, right=True)
        columns[brief] = Column(header=_SHORT.get(name, name), cells=cells, right=True)
    ratio = ("ratio",) if {"sequential", "pool"} <= set(strategies) else ()
    said = [run for run in runs if run.message]
    tried = any(cell.text for cell in columns["attempt"].cells)
    full = ("run", "job", "root", "cause", "status", *(("attempt",) if tried else ()), "started", "ago", *walls, *ratio)
    full += ("files", "folders", "changes", "problems", *(("message",) if said else ()))
    alone = len({run.job for run in runs}) == 1
    steps: tuple[Mapping[str, str], ...] = (
        {"message": ""},
        {"root": "", "folders": ""},
        {"ago": "", "cause": "", "problems": ""},
        dict(zip(walls, short, strict=True)),
        {"started": "clock"},
        {"job": ""} if alone else {},
        {"files": ""},
        {"ratio": ""},
        {"attempt": ""},
        {"clock": ""},
        {"changes": ""},
        dict.fromkeys(short, ""),
        {"job": ""},
    )
    notes = key_values((f"run {run.run_id}", message_text(run, attempts, zone)) for run in said)
    grid = Grid(columns=columns, layouts=_layouts(full, steps), instead={"message": notes} if said else {})
    lines = _sparklines(runs, strategies) if alone else []
    return Group(grid, *cold_note(execution for run in runs for execution in run.executions), *lines)


def _sparklines(runs: Sequence[Run], strategies: Sequence[str]) -> list[RenderableType]:
    """Draw the wall times of one job's runs, oldest first, a line for each strategy; none for a few runs."""
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
    """Lay out jobs for ``jobs``: each with its next fire time and its last run, None where there is none."""
    if not rows:
        return Text("no jobs", style="dim")
    columns = {
        "number": _column(rows, "#", lambda row: Cell(str(row[0].job_id)), right=True),
        "name": _column(rows, "job", lambda row: Cell(printable(row[0].spec.name)), least=12, fold=True),
        "schedule": _column(rows, "schedule", _schedule, least=16, fold=True),
        "next": _column(rows, "next", lambda row: _next(row, zone)),
        "in": _column(rows, "", lambda row: _ago(None if row[0].spec.paused else row[1], now)),
        "last": _column(rows, "last run", lambda row: status_cell(row[2]) if row[2] else Cell("never", "dim")),
        "ago": _column(rows, "", lambda row: _ago(_ended(row[2]), now)),
        "strategies": _column(rows, "strategies", lambda row: Cell(" ".join(row[0].spec.strategies))),
        "patterns": _column(rows, "finds", lambda row: Cell(printable(" ".join(row[0].spec.selection.patterns)))),
        "root": _column(rows, "root", lambda row: Cell(printable(row[0].spec.root)), least=16),
    }
    steps = ({"patterns": "", "strategies": ""}, {"ago": ""}, {"in": ""}, {"root": ""}, {"schedule": ""})
    return Grid(columns=columns, layouts=_layouts(tuple(columns), steps))


def next_table(fires: Sequence["FireTime"], *, now: datetime, jobs: Sequence[str] = ()) -> RenderableType:
    """Lay out coming fire times for ``next``; *jobs*, where given, names the job of each."""
    if not fires:
        return Text("nothing comes next", style="dim")
    columns = {
        "local": _column(fires, "fires at", lambda fire: Cell(f"{fire.local:%a %Y-%m-%d %H:%M:%S %Z}")),
        "utc": _column(fires, "UTC", lambda fire: Cell(f"{fire.at:%Y-%m-%d %H:%M:%S}", "dim")),
        "in": _column(fires, "", lambda fire: _ago(fire.at, now)),
        "note": _column(fires, "", lambda fire: Cell(fire.note, "yellow"), least=12, fold=True),
    }
    if jobs:
        columns = {
            "job": Column(header="job", cells=[Cell(printable(name)) for name in jobs], least=12, fold=True)
        } | columns
    return Grid(columns=columns, layouts=_layouts(tuple(columns), ({"utc": ""}, {"in": ""})))


def files_table(
    files: Iterable[FoundFile], *, zone: tzinfo | None = None, doubtful: bool = False
) -> Iterator[RenderableType]:
    """Lay out files for ``files`` in parts to print one after the other; no part at all for no files.

    Args:
        files: In the order to show.
        zone: Whose clock is shown; None for this machine's.
        doubtful: Whether a mark stands before each file that is unknown.
    """
    for part, header in _parts(files):
        columns = {
            "size": _column(part, "size", lambda file: size_cell(file.size_bytes), right=True, width=10),
            "modified": _column(part, "modified", lambda file: Cell(clock(modified_at(file.mtime_ns), zone)), width=19),
            "since": _column(part, "since run", lambda file: Cell(str(file.first_run), "dim"), right=True, width=9),
            "unknown": _column(part, "", lambda file: Cell("?" if file.unknown else "", "yellow"), width=1),
            "path": _column(part, "path", lambda file: Cell(printable(file.path)), least=24, width=24, fold=True),
        }
        if not doubtful:
            del columns["unknown"]
        steps = ({"since": ""}, {"modified": ""}, {"size": ""})
        yield Grid(columns=columns, layouts=_layouts(tuple(columns), steps), header=header)


def changes_table(changes: Iterable[Change]) -> Iterator[RenderableType]:
    """Lay out changed files for ``changes`` in parts to print one after the other; no part at all for no changes."""
    for part, header in _parts(changes):
        columns = {
            "mark": _column(part, "", lambda change: CHANGE_MARKS[change.kind]),
            "before": _column(part, "before", lambda change: size_cell(change.old_size_bytes), right=True, width=10),
            "after": _column(part, "after", lambda change: size_cell(change.new_size_bytes), right=True, width=10),
            "path": _column(part, "path", _changed_path, least=24, width=24, fold=True),
        }
        yield Grid(columns=columns, layouts=_layouts(tuple(columns), ({"before": "", "after": ""},)), header=header)


def key_values(pairs: Iterable[tuple[str, str | Cell]]) -> Grid:
    """Lay out names and their values, one pair per line; long values continue below."""
    rows = [(key, value if isinstance(value, Cell) else Cell(value)) for key, value in pairs]
    columns = {
        "key": _column(rows, "", lambda row: Cell(row[0], "dim")),
        "value": _column(rows, "", lambda row: row[1], least=20, fold=True),
    }
    return Grid(columns=columns, layouts=(tuple(columns),), header=False)


def strategies_of(runs: Iterable[Run]) -> list[str]:
    """Give the strategies that appear in any of the runs, the known ones first in their order."""
    order = {name: number for number, name in enumerate(STRATEGIES)}
    names = {execution.strategy for run in runs for execution in run.executions}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def status_cell(run: Run) -> Cell:
    """Show how a run ended, and for missed ones how many fire times the row stands for."""
    text = f"{run.status.value} {TIMES}{run.missed:,}" if run.missed else run.status.value
    return Cell(text, STATUS_STYLES[run.status])


def wall_cell(execution: Execution | None) -> Cell:
    """Show a wall time, with an asterisk where the cache was cold."""
    if execution is None or execution.wall_s is None:
        return NOTHING
    return Cell(format_seconds(execution.wall_s) + ("*" if execution.cache is Cache.COLD else ""))


def cold_note(executions: Iterable[Execution]) -> list[Text]:
    """Explain the asterisk where there is one."""
    return [Text(COLD_NOTE, "dim")] if any(execution.cache is Cache.COLD for execution in executions) else []


def count_cell(count: int | None) -> Cell:
    """Show a count with thousands separators."""
    return NOTHING if count is None else Cell(f"{count:,}")


def changes_cell(run: Run) -> Cell:
    """Show how many files came, went and changed: ``+1 -1 ~1``, or ``0``."""
    counts = zip(CHANGE_MARKS.values(), (run.added, run.removed, run.modified), strict=True)
    known = [(mark, count) for mark, count in counts if count is not None]
    if not known:
        return NOTHING
    return Cell(" ".join(f"{mark.text}{count:,}" for mark, count in known if count) or "0")


def ratio_cell(execution: Execution | None, baseline: Execution | None) -> Cell:
    """Show one wall time as a multiple of another, ``0.58x``, with an asterisk where only one cache was cold."""
    if execution is None or baseline is None or execution.wall_s is None or not baseline.wall_s:
        return NOTHING
    mark = "" if execution.cache is baseline.cache else "*"
    return Cell(f"{execution.wall_s / baseline.wall_s:.2f}{TIMES}{mark}")


def relative(instant: datetime, now: datetime) -> str:
    """Show how far an instant lies from now: ``2 min ago``, ``in 3 h``."""
    seconds = (instant - now).total_seconds()
    distance = int(abs(seconds))
    units = ((730 * 86_400, 365 * 86_400, "y"), (2 * 86_400, 86_400, "d"), (3_600, 3_600, "h"), (60, 60, "min"))
    size, unit = next(((size, unit) for least, size, unit in units if distance >= least), (1, "s"))
    text = f"{distance // size} {unit}"
    return "now" if distance == 0 else f"in {text}" if seconds > 0 else f"{text} ago"


def _column(
    rows: Sequence[Row],
    header: str,
    show: Callable[[Row], Cell],
    *,
    right: bool = False,
    width: int = 0,
    least: int | None = None,
    fold: bool = False,
) -> Column:
    cells = [show(row) for row in rows]
    return Column(cells=cells, header=header, right=right, width=width, least=least, fold=fold)


def _layouts(full: tuple[str, ...], steps: Iterable[Mapping[str, str]]) -> list[tuple[str, ...]]:
    """Give ever narrower layouts: each step exchanges some columns for others, or drops them where that is empty."""
    layouts = [full]
    for step in steps:
        exchanged = (step.get(key, key) for key in layouts[-1])
        layouts.append(tuple(key for key in exchanged if key))
    return layouts


def _parts(rows: Iterable[Row]) -> Iterator[tuple[list[Row], bool]]:
    """Give the rows in parts, each with whether it is the first."""
    rows, first = iter(rows), True
    while part := list(islice(rows, _PART)):
        yield part, first
        first = False


def _execution(run: Run, strategy: str) -> Execution | None:
    return next((execution for execution in run.executions if execution.strategy == strategy), None)


def clock(instant: datetime | None, zone: tzinfo | None = None, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Show an instant by a zone's clock, None for this machine's."""
    return UNKNOWN if instant is None else instant.astimezone(zone).strftime(pattern)


def _started(run: Run, pattern: str, zone: tzinfo | None) -> Cell:
    return Cell(clock(run.started_at or run.scheduled_at, zone, pattern), "" if run.started_at else "dim")


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


def size_cell(size_bytes: int | None) -> Cell:
    """Show a size."""
    return NOTHING if size_bytes is None else Cell(format_bytes(size_bytes))


def _changed_path(change: Change) -> Cell:
    return Cell(printable(change.path), CHANGE_MARKS[change.kind].style)


def attempt_text(run: Run, attempts: Attempts) -> str:
    """Show which attempt of its firing a run was: ``2 of 3``; empty for the only one, and for a first that did well."""
    most = attempts.most.get(run.job_id, 1)
    failed = run.status.is_failure and run.cause is not Cause.MANUAL
    if run.attempt == 1 and not (failed and most > 1):
        return ""
    # The job may have been given fewer retries, or removed, since.
    return f"{run.attempt} of {most}" if most >= run.attempt else str(run.attempt)


def message_text(run: Run, attempts: Attempts, zone: tzinfo | None) -> str:
    """Show what there is to say about a run, and when it is to be tried again."""
    message = run.message or ""
    if (again_at := attempts.again_at.get(run.run_id)) is not None:
        message += f"; to be tried again at {clock(again_at, zone)}"
    return message
