"""``runner schedule``: registers a job."""

import typer

from runner.cli import options


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.JOBS)(schedule)


def schedule(
    directory: options.Directory,
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
    """Register a job that scans DIR on a timer.

    Unless told, the job has the folder's name, this machine's time zone and the strategies sequential and pool; it
    finds *.md and keeps sizes and times. Incremental scans read everything once a day, and a retry waits for a minute.
    A running daemon follows within two seconds.

    Cron fields are those of Vixie cron. The day of the month may also be L, the last day, or LW, the last weekday, and
    the day of the week 5L, the last Friday of the month, or MON#1, its first Monday.

    --notify starts a command, without a shell, when something happened: failure when the job begins to fail (after
    the last retry; told once until it has succeeded again), recovery when it succeeds after that, change when files
    were added, removed or modified, slow when `runner regressions` would find it slower among its last hundred runs
    (once for each level). It gets the run on standard input as `runner show` gives it in JSON, and has 30 seconds.

    [bold]Examples[/bold]

    runner schedule ./directories --every 1h

    runner schedule /srv/docs --cron '30 2 * * mon-fri' --timezone Europe/Berlin

    runner schedule ~/notes --every 15m --pattern '*.md' --pattern '*.txt' --exclude .git

    runner schedule /srv/wiki --every 1h --notify 'failure=mail -s "the scan of the wiki fails" root'
    """
    from dataclasses import replace
    from datetime import UTC, datetime

    from runner.cli.choices import Choices
    from runner.cli.logs import warn_on_stderr
    from runner.history.jobs import add_job
    from runner.jobs.validation import check_root, check_spec, default_name
    from runner.jobs.warnings import find_warnings
    from runner.model.jobs import JobSpec
    from runner.output.text import printable
    from runner.schedules.fire_times import describe, next_fire_time
    from runner.schedules.parse import parse_schedule

    now = datetime.now(UTC)
    plan = parse_schedule(every=every, cron=cron, at=at, timezone=timezone, jitter=jitter, now=now)
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
    spec = choices.apply(JobSpec(name=name or "", root=b"", schedule=plan))
    warn_on_stderr()
    root = check_root(directory, spec.timeout_s)
    spec = check_spec(replace(spec, root=root, name=default_name(root) if name is None else name))
    doubts = find_warnings(spec)
    with options.opened(db, creating=True) as (database, _):
        job = add_job(database, spec, now)
    options.warn_of_clocks(at, plan.timezone)
    first = next_fire_time(plan, job.job_id, now)
    typer.echo(
        f"job {job.job_id} {spec.name!r} scans {printable(root)} {describe(plan)}"
        + (f", first at {first.astimezone():%Y-%m-%d %H:%M:%S %Z}" if first else ""),
        err=True,
    )
    for doubt in doubts:
        typer.echo(f"warning: {doubt}", err=True)
