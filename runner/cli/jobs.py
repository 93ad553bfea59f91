"""``runner jobs``: the jobs, when each fires next, how its last run ended."""

import typer

from runner.cli import options


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.JOBS)(jobs)


def jobs(fmt: options.FormatOption = "table", db: options.Db = None) -> None:
    """List the jobs, when each fires next and how its last run ended.

    [bold]Example[/bold]

    runner jobs --format json
    """
    from datetime import UTC, datetime

    from runner.cli.output import write_records, write_table
    from runner.cli.upcoming import next_firing
    from runner.history.jobs import list_jobs
    from runner.history.runs import list_last_runs
    from runner.render.records import job_record
    from runner.runs.firing import recover

    now = datetime.now(UTC)
    with options.opened(db) as (database, _):
        recover(database)
        last = list_last_runs(database)
        rows = [(job, next_firing(job, now), last.get(job.job_id)) for job in list_jobs(database)]
    if fmt == "table":
        from runner.render.tables import jobs_table

        write_table(jobs_table(rows, now=now))
    else:
        write_records((job_record(*row) for row in rows), fmt, columns=())
