"""Cells and texts that several tables share."""

from collections.abc import Iterable
from datetime import datetime, tzinfo

from rich.text import Text

from runner.model.runs import Attempts, Cache, Cause, ChangeKind, Execution, Run, Status
from runner.model.units import format_bytes, format_seconds
from runner.output.grid import Cell

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


def status_cell(run: Run) -> Cell:
    """Format the status of a run, with the number of missed fire times."""
    text = f"{run.status.value} {TIMES}{run.missed:,}" if run.missed else run.status.value
    return Cell(text, STATUS_STYLES[run.status])


def wall_cell(execution: Execution | None) -> Cell:
    """Format a wall time, with an asterisk for a cold cache."""
    if execution is None or execution.wall_s is None:
        return NOTHING
    return Cell(format_seconds(execution.wall_s) + ("*" if execution.cache is Cache.COLD else ""))


def cold_note(executions: Iterable[Execution]) -> list[Text]:
    """Return the explanation of the asterisk, if there is one."""
    return [Text(COLD_NOTE, "dim")] if any(execution.cache is Cache.COLD for execution in executions) else []


def count_cell(count: int | None) -> Cell:
    """Format a count with thousands separators."""
    return NOTHING if count is None else Cell(f"{count:,}")


def changes_cell(run: Run) -> Cell:
    """Format the numbers of added, removed and modified files: ``+1 -1 ~1``, or ``0``."""
    counts = zip(CHANGE_MARKS.values(), (run.added, run.removed, run.modified), strict=True)
    known = [(mark, count) for mark, count in counts if count is not None]
    if not known:
        return NOTHING
    return Cell(" ".join(f"{mark.text}{count:,}" for mark, count in known if count) or "0")


def ratio_cell(execution: Execution | None, baseline: Execution | None) -> Cell:
    """Format the ratio of two wall times, ``0.58x``, with an asterisk if only one cache was cold."""
    if execution is None or baseline is None or execution.wall_s is None or not baseline.wall_s:
        return NOTHING
    mark = "" if execution.cache is baseline.cache else "*"
    return Cell(f"{execution.wall_s / baseline.wall_s:.2f}{TIMES}{mark}")


def relative(instant: datetime, now: datetime) -> str:
    """Format an instant relative to now: ``2 min ago``, ``in 3 h``."""
    seconds = (instant - now).total_seconds()
    distance = int(abs(seconds))
    units = ((730 * 86_400, 365 * 86_400, "y"), (2 * 86_400, 86_400, "d"), (3_600, 3_600, "h"), (60, 60, "min"))
    size, unit = next(((size, unit) for least, size, unit in units if distance >= least), (1, "s"))
    text = f"{distance // size} {unit}"
    return "now" if distance == 0 else f"in {text}" if seconds > 0 else f"{text} ago"


def clock(instant: datetime | None, zone: tzinfo | None = None, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Format an instant in a time zone, None for that of the machine."""
    return UNKNOWN if instant is None else instant.astimezone(zone).strftime(pattern)


def size_cell(size_bytes: int | None) -> Cell:
    """Format a size."""
    return NOTHING if size_bytes is None else Cell(format_bytes(size_bytes))


def attempt_text(run: Run, attempts: Attempts) -> str:
    """Format the attempt of a run, ``2 of 3``; empty for the only one, and for a successful first one."""
    most = attempts.most.get(run.job_id, 1)
    failed = run.status.is_failure and run.cause is not Cause.MANUAL
    if run.attempt == 1 and not (failed and most > 1):
        return ""
    # The job may have fewer retries by now, or be removed.
    return f"{run.attempt} of {most}" if most >= run.attempt else str(run.attempt)


def message_text(run: Run, attempts: Attempts, zone: tzinfo | None) -> str:
    """Format the message of a run, and the instant of its next attempt."""
    message = run.message or ""
    if (again_at := attempts.again_at.get(run.run_id)) is not None:
        message += f"; next attempt at {clock(again_at, zone)}"
    return message
