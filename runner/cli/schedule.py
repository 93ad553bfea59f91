"""``runner schedule``: creates a job."""

from typing import Any

import typer

from runner.cli import options


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.JOBS)(schedule)


@options.job_options()
def schedule(directory: options.Directory, name: options.Name = None, db: options.Db = None, **given: Any) -> None:
    """Create a job that scans DIR on a schedule.

    Defaults: the name of the directory, this machine's time zone, the strategies sequential and pool, the pattern
    *.md, and sizes and times tracked. An incremental scan reads every directory once a day; a retry waits one minute.
    A running daemon sees the new job within two seconds.

    Cron fields are those of Vixie cron. The day of the month may also be L, the last day, or LW, the last weekday, and
    the day of the week 5L, the last Friday of the month, or MON#1, its first Monday.

    --notify runs a command, without a shell, on an event: failure when the job begins to fail (after the last retry,
    once until it succeeds again), recovery when it succeeds after that, change when files were added, removed or
    modified, slow when `runner regressions` would find it slower among its last 10,000 runs (once for each level).
    The command reads the run from standard input, as JSON of `runner show`, and has 30 seconds.

    [bold]Examples[/bold]

    runner schedule ./directories --every 1h

    runner schedule /srv/docs --cron '30 2 * * mon-fri' --timezone Europe/Berlin

    runner schedule ~/notes --every 15m --pattern '*.md' --pattern '*.txt' --exclude .git

    runner schedule /srv/wiki --every 1h --notify 'failure=mail -s "the scan of the wiki fails" root'
    """
    from dataclasses import replace
    from datetime import UTC, datetime

    from runner.cli.logs import warn_on_stderr
    from runner.history.jobs import add_job
    from runner.jobs.options import SCHEDULE_OPTIONS, apply_options
    from runner.jobs.validation import check_root, check_spec, default_name
    from runner.jobs.warnings import find_warnings
    from runner.model.jobs import JobSpec
    from runner.output.text import printable
    from runner.schedules.fire_times import describe, next_fire_time
    from runner.schedules.parse import parse_schedule

    now = datetime.now(UTC)
    plan = parse_schedule(**{option.key: given[option.key] for option in SCHEDULE_OPTIONS}, now=now)
    spec = apply_options(JobSpec(name=name or "", root=b"", schedule=plan), given)
    warn_on_stderr()
    root = check_root(directory, spec.timeout_s)
    spec = check_spec(replace(spec, root=root, name=default_name(root) if name is None else name))
    warnings = find_warnings(spec)
    with options.opened(db, creating=True) as (database, _):
        job = add_job(database, spec, now)
    options.warn_of_clocks(given["at"], plan.timezone)
    first = next_fire_time(plan, job.job_id, now)
    typer.echo(
        f"job {job.job_id} {spec.name!r} scans {printable(root)} {describe(plan)}"
        + (f", first at {first.astimezone():%Y-%m-%d %H:%M:%S %Z}" if first else ""),
        err=True,
    )
    options.echo_warnings(warnings)
