"""``runner edit``, ``pause``, ``resume`` and ``remove``: change a job; a running daemon follows."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from runner.cli import options
from runner.history import jobs
from runner.jobs import caches, validation, warnings
from runner.jobs import options as declared
from runner.model.errors import UsageError
from runner.schedules import parse


@options.job_options()
def edit(job: options.JobArgument, *, name: options.Name = None, db: options.Db = None, **given: Any) -> None:
    """Change a job. Options that are not given stay; patterns, excludes and strategies are replaced as a whole.

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
        found = warnings.find_warnings(spec, known.spec)
        jobs.change_job(database, known, spec, now)
    if plan is not None:
        options.warn_of_clocks(given["at"], plan.timezone)
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
        spec = replace(known.spec, paused=paused)
        found = warnings.find_warnings(spec, known.spec)
        if spec != known.spec:
            jobs.change_job(database, known, spec, datetime.now(UTC))
    options.echo(f"job {known.job_id} {known.spec.name!r} is {'paused' if paused else 'no longer paused'}")
    options.echo_warnings(found)
