"""Values as cells of tables: plain text and the name of a style, for terminals and web pages alike."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from runner.model.contents import FolderChange
from runner.model.runs import Attempts, Cache, Cause, ChangeKind, Execution, Run, Status
from runner.model.units import format_bytes, format_seconds
from runner.output.text import printable


class Cell(NamedTuple):
    """The plain text of a cell, never markup, and the name of a Rich style."""

    text: str
    style: str = ""


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
NO_ATTEMPTS = Attempts()
_BY_UNIT: dict[str, Callable[[Any], str]] = {"s": format_seconds, "bytes": format_bytes}


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of a table."""

    header: str
    value: str | Callable[[Any], Any]  # the attribute or key of a row, or a function that returns the value or a Cell
    _: KW_ONLY
    right: bool = False  # aligned to the right
    width: int = 0  # minimum, in characters
    least: int | None = None  # the width to which it may be narrowed; None for never, as for a number with its unit
    fold: bool = False  # a long cell continues below instead of being cut; so it does where nothing may be narrowed
    priority: int = 0  # columns of the lowest are dropped first, those of one priority together; 0 is never dropped
    substitute: "Column | None" = None  # takes its place when it is dropped
    below: bool = False  # when it is dropped, its cells follow the table

    def cell(self, row: Any) -> Cell:
        """Return the cell of a row."""
        if callable(self.value):
            return to_cell(self.value(row))
        return to_cell(row.get(self.value) if isinstance(row, dict) else getattr(row, self.value), self.value)


def to_cell(value: Any, key: str = "") -> Cell:
    """Format a value by its type and the unit in its key; a Cell stays as it is."""
    if value is None:
        return NOTHING
    if isinstance(value, Cell):
        return value
    if isinstance(value, bytes):
        return Cell(printable(value or b"."))
    if isinstance(value, datetime):
        return Cell(clock(value))
    show = _BY_UNIT.get(key.rpartition("_")[2])
    if show is not None:
        return Cell(show(value))
    return Cell(f"{value:,}" if isinstance(value, int) else str(value))


def number(value: float | None, spec: str) -> Cell:
    """Format a number by a format specification."""
    return NOTHING if value is None else Cell(format(value, spec))


def status(run: Run) -> Cell:
    """Format the status of a run, with the number of missed fire times."""
    text = f"{run.status} {TIMES}{run.missed:,}" if run.missed else run.status.value
    return Cell(text, STATUS_STYLES[run.status])


def wall(execution: Execution | None) -> Cell:
    """Format a wall time, with an asterisk for a cold cache."""
    if execution is None or execution.wall_s is None:
        return NOTHING
    return Cell(format_seconds(execution.wall_s) + ("*" if execution.cache is Cache.COLD else ""))


def changes(counts: Run | FolderChange) -> Cell:
    """Format the numbers of added, removed and modified files: ``+1 -1 ~1``, or ``0``."""
    pairs = zip(CHANGE_MARKS.values(), (counts.added, counts.removed, counts.modified), strict=True)
    known = [f"{mark.text}{count:,}" if count else "" for mark, count in pairs if count is not None]
    return Cell(" ".join(filter(None, known)) or "0") if known else NOTHING


def ratio(execution: Execution | None, baseline: Execution | None) -> Cell:
    """Format the ratio of two wall times, ``0.58x``, with an asterisk if only one cache was cold."""
    if execution is None or baseline is None or execution.wall_s is None or not baseline.wall_s:
        return NOTHING
    mark = "" if execution.cache is baseline.cache else "*"
    return Cell(f"{execution.wall_s / baseline.wall_s:.2f}{TIMES}{mark}")


def clock(instant: datetime | None, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Format an instant in the time zone of the machine."""
    return UNKNOWN if instant is None else instant.astimezone().strftime(pattern)


def relative(instant: datetime, now: datetime) -> str:
    """Format an instant relative to now: ``2 min ago``, ``in 3 h``."""
    seconds = (instant - now).total_seconds()
    distance = int(abs(seconds))
    units = ((730 * 86_400, 365 * 86_400, "y"), (2 * 86_400, 86_400, "d"), (3_600, 3_600, "h"), (60, 60, "min"))
    size, unit = next(((size, unit) for least, size, unit in units if distance >= least), (1, "s"))
    text = f"{distance // size} {unit}"
    return "now" if distance == 0 else f"in {text}" if seconds > 0 else f"{text} ago"


def ago(instant: datetime | None, now: datetime) -> Cell:
    """Format an instant relative to now; None as nothing at all."""
    return Cell("" if instant is None else relative(instant, now), "dim")


def attempt(run: Run, attempts: Attempts) -> str:
    """Format the attempt of a run, ``2 of 3``; empty for the only one, and for a successful first one."""
    most = attempts.most.get(run.job_id, 1)
    failed = run.status.is_failure and run.cause is not Cause.MANUAL
    if run.attempt == 1 and not (failed and most > 1):
        return ""
    # The job may have fewer retries by now, or be removed.
    return f"{run.attempt} of {most}" if most >= run.attempt else str(run.attempt)


def message(run: Run, attempts: Attempts) -> str:
    """Format the message of a run, and the instant of its next attempt."""
    again_at = attempts.again_at.get(run.run_id)
    return (run.message or "") + ("" if again_at is None else f"; next attempt at {clock(again_at)}")
