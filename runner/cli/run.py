"""``runner run``: one run now, in the foreground."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli import options
from runner.cli.interrupt import Interrupt

if TYPE_CHECKING:
    from runner.model.jobs import Job


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.RUNNING)(run)


@options.job_options("timeout")
def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DIR|JOB",
            help="Name or number of a job, or a directory.",
            show_default=False,
            autocompletion=options.complete_job,
        ),
    ],
    verbose: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--verbose", "-v", help="Show all details like `runner show`, not only a summary.")
    ] = False,
    accept_unmounted: Annotated[  # noqa: FBT002  a flag
        bool,
        typer.Option("--accept-unmounted", help="Accept former mount points as plain directories."),
    ] = False,
    fmt: options.FormatOption = "table",
    db: options.Db = None,
    **given: Any,
) -> None:
    """Run a job once, now. A directory without a job becomes a job without a schedule.

    Prints a summary: files and changes, the time of each strategy with its ratio to sequential, and problems.
    Exits with 1 if the run failed or another process cancelled it, and with 130 after ^C.

    [bold]Examples[/bold]

    runner run ./directories

    runner run docs --format json
    """
    from dataclasses import replace
    from datetime import UTC, datetime

    from runner.cli.history import show_run
    from runner.cli.progress import shown_progress
    from runner.execution.executor import fire
    from runner.execution.locks import Stopped
    from runner.history.recording import Busy
    from runner.history.runs import get_run, list_runs
    from runner.jobs.options import parse_timeout
    from runner.jobs.validation import find_or_add, names_directory
    from runner.measure.environment import DEFAULT_START_METHOD
    from runner.measure.leftovers import remove_leftovers
    from runner.model.errors import ScanError
    from runner.model.runs import Status
    from runner.model.subject import log_context
    from runner.operations.notifications import Notifier
    from runner.output.records import show_record

    def note(job: "Job") -> None:
        created = f"{job.spec.name} is created as job {job.job_id}, without a schedule"
        typer.echo(f"note: {created}; `runner remove {job.spec.name}` removes it", err=True)

    remove_leftovers()  # first, since a leftover process may hold locks
    timeout = given["timeout"]
    timeout_s = parse_timeout(timeout or "none")
    with options.opened(db, creating=lambda: names_directory(target, timeout_s)) as (database, settings):
        job = find_or_add(database, target, datetime.now(UTC), note, timeout_s)
        if timeout is not None:
            job = replace(job, spec=replace(job.spec, timeout_s=timeout_s))
        last = list_runs(database, job=job, statuses=[Status.SUCCEEDED, Status.PARTIAL], limit=1)
        interrupt = Interrupt(database)
        with shown_progress(last[0].directories if last else None, interrupt) as observer, log_context(job.spec.name):
            try:
                run_id = fire(
                    database,
                    job,
                    start_method=settings.start_method or DEFAULT_START_METHOD,
                    at_once=settings.runs_at_once,
                    accept_unmounted=accept_unmounted,
                    observer=observer,
                )
            except Busy as busy:
                raise ScanError(str(busy)) from busy
            except Stopped as stopped:
                typer.echo(f"{stopped}", err=True)
                raise KeyboardInterrupt from None
            Notifier(database, show_record, interrupt).notify(job, run_id)
        with database.view() as view:
            finished = get_run(view, run_id)
            if finished.status is Status.CANCELLED and fmt == "table":
                typer.echo(f"run {run_id} of {job.spec.name!r} is recorded as cancelled", err=True)
            else:
                show_run(view, finished, fmt, summary=not verbose)
    if interrupt.status is not None:
        raise KeyboardInterrupt
    if finished.status not in {Status.SUCCEEDED, Status.PARTIAL}:
        raise typer.Exit(1)
