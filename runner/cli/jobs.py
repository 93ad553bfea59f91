"""``runner jobs``: the jobs, their next fire times and last runs; and the job file."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import options, output, settings, upcoming
from runner.history import jobs as stored_jobs
from runner.history import runs
from runner.jobs import apply as applying
from runner.jobs import file as job_file
from runner.model.errors import UsageError
from runner.model.toml import read_bounded
from runner.output import applied, records, tables

app = typer.Typer(invoke_without_command=True, add_completion=False)


@app.callback()
def jobs(
    context: typer.Context, *, tag: options.Tag = None, fmt: options.FormatOption = "table", db: options.Db = None
) -> None:
    """List the jobs with their next fire times and last runs; or export and apply a job file. Aliases: ls list.

    [bold]Example[/bold]

    runner jobs --tag docs --format json
    """
    if context.invoked_subcommand is None:
        _list_jobs(tag, fmt, db)
    elif fmt != "table" or tag is not None:
        raise UsageError(f"--format and --tag are for the list; write options of {context.invoked_subcommand} after it")
    else:
        settings.choose_database(db)


def _list_jobs(tag: str | None, fmt: options.FormatName, db: str | None) -> None:
    now = datetime.now(UTC)
    with options.answering(db, recovering=True) as view:
        last = runs.list_last_runs(view)
        found = stored_jobs.list_chosen_jobs(view, None, tag)
        rows = [(job, upcoming.next_firing(job, now), last.get(job.job_id)) for job in found]
        if fmt == "table" and any(at for _, at, _ in rows):
            options.note_dead_daemon(view, now)
    output.emit(
        fmt,
        lambda: [tables.jobs_table(rows, now=now)],
        (records.job_record(*row) for row in rows),
        columns=records.JOB_KEYS,
    )


@app.command()
def export(*, db: options.Db = None) -> None:
    """Write all jobs as TOML, for version control, editing, or another database.

    [bold]Example[/bold]

    runner jobs export > jobs.toml
    """
    with options.answering(db) as view:
        options.require(view)  # an empty file would remove all jobs where it is applied with --prune
        text = job_file.write_jobs(job.spec for job in stored_jobs.list_jobs(view))
    # TOML is UTF-8 in every locale.
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


@app.command()
def apply(
    file: Annotated[str, options.argument("FILE", "The job file, or - for stdin.")],
    *,
    prune: Annotated[
        bool, options.option("Remove jobs that the file does not name; their history stays.", "--prune")
    ] = False,
    dry_run: Annotated[bool, options.option("Show the changes without making them.", "--dry-run")] = False,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
) -> None:
    """Apply a job file in one transaction, and show the changes.

    An absent key means its default. Relative roots are relative to the directory of the file.

    A job with another name is another job; `runner edit JOB --name` renames one.

    A running daemon follows within two seconds.

    [bold]Examples[/bold]

    runner jobs apply jobs.toml --dry-run

    runner jobs apply jobs.toml --prune
    """
    now = datetime.now(UTC)
    if file == "-":
        data = read_bounded(sys.stdin.buffer, "stdin")
        wanted = job_file.read_jobs("stdin", data, os.fsencode(Path.cwd()), now)
    else:
        wanted = job_file.load_jobs(file, now)
    with options.opened(db, creating=not dry_run) as (database, _):
        outcomes = applying.apply_jobs(database, wanted, prune=prune, dry_run=dry_run, now=now)
    output.emit(
        fmt,
        lambda: applied.outcome_lines(outcomes),
        map(applied.outcome_record, outcomes),
        columns=applied.OUTCOME_KEYS,
    )
    for outcome in outcomes:
        options.echo_warnings(f"{outcome.name}: {warning}" for warning in outcome.warnings)
    if dry_run:
        options.echo("nothing was changed: this was a dry run")
