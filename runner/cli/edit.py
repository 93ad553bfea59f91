"""``runner schedule``, ``edit``, ``pause``, ``resume`` and ``remove``: create and change a job."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from runner.cli import logs, options
from runner.history import jobs
from runner.jobs import caches, validation, warnings
from runner.jobs import options as declared
from runner.model.errors import UsageError
from runner.model.jobs import JobSpec
from runner.output.text import printable
from runner.schedules import fire_times, parse


@options.job_options()
def schedule(directory: options.Directory, *, name: options.Name = None, db: options.Db = None, **given: Any) -> None:
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
    now = datetime.now(UTC)
    plan = parse.parse_schedule(**{option.key: given[option.key] for option in declared.SCHEDULE_OPTIONS}, now=now)
    spec = declared.apply_options(JobSpec(name=name or "", root=b"", schedule=plan), given)
    logs.warn_on_stderr()
    root = validation.check_root(directory, spec.timeout_s)
    name = validation.default_name(root) if name is None else name
    spec = validation.check_spec(replace(spec, root=root, name=name))
    found = [*warnings.find_warnings(spec), *warnings.find_option_warnings(given, spec)]
    with options.opened(db, creating=True) as (database, _):
        job = jobs.add_job(database, spec, now)
    options.warn_of_clocks(given["at"], plan.timezone, ahead=True)
    first = fire_times.next_fire_time(plan, job.job_id, now)
    options.echo(
        f"job {job.job_id} {spec.name!r} scans {printable(root)} {fire_times.describe(plan)}"
        + (f", first at {first.astimezone():%Y-%m-%d %H:%M:%S %Z}" if first else "")
    )
    options.echo_warnings(found)


@options.job_options()
def edit(job: options.JobArgument, *, name: options.Name = None, db: options.Db = None, **given: Any) -> None:
    """Change a job. Other options stay; patterns, excludes, strategies and notifications are replaced whole.

    --every none removes the schedule: the job then runs by hand only.

    [bold]Examples[/bold]

    runner edit docs --every 2h

    runner edit docs --name handbook --exclude .git --exclude build/

    runner edit docs --exclude '' --workers auto --timeout none
    """
    now = datetime.now(UTC)
    if given["excludes"] == [""]:
        given["excludes"] = []  # an empty exclude alone removes all
    with options.opened(db) as (database, _):
        known = jobs.get_job(database, job)
        parts = {option.key: given[option.key] for option in declared.SCHEDULE_OPTIONS}
        plan = parse.update_schedule(known.spec.schedule, **parts, now=now)
        spec = replace(known.spec, name=known.spec.name if name is None else name, schedule=plan)
        spec = validation.check_spec(declared.apply_options(spec, given), known.spec)
        if spec == known.spec:
            if all(value is None for value in (name, *given.values())):
                raise UsageError("nothing says what to change; give --every 2h, --pattern '*.txt' or the like")
            raise UsageError(f"the job {known.spec.name!r} has these options already; see `runner edit --help`")
        found = [*warnings.find_warnings(spec, known.spec), *warnings.find_option_warnings(given, spec)]
        jobs.change_job(database, known, spec, now)
    if plan is not None:
        options.warn_of_clocks(given["at"], plan.timezone, ahead=True)
    options.echo(f"changed job {known.job_id} {spec.name!r}")
    options.echo_warnings(found)


def pause(job: options.JobArgument, *, db: options.Db = None) -> None:
    """Pause a job: its schedule does not fire until it is resumed.

    [bold]Example[/bold]

    runner pause docs
    """
    _set_paused(job, db, paused=True)


def resume(job: options.JobArgument, *, db: options.Db = None) -> None:
    """Resume a paused job. Fire times that passed during the pause are not caught up.

    [bold]Example[/bold]

    runner resume docs
    """
    _set_paused(job, db, paused=False)


def remove(job: options.JobArgument, *, db: options.Db = None) -> None:
    """Remove a job. Its history stays, and its name can be used again.

    [bold]Example[/bold]

    runner remove docs
    """
    with options.opened(db) as (database, _):
        known = jobs.get_job(database, job)
        jobs.remove_job(database, known, datetime.now(UTC))
        caches.remove_cache(database, known)
    options.echo(f"removed job {known.job_id} {known.spec.name!r}; its runs stay: runner history {known.job_id}")


def _set_paused(job: str, db: str | None, *, paused: bool) -> None:
    with options.opened(db) as (database, _):
        known = jobs.get_job(database, job)
        found = warnings.find_warnings(replace(known.spec, paused=paused), known.spec)
        jobs.set_paused(database, known, datetime.now(UTC), paused=paused)
    options.echo(f"job {known.job_id} {known.spec.name!r} is {'paused' if paused else 'no longer paused'}")
    options.echo_warnings(found)
