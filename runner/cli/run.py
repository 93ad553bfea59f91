"""``runner run``: one run now, in the foreground; and ``runner cancel``."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from runner.cli import foreground, options, settings
from runner.cli import history as answers
from runner.execution import cancel as cancelling
from runner.execution import executor, locks
from runner.history import database as databases
from runner.history import recording, runs
from runner.jobs import options as declared
from runner.jobs import validation, warnings
from runner.measure import environment, leftovers
from runner.measure import observer as observers
from runner.model.errors import ScanError
from runner.model.jobs import Job
from runner.model.runs import Status
from runner.model.subject import log_context
from runner.operations import notifications
from runner.output import formats
from runner.output.text import harmless


@options.job_options("timeout")
def run(
    target: Annotated[
        str, options.argument("DIR|JOB", "Name or number of a job, or a directory.", options.complete_job)
    ],
    *,
    verbose: Annotated[
        bool, options.option("Show all details like `runner show`, not only a summary.", "--verbose", "-v")
    ] = False,
    accept_unmounted: Annotated[
        bool, options.option("Accept former mount points as plain directories.", "--accept-unmounted")
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
    leftovers.remove_leftovers()  # first, since a leftover process may hold locks
    timeout = given["timeout"]
    timeout_s = declared.parse_timeout(timeout or "none")
    with options.opened(db, creating=lambda: validation.names_directory(target, timeout_s)) as (database, chosen):
        job = validation.find_or_add(database, target, datetime.now(UTC), _note_new_job, timeout_s)
        if timeout is not None:
            job = replace(job, spec=replace(job.spec, timeout_s=timeout_s))
        last = runs.list_runs(database, job=job, statuses=[Status.SUCCEEDED, Status.PARTIAL], limit=1)
        interrupt = foreground.Interrupt(database)
        directories = last[0].directories if last else None
        with foreground.shown_progress(directories, interrupt) as observer, log_context(job.spec.name):
            run_id = _fire(database, job, chosen, observer, accept_unmounted=accept_unmounted)
            notifications.Notifier(database, formats.event_text, interrupt).notify(job, run_id)
        with database.view() as view:
            finished = runs.get_run(view, run_id)
            if finished.status is Status.CANCELLED and fmt == "table":
                options.echo(f"run {run_id} of {job.spec.name!r} is recorded as cancelled")
            else:
                answers.show_run(view, finished, fmt, summary=not verbose)
    if finished.files == 0:
        options.echo_notes([harmless(warnings.describe_nothing_found(job.spec))])
    if interrupt.status is not None:
        raise KeyboardInterrupt
    if finished.status not in {Status.SUCCEEDED, Status.PARTIAL}:
        raise typer.Exit(1)


def _fire(
    database: "databases.Database",
    job: Job,
    chosen: "settings.Settings",
    observer: "observers.RunObserver",
    *,
    accept_unmounted: bool,
) -> int:
    try:
        return executor.fire(
            database,
            job,
            start_method=chosen.start_method or environment.DEFAULT_START_METHOD,
            cluster=chosen.cluster,
            at_once=chosen.runs_at_once,
            accept_unmounted=accept_unmounted,
            observer=observer,
        )
    except recording.Busy as busy:
        raise ScanError(str(busy)) from busy
    except locks.Stopped as stopped:
        options.echo(f"{stopped}")
        raise KeyboardInterrupt from None


def _note_new_job(job: Job) -> None:
    created = f"{job.spec.name} is created as job {job.job_id}, without a schedule"
    options.echo(f"note: {created}; `runner remove {job.spec.name}` removes it")


def cancel(run: options.RunArgument, *, db: options.Db = None) -> None:
    """Cancel a running run of any process. The result of a strategy that has finished is kept.

    [bold]Example[/bold]

    runner cancel 12
    """
    with options.opened(db) as (database, _):
        ended = cancelling.cancel(database, run)
    if ended.status is not Status.CANCELLED:
        options.echo(f"run {run} of {ended.job!r} ended before it could be cancelled: {ended.status.value}")
        raise typer.Exit(1)
    options.echo(f"run {run} of {ended.job!r} was cancelled")
