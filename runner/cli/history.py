"""``runner history`` and ``show``: the saved runs."""

import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

from rich import live

from runner.cli import options, output
from runner.history import contents, database, jobs, notifications, retries, runs, time_range
from runner.model.errors import UsageError
from runner.model.runs import Attempts, Run, Status
from runner.output import console, records, tables
from runner.output import show as details

_TABLE_ROWS = 30
# With --watch: the interval, and the lines of the terminal that are not runs: the heading and charts, and the last one.
_WATCH_S = 2
_OTHER_LINES = 7


def history(
    job: options.OptionalJob = None,
    *,
    tag: options.Tag = None,
    status: Annotated[
        list[str] | None, options.option("Only runs with this status, such as failed. Repeatable.", metavar="STATUS")
    ] = None,
    since: Annotated[
        str | None, options.when("Only runs from this instant on: 2026-11-22, 7d (ago), yesterday.")
    ] = None,
    until: Annotated[str | None, options.when("Only runs before this instant.")] = None,
    limit: Annotated[
        int | None,
        options.option(
            *(f"List at most N runs; default {_TABLE_ROWS} in a table, else all.", "--limit", "-n"), least=1, most=10**9
        ),
    ] = None,
    watch: Annotated[
        bool, options.option("Show the table again every two seconds, until ^C; on a terminal.", "--watch")
    ] = False,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """List runs, newest first, with the wall time of each strategy.

    The ratio is the wall time of pool divided by that of sequential: below 1 the pool was faster.

    [bold]Examples[/bold]

    runner history docs --since 7d

    runner history --status failed --status missed --format csv

    runner history docs --watch
    """
    now = datetime.now(UTC)
    statuses = _parse_statuses(status or [])
    start, end = time_range.parse_time_range(since, until, now)
    which: Any = {"job": job, "tag": tag, "statuses": statuses, "since": start, "until": end}
    if watch:
        _watch(db, fmt, limit=limit or _TABLE_ROWS, **which)
    shown = limit if limit is not None else _TABLE_ROWS + 1 if fmt == "table" else None
    with options.answering(db, recovering=True) as view:
        found, attempts = _list_runs(view, now, limit=shown, **which)
    more = fmt == "table" and limit is None and len(found) > _TABLE_ROWS
    output.emit(
        fmt,
        lambda: [tables.runs_table(found[:_TABLE_ROWS] if more else found, now=now, attempts=attempts)],
        (records.run_record(run, attempts.again_at.get(run.run_id)) for run in found),
        columns=records.RUN_KEYS,
    )
    if more:
        options.echo(f"older runs are not shown; runner history --limit {10 * _TABLE_ROWS} shows more")


def _list_runs(
    view: "database.View", now: datetime, *, job: str | None, tag: str | None, **which: Any
) -> tuple[list[Run], Attempts]:
    every = job is None and tag is None  # removed ones too
    chosen = None if every else [one.job_id for one in jobs.list_chosen_jobs(view, job, tag, removed=True)]
    found = runs.list_runs(view, job_ids=chosen, **which)
    return found, retries.find_attempts(view, found, now)


def _watch(db: str | None, fmt: options.FormatName, **which: Any) -> NoReturn:
    """Show the newest runs that fit the terminal, again and again."""
    if fmt != "table" or not sys.stdout.isatty():
        raise UsageError("--watch shows a table on a terminal; leave out --watch, or --format and the pipe")
    stdout = console.make_console()
    with live.Live(console=stdout, auto_refresh=False, vertical_overflow="crop") as screen:
        while True:
            now = datetime.now(UTC)
            with options.answering(db, recovering=True) as view:
                options.require(view)
                found, attempts = _list_runs(view, now, **which)
            shown = found[: max(1, stdout.height - _OTHER_LINES)]
            screen.update(tables.runs_table(shown, now=now, attempts=attempts), refresh=True)
            time.sleep(_WATCH_S)


def show(
    run: Annotated[
        str | None,
        options.argument(
            "[RUN|JOB|last]",
            "The number of a run, or a job for its last run; default the last run.",
            options.complete_job,
        ),
    ] = None,
    *,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Show one run with its executions, changes, problems, environment and notifications.

    Without an argument it is the last run of all jobs that has started; the name of a job means that of the job.

    [bold]Examples[/bold]

    runner show

    runner show docs

    runner show 12 --format json
    """
    with options.answering(db, recovering=True) as view:
        show_run(view, _find_run(view, run), fmt)


def _find_run(view: "database.View", text: str | None) -> Run:
    if text is None or text == "last":
        return runs.get_last_started(view)
    if text.isascii() and text.isdigit():
        return runs.get_run(view, int(text[:20]))  # Python refuses to read thousands of digits
    return runs.get_last_started(view, jobs.get_job(view, text, removed=True))


def show_run(view: "database.View", run: Run, fmt: options.FormatName, *, summary: bool = False) -> None:
    """Write one run with all its details, or with *summary* a table of a few lines."""
    now = datetime.now(UTC)
    attempts = retries.find_attempts(view, [run], now)
    is_saved = run.files is not None
    changes = contents.list_changes(view, run.job_id, run.run_id - 1, run.run_id) if is_saved else ()
    problems, differences = contents.list_problems(view, run), runs.list_differences(view, run)
    lists = changes, problems, differences, notifications.list_notifications(view, run)
    retry_at = attempts.again_at.get(run.run_id)
    output.emit(
        fmt,
        lambda: [
            details.run_summary(run, problems=problems, differences=differences)
            if summary
            else details.run_view(run, *lists, now=now, attempts=attempts)
        ],
        document=lambda: records.show_record(run, *lists, retry_at),
    )


def _parse_statuses(texts: list[str]) -> list[Status]:
    for text in texts:
        if text not in set(Status):
            raise UsageError(f"there is no status {text!r}; choose from {', '.join(Status)}")
    return [Status(text) for text in texts]
