"""``runner history`` and ``show``: the runs that have been remembered."""

from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.history.database import Reader
    from runner.model.runs import Run, Status

_TABLE_ROWS = 30


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (history, show):
        app.command(rich_help_panel=options.ASKING)(command)


def history(
    job: options.OptionalJob = None,
    status: Annotated[
        list[str] | None, typer.Option(metavar="STATUS", help="Only runs that ended so; repeatable.")
    ] = None,
    since: Annotated[str | None, options.when("Only runs from then on: an instant, or 7d ago.")] = None,
    until: Annotated[str | None, options.when("Only runs before then.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", min=1, max=10**9, help=f"At most so many; a table shows {_TABLE_ROWS} unless told."
        ),
    ] = None,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """List runs, newest first, with how long each strategy took.

    The ratio is the pool's wall time by that of sequential: below 1 the pool was faster.

    [bold]Examples[/bold]

    runner history docs --since 7d

    runner history --status failed --status missed --format csv
    """
    from datetime import UTC, datetime

    from runner.cli.output import write_records, write_table
    from runner.execution.retry import find_attempts
    from runner.history.jobs import get_job
    from runner.history.runs import list_runs
    from runner.history.time_range import parse_span
    from runner.output.records import RUN_KEYS, run_record

    now = datetime.now(UTC)
    statuses = _parse_statuses(status or [])
    start, end = parse_span(since, until, now)
    shown = limit if limit is not None else _TABLE_ROWS + 1 if fmt == "table" else None
    with options.answering(db, recovering=True) as view:
        known = get_job(view, job, removed=True) if job is not None else None
        runs = list_runs(view, job=known, statuses=statuses, since=start, until=end, limit=shown)
        attempts = find_attempts(view, runs, now)
    if fmt != "table":
        write_records((run_record(run, attempts.again_at.get(run.run_id)) for run in runs), fmt, columns=RUN_KEYS)
        return
    from runner.output.tables import runs_table

    more = limit is None and len(runs) > _TABLE_ROWS
    write_table(runs_table(runs[:_TABLE_ROWS] if more else runs, now=now, attempts=attempts))
    if more:
        typer.echo(f"older runs are not shown; runner history --limit {10 * _TABLE_ROWS} shows more", err=True)


def show(
    run: Annotated[int, typer.Argument(metavar="RUN", help="A run's number.", show_default=False)],
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Show one run whole: executions side by side, changes, problems, environment, who was told.

    [bold]Example[/bold]

    runner show 12 --format json
    """
    from runner.history.runs import get_run

    with options.answering(db, recovering=True) as view:
        show_run(view, get_run(view, run), fmt)


def show_run(database: "Reader", run: "Run", fmt: options.FormatName, *, summary: bool = False) -> None:
    """Write one run whole, or with *summary* a table of a few lines."""
    from datetime import UTC, datetime

    from runner.cli.output import write_document, write_table
    from runner.execution.retry import find_attempts
    from runner.history.contents import list_changes, list_problems
    from runner.history.notifications import list_notifications
    from runner.history.runs import list_differences
    from runner.output.records import show_record

    if summary and fmt == "table":
        from runner.output.run_summary import run_summary

        problems, differences = list_problems(database, run), list_differences(database, run)
        write_table(run_summary(run, problems=problems, differences=differences))
        return
    now = datetime.now(UTC)
    attempts = find_attempts(database, [run], now)
    changes = list_changes(database, run.job_id, run.run_id - 1, run.run_id)
    problems = list_problems(database, run)
    differences = list_differences(database, run)
    told = list_notifications(database, run)
    if fmt != "table":
        retry_at = attempts.again_at.get(run.run_id)
        write_document(show_record(run, changes, problems, differences, told, retry_at), fmt)
        return
    from runner.output.show import run_view

    view = run_view(
        run,
        now=now,
        attempts=attempts,
        changes=changes,
        problems=problems,
        differences=differences,
        notifications=told,
    )
    write_table(view)


def _parse_statuses(texts: "Sequence[str]") -> "list[Status]":
    from runner.model.errors import UsageError
    from runner.model.runs import Status

    for text in texts:
        if text not in set(Status):
            raise UsageError(f"there is no status {text!r}; choose from {', '.join(Status)}")
    return [Status(text) for text in texts]
