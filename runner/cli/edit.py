"""``runner edit``, ``pause``, ``resume`` and ``remove``: change a job; a running daemon follows."""

import typer

from runner.cli import options


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (edit, pause, resume, remove):
        app.command(rich_help_panel=options.JOBS)(command)


def edit(
    job: options.JobArgument,
    every: options.Every = None,
    cron: options.Cron = None,
    at: options.At = None,
    timezone: options.Timezone = None,
    jitter: options.Jitter = None,
    catchup: options.CatchupOption = None,
    name: options.Name = None,
    pattern: options.Pattern = None,
    exclude: options.Exclude = None,
    ignore_case: options.IgnoreCase = None,
    track: options.TrackOption = None,
    one_file_system: options.OneFileSystem = None,
    strategy: options.StrategyOption = None,
    workers: options.Workers = None,
    timeout: options.Timeout = None,
    full_every: options.FullEvery = None,
    retries: options.Retries = None,
    retry_delay: options.RetryDelay = None,
    notify: options.NotifyOption = None,
    db: options.Db = None,
) -> None:
    """Change a job; what is not named stays as it is. Patterns, excludes and strategies are replaced as a whole.

    [bold]Examples[/bold]

    runner edit docs --every 2h

    runner edit docs --name handbook --exclude .git --exclude build/

    runner edit docs --exclude '' --workers auto --timeout none
    """
    from dataclasses import astuple, replace
    from datetime import UTC, datetime

    from runner.cli.choices import Choices
    from runner.history.jobs import change_job, get_job
    from runner.jobs.validation import check_spec
    from runner.jobs.warnings import find_warnings
    from runner.model.errors import UsageError
    from runner.schedules.parse import update_schedule

    now = datetime.now(UTC)
    choices = Choices(
        pattern=pattern,
        exclude=exclude,
        ignore_case=ignore_case,
        track=track,
        one_file_system=one_file_system,
        strategy=strategy,
        workers=workers,
        timeout=timeout,
        full_every=full_every,
        retries=retries,
        retry_delay=retry_delay,
        notify=notify,
        catchup=catchup,
    )
    with options.opened(db) as (database, _):
        known = get_job(database, job)
        plan = update_schedule(
            known.spec.schedule, every=every, cron=cron, at=at, timezone=timezone, jitter=jitter, now=now
        )
        spec = replace(known.spec, name=known.spec.name if name is None else name, schedule=plan)
        spec = check_spec(choices.apply(spec, clearing=True), known.spec)
        if spec == known.spec:
            if all(value is None for value in (every, cron, at, timezone, jitter, name, *astuple(choices))):
                raise UsageError("nothing says what to change; give --every 2h, --pattern '*.txt' or the like")
            raise UsageError(f"nothing is changed: the job {known.spec.name!r} is so already; see `runner edit --help`")
        doubts = find_warnings(spec, known.spec)
        change_job(database, known, spec, now)
    if plan is not None:
        options.warn_of_clocks(at, plan.timezone)
    typer.echo(f"changed job {known.job_id} {spec.name!r}", err=True)
    for doubt in doubts:
        typer.echo(f"warning: {doubt}", err=True)


def pause(job: options.JobArgument, db: options.Db = None) -> None:
    """Hold a job's schedule until it is resumed.

    [bold]Example[/bold]

    runner pause docs
    """
    _set_paused(job, db, paused=True)


def resume(job: options.JobArgument, db: options.Db = None) -> None:
    """Let a paused job fire again; what passed meanwhile is not made up for.

    [bold]Example[/bold]

    runner resume docs
    """
    _set_paused(job, db, paused=False)


def remove(job: options.JobArgument, db: options.Db = None) -> None:
    """Remove a job; its history stays, and its name is free again.

    [bold]Example[/bold]

    runner remove docs
    """
    from datetime import UTC, datetime

    from runner.history.jobs import get_job, remove_job
    from runner.jobs.caches import forget

    with options.opened(db) as (database, _):
        known = get_job(database, job)
        remove_job(database, known, datetime.now(UTC))
        forget(database, known)
    typer.echo(
        f"removed job {known.job_id} {known.spec.name!r}; its runs stay: runner history {known.job_id}", err=True
    )


def _set_paused(job: str, db: str | None, *, paused: bool) -> None:
    from dataclasses import replace
    from datetime import UTC, datetime

    from runner.history.jobs import change_job, get_job
    from runner.jobs.warnings import find_warnings

    with options.opened(db) as (database, _):
        known = get_job(database, job)
        spec = replace(known.spec, paused=paused)
        doubts = find_warnings(spec, known.spec)
        if spec != known.spec:
            change_job(database, known, spec, datetime.now(UTC))
    typer.echo(f"job {known.job_id} {known.spec.name!r} is {'paused' if paused else 'no longer paused'}", err=True)
    for doubt in doubts:
        typer.echo(f"warning: {doubt}", err=True)
