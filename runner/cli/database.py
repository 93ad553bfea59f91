"""``runner db`` and ``prune``: maintain the database."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import options, settings
from runner.history import database as databases
from runner.history import jobs, maintenance
from runner.history import prune as pruning
from runner.history import upgrade as upgrading
from runner.model.errors import UsageError
from runner.model.units import format_bytes, format_count, parse_duration
from runner.output.text import harmless

app = typer.Typer(help="Maintain the database: path, upgrade, check, backup.", add_completion=False)


@app.command()
def path(*, db: options.Db = None) -> None:
    """Print the path or URL of the database.

    [bold]Example[/bold]

    runner db path
    """
    sys.stdout.write(f"{harmless(str(databases.locate(settings.load_settings(db).db)))}\n")


@app.command()
def upgrade(*, db: options.Db = None) -> None:
    """Upgrade the schema after a backup. Every other command does this automatically.

    [bold]Example[/bold]

    runner db upgrade
    """
    with options.opened(db, creating=True) as (database, _):
        sys.stdout.write(f"{harmless(str(database.location))} has the schema {upgrading.REVISIONS[-1]}, the newest\n")


@app.command()
def check(*, db: options.Db = None) -> None:
    """Check the pages, references and intervals of the database. Exits with 1 if something is wrong.

    Also lists its files and directories that other users can access.

    [bold]Example[/bold]

    runner db check
    """
    with options.answering(db) as view:
        options.require(view)
        faults = maintenance.find_faults(view)
        options.echo_notes([view.location.find_reader_warning(), *map(harmless, view.location.find_wide_modes())])
        for fault in faults:
            sys.stdout.write(f"{fault}\n")
        if faults:
            raise typer.Exit(1)
        sys.stdout.write(f"{harmless(str(view.location))} is sound\n")


@app.command()
def backup(
    target: Annotated[Path, options.argument("FILE", "Where to write the copy.")], *, db: options.Db = None
) -> None:
    """Copy the database to FILE in one consistent state, even while it is in use.

    [bold]Example[/bold]

    runner db backup /backup/runner-$(date +%F).db
    """
    with options.opened(db) as (database, _):
        options.require(database)
        maintenance.copy_database(database, target)
    sys.stdout.write(f"{harmless(str(target))}\n")


def prune(
    job: options.OptionalJob = None,
    *,
    older_than: Annotated[str | None, options.option("Delete runs older than this: 90d.", metavar="DURATION")] = None,
    keep: Annotated[
        int | None, options.option("Keep the newest N executed runs of each job.", metavar="N", least=1, most=10**9)
    ] = None,
    keep_failures: Annotated[
        bool, options.option("Keep failed, partial, timed-out and interrupted runs.", "--keep-failures")
    ] = False,
    dry_run: Annotated[bool, options.option("Show the number of runs to delete; change nothing.", "--dry-run")] = False,
    db: options.Db = None,
) -> None:
    """Delete old runs of a job, or of all jobs. Answers about the other runs stay the same.

    A run is deleted only if neither --older-than nor --keep keeps it. The last saved run of each job always stays.

    [bold]Examples[/bold]

    runner prune --older-than 365d --dry-run

    runner prune docs --keep 1000 --keep-failures
    """
    if older_than is None and keep is None:
        raise UsageError("nothing says what to delete; give --older-than 90d, --keep 1000, or both")
    age_s = parse_duration(older_than) if older_than is not None else None
    since = datetime.now(UTC) - timedelta(seconds=age_s) if age_s is not None else None
    retention = pruning.Retention(since=since, newest=keep, failures=keep_failures)
    with options.opened(db) as (database, _):
        options.require(database)
        with database.view() as view:
            job_id = jobs.get_job(view, job, removed=True).job_id if job is not None else None
            prunable = pruning.count_prunable(view, retention, job_id) if dry_run else 0
        if dry_run:
            options.echo(f"Would delete {format_count(prunable, 'run')} (use without --dry-run to delete)")
            return
        database.location.refuse_writing()
        _prune(database, retention, job_id)


def _prune(database: "databases.Database", retention: "pruning.Retention", job_id: int | None) -> None:
    before = maintenance.size_bytes(database)
    pruned = pruning.prune(database, retention, job_id)
    if not pruned.runs:
        options.echo("nothing to delete")
        return
    reader = maintenance.compact(database)
    was, now = format_bytes(before), format_bytes(maintenance.size_bytes(database))
    if reader is not None:
        shrank = f"takes {now} now, since {reader} reads an older state; it can shrink when that has ended"
    else:
        shrank = f"stays at {was}" if was == now else f"shrank from {was} to {now}"
    states = format_count(pruned.versions, "state of a file", "states of files")
    options.echo(f"deleted {format_count(pruned.runs, 'run')} and {states}; the database {shrank}")
