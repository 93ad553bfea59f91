"""``runner history`` and ``show``: the saved runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

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
        list[str] | None, typer.Option(metavar="STATUS", help="Only runs with this status, such as failed. Repeatable.")
    ] = None,
    since: Annotated[str | None, options.when("Only runs from this instant on, or from 7d ago.")] = None,
    until: Annotated[str | None, options.when("Only runs before this instant.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", min=1, max=10**9, help=f"List at most N runs; default {_TABLE_ROWS} in a table, else all."
        ),
    ] = None,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """List runs, newest first, with the wall time of each strategy.

    The ratio is the wall time of pool divided by that of sequential: below 1 the pool was faster.

    [bold]Examples[/bold]

    runner history docs --since 7d

    runner history --status failed --status missed --format csv
    """
    from datetime import UTC, datetime

    from runner.cli.output import emit
    from runner.history.jobs import get_job
    from runner.history.retries import find_attempts
    from runner.history.runs import list_runs
    from runner.history.time_range import parse_time_range
    from runner.output.records import RUN_KEYS, run_record

    now = datetime.now(UTC)
    statuses = _parse_statuses(status or [])
    start, end = parse_time_range(since, until, now)
    shown = limit if limit is not None else _TABLE_ROWS + 1 if fmt == "table" else None
    with options.answering(db, recovering=True) as view:
        known = get_job(view, job, removed=True) if job is not None else None
        runs = list_runs(view, job=known, statuses=statuses, since=start, until=end, limit=shown)
        attempts = find_attempts(view, runs, now)
    more = fmt == "table" and limit is None and len(runs) > _TABLE_ROWS

    def render() -> "list[RenderableType]":
        from runner.output.tables import runs_table

        return [runs_table(runs[:_TABLE_ROWS] if more else runs, now=now, attempts=attempts)]

    emit(fmt, render, (run_record(run, attempts.again_at.get(run.run_id)) for run in runs), columns=RUN_KEYS)
    if more:
        typer.echo(f"older runs are not shown; runner history --limit {10 * _TABLE_ROWS} shows more", err=True)


def show(
    run: Annotated[int, typer.Argument(metavar="RUN", help="The number of the run.", show_default=False)],
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Show one run with its executions, changes, problems, environment and notifications.

    [bold]Example[/bold]

    runner show 12 --format json
    """
    from runner.history.runs import get_run

    with options.answering(db, recovering=True) as view:
        show_run(view, get_run(view, run), fmt)


def show_run(database: "Reader", run: "Run", fmt: options.FormatName, *, summary: bool = False) -> None:
    """Write one run with all its details, or with *summary* a table of a few lines."""
    from datetime import UTC, datetime

    from runner.cli.output import emit
    from runner.history.contents import list_changes, list_problems
    from runner.history.notifications import list_notifications
    from runner.history.retries import find_attempts
    from runner.history.runs import list_differences
    from runner.output.records import show_record

    now = datetime.now(UTC)
    attempts = find_attempts(database, [run], now)
    changes = list_changes(database, run.job_id, run.run_id - 1, run.run_id)
    problems = list_problems(database, run)
    differences = list_differences(database, run)
    notifications = list_notifications(database, run)

    def render() -> "list[RenderableType]":
        from runner.output.show import run_summary, run_view

        if summary:
            return [run_summary(run, problems=problems, differences=differences)]
        lists = changes, problems, differences, notifications
        return [run_view(run, *lists, now=now, attempts=attempts)]

    retry_at = attempts.again_at.get(run.run_id)
    emit(fmt, render, document=lambda: show_record(run, changes, problems, differences, notifications, retry_at))


def _parse_statuses(texts: "Sequence[str]") -> "list[Status]":
    from runner.model.errors import UsageError
    from runner.model.runs import Status

    for text in texts:
        if text not in set(Status):
            raise UsageError(f"there is no status {text!r}; choose from {', '.join(Status)}")
    return [Status(text) for text in texts]
