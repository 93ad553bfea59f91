"""``runner jobs``: the jobs, their next fire times and last runs; and the job file."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

_app = typer.Typer(name="jobs", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    _app.callback()(jobs)
    for command in (export, apply):
        _app.command()(command)
    app.add_typer(_app, rich_help_panel=options.JOBS)


def jobs(context: typer.Context, fmt: options.FormatOption = "table", db: options.Db = None) -> None:
    """List the jobs with their next fire times and last runs; or export and apply a job file.

    [bold]Example[/bold]

    runner jobs --format json
    """
    from runner.cli.settings import load_settings
    from runner.model.errors import UsageError

    if context.invoked_subcommand is None:
        _list_jobs(fmt, db)
    elif fmt != "table":
        raise UsageError(f"--format is for the list; write options of {context.invoked_subcommand} after it")
    elif db is not None:
        load_settings(db)  # refuses an empty name
        os.environ["RUNNER_DB"] = db  # as the option of the program itself does


def _list_jobs(fmt: options.FormatName, db: str | None) -> None:
    from datetime import UTC, datetime

    from runner.cli.output import emit
    from runner.cli.upcoming import next_firing
    from runner.history.jobs import list_jobs
    from runner.history.runs import list_last_runs
    from runner.output.records import JOB_KEYS, job_record

    now = datetime.now(UTC)
    with options.answering(db, recovering=True) as view:
        last = list_last_runs(view)
        jobs = list_jobs(view)
    rows = [(job, next_firing(job, now), last.get(job.job_id)) for job in jobs]

    def render() -> "list[RenderableType]":
        from runner.output.tables import jobs_table

        return [jobs_table(rows, now=now)]

    emit(fmt, render, (job_record(*row) for row in rows), columns=JOB_KEYS)


def export(db: options.Db = None) -> None:
    """Write all jobs as TOML, for version control, editing, or another database.

    [bold]Example[/bold]

    runner jobs export > jobs.toml
    """
    from runner.history.jobs import list_jobs
    from runner.jobs.file import write_jobs

    with options.answering(db) as view:
        options.require(view)  # an empty file would remove all jobs where it is applied with --prune
        text = write_jobs(job.spec for job in list_jobs(view))
    # TOML is UTF-8 in every locale.
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def apply(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The job file, or - for stdin.", show_default=False)],
    prune: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--prune", help="Remove jobs that the file does not name; their history stays.")
    ] = False,
    dry_run: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--dry-run", help="Show the changes without making them.")
    ] = False,
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
    from datetime import UTC, datetime

    from runner.cli.output import emit
    from runner.jobs.apply import apply_jobs
    from runner.jobs.file import load_jobs, read_jobs
    from runner.model.toml import read_bounded
    from runner.output.applied import OUTCOME_KEYS, outcome_lines, outcome_record

    now = datetime.now(UTC)
    if file == "-":
        wanted = read_jobs("stdin", read_bounded(sys.stdin.buffer, "stdin"), os.fsencode(Path.cwd()), now)
    else:
        wanted = load_jobs(file, now)
    with options.opened(db, creating=not dry_run) as (database, _):
        outcomes = apply_jobs(database, wanted, prune=prune, dry_run=dry_run, now=now)
    emit(fmt, lambda: outcome_lines(outcomes), map(outcome_record, outcomes), columns=OUTCOME_KEYS)
    for outcome in outcomes:
        options.echo_warnings(f"{outcome.name}: {warning}" for warning in outcome.warnings)
    if dry_run:
        typer.echo("nothing was changed: this was a dry run", err=True)
