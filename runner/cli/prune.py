"""``runner prune``: deletes old runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options

if TYPE_CHECKING:
    from runner.history.database import Database
    from runner.history.prune import Retention


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.CARE)(prune)


def prune(
    job: options.OptionalJob = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Delete runs older than this: 90d.", show_default=False)
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=10**9,
            help="Keep the newest N executed runs of each job.",
            show_default=False,
        ),
    ] = None,
    keep_failures: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--keep-failures", help="Keep failed, partial, timed-out and interrupted runs.")
    ] = False,
    dry_run: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--dry-run", help="Show the number of runs to delete; change nothing.")
    ] = False,
    db: options.Db = None,
) -> None:
    """Delete old runs of a job, or of all jobs. Answers about the other runs stay the same.

    A run is deleted only if neither --older-than nor --keep keeps it. The last saved run of each job always stays.

    [bold]Examples[/bold]

    runner prune --older-than 365d --dry-run

    runner prune docs --keep 1000 --keep-failures
    """
    from datetime import UTC, datetime, timedelta

    from runner.history.jobs import get_job
    from runner.history.prune import Retention, count_prunable
    from runner.model.errors import UsageError
    from runner.model.units import format_count, parse_duration

    if older_than is None and keep is None:
        raise UsageError("nothing says what to delete; give --older-than 90d, --keep 1000, or both")
    since = None
    if older_than is not None:
        since = datetime.now(UTC) - timedelta(seconds=parse_duration(older_than))
    retention = Retention(since=since, newest=keep, failures=keep_failures)
    with options.opened(db) as (database, _):
        options.require(database)
        with database.view() as view:
            job_id = get_job(view, job, removed=True).job_id if job is not None else None
            prunable = count_prunable(view, retention, job_id) if dry_run else 0
        if dry_run:
            typer.echo(f"Would delete {format_count(prunable, 'run')} (use without --dry-run to delete)", err=True)
            return
        database.location.refuse_writing()
        _prune(database, retention, job_id)


def _prune(database: "Database", retention: "Retention", job_id: int | None) -> None:
    from runner.history.maintenance import compact, size_bytes
    from runner.history.prune import prune as delete_runs
    from runner.model.units import format_bytes, format_count

    before = size_bytes(database)
    pruned = delete_runs(database, retention, job_id)
    if not pruned.runs:
        typer.echo("nothing to delete", err=True)
        return
    reader = compact(database)
    sizes = format_bytes(before), format_bytes(size_bytes(database))
    if reader is not None:
        shrank = f"takes {sizes[1]} now, since {reader} reads an older state; it can shrink when that has ended"
    elif sizes[0] == sizes[1]:
        shrank = f"stays at {sizes[0]}"
    else:
        shrank = f"shrank from {sizes[0]} to {sizes[1]}"
    typer.echo(
        f"deleted {format_count(pruned.runs, 'run')} and "
        f"{format_count(pruned.versions, 'state of a file', 'states of files')}; the database {shrank}",
        err=True,
    )
