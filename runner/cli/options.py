"""Options and arguments that several commands share, and how a command opens its database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from runner.cli.settings import Settings, default_database, load_settings
from runner.model.jobs import Catchup, Track

if TYPE_CHECKING:
    from runner.history.database import Database, View

JOBS, RUNNING, ASKING, CARE, TRYING = "Jobs", "Running", "Asking", "Care", "Trying it out"

Db = Annotated[str | None, typer.Option("--db", metavar="PATH|URL", help="The database to use.", show_default=False)]
FormatName = Literal["table", "json", "jsonl", "csv", "raw-csv"]
FormatOption = Annotated[
    FormatName, typer.Option("--format", "-f", help="How to write it: a table for people, or a stable format.")
]


def complete_job(incomplete: str) -> list[str]:
    """Give the names of jobs that begin so, for shell completion."""
    from runner.history.jobs import list_jobs
    from runner.model.errors import RunnerError

    try:
        with answering(None) as view:
            return [job.spec.name for job in list_jobs(view) if job.spec.name.startswith(incomplete)]
    except RunnerError:  # a message would end up in the middle of the line that is being typed
        return []


JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", help="A job's name or number.", show_default=False, autocompletion=complete_job),
]
OptionalJob = Annotated[
    str | None,
    typer.Argument(
        metavar="[JOB]", help="A job's name or number; else all.", show_default=False, autocompletion=complete_job
    ),
]
Directory = Annotated[str, typer.Argument(metavar="DIR", help="The folder to scan.", show_default=False)]

_WHEN = "When it fires"
_WHAT = "What it finds"
_HOW = "How it runs"


def warn_of_clocks(text: str | None, zone: str | None = None) -> None:
    """Write a warning to stderr if an instant is a local time that occurs twice or not at all."""
    from runner.schedules.instants import find_clock_warning

    warning = find_clock_warning(text, zone) if text is not None else None
    if warning is not None:
        typer.echo(f"warning: {warning}", err=True)


def _check_clocks(text: str | None) -> str | None:
    warn_of_clocks(text)
    return text


def when(help: str) -> Any:  # noqa: A002  as Typer names it
    """Return an option that names an instant of the past: ISO 8601, or a duration ago."""
    return typer.Option(metavar="WHEN", help=help, show_default=False, callback=_check_clocks)


Every = Annotated[
    str | None, typer.Option(metavar="DURATION", help="At this interval: 90s, 15m, 1h30m, 2d.", rich_help_panel=_WHEN)
]
Cron = Annotated[
    str | None,
    typer.Option(metavar="EXPR", help="By five cron fields, as '*/5 * * * *', or @hourly.", rich_help_panel=_WHEN),
]
At = Annotated[str | None, typer.Option(metavar="WHEN", help="Once, at this ISO 8601 instant.", rich_help_panel=_WHEN)]
Timezone = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE",
        help="Zone of cron fields and instants: Europe/Berlin, or POSIX notation.",
        rich_help_panel=_WHEN,
    ),
]
Jitter = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION|none", help="Delay each firing by a fixed random part of this.", rich_help_panel=_WHEN
    ),
]
CatchupOption = Annotated[
    Catchup | None,
    typer.Option("--catchup", help="What to do about fire times missed while no daemon ran.", rich_help_panel=_WHEN),
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="The job's name.")]
Pattern = Annotated[
    list[str] | None,
    typer.Option("--pattern", "-p", metavar="GLOB", help="Names to find; repeatable.", rich_help_panel=_WHAT),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        "-x",
        metavar="GLOB",
        help="Names or relative paths to leave out; repeatable.",
        rich_help_panel=_WHAT,
    ),
]
IgnoreCase = Annotated[
    bool | None,
    typer.Option("--ignore-case/--match-case", metavar="", help="Whether patterns ignore case.", rich_help_panel=_WHAT),
]
TrackOption = Annotated[
    Track | None,
    typer.Option(
        "--track",
        metavar="names|stat",
        help="Keep only names, or sizes and modification times too (stat): what modified compares.",
        rich_help_panel=_WHAT,
    ),
]
OneFileSystem = Annotated[
    bool | None,
    typer.Option(
        "--one-file-system/--all-file-systems",
        metavar="",
        help="Whether to stay on the root's file system.",
        rich_help_panel=_WHAT,
    ),
]
StrategyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy",
        "-s",
        metavar="NAME",
        help="sequential, pool, incremental; repeatable.",
        rich_help_panel=_HOW,
    ),
]
Workers = Annotated[
    str | None, typer.Option(metavar="N|auto", help="Pool workers; auto is one per CPU.", rich_help_panel=_HOW)
]
Timeout = Annotated[
    str | None,
    typer.Option(metavar="DURATION|none", help="End an execution that takes longer.", rich_help_panel=_HOW),
]
FullEvery = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Let incremental scans read everything this often.", rich_help_panel=_HOW),
]

Retries = Annotated[
    int | None,
    typer.Option(metavar="N", help="Try a failed run again, at most so often.", rich_help_panel=_HOW),
]
RetryDelay = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Wait so long before each retry.", rich_help_panel=_HOW),
]
NotifyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="EVENT=COMMAND",
        help="Let a command be told of failure, recovery, change or slow; repeatable.",
        rich_help_panel=_HOW,
    ),
]


@contextmanager
def opened(db: str | None, *, creating: bool | Callable[[], bool] = False) -> Iterator[tuple["Database", Settings]]:
    """Open the database that flags, environment and settings name.

    Args:
        db: What a flag names.
        creating: Whether the command begins a history where there is none; asked only then. Others are answered as by
            an empty one, and where somebody has named it, that it is not there is told: it may be a slip of the pen.

    Raises:
        Unknown: If a job or run that is asked about is not known; says so where that is for want of the database.
    """
    from runner.cli.logs import warn_on_stderr
    from runner.history.database import locate
    from runner.history.sqlite import MissingFile, SqliteFile
    from runner.history.upgrade import open_database
    from runner.model.errors import Unknown
    from runner.output.text import harmless

    warn_on_stderr()
    settings = load_settings(db)
    location = locate(settings.db)
    note = ""
    begins = creating if callable(creating) else lambda: creating
    if isinstance(location, SqliteFile) and not location.exists() and not begins():
        if settings.db != str(default_database()):
            note = harmless(f"note: there is no database at {location} yet")
        location = MissingFile(path=location.path)
    database = open_database(location)
    try:
        yield database, settings
    except Unknown as error:
        if not isinstance(location, MissingFile):
            raise
        what = str(error).rpartition("; ")[0]
        raise Unknown(
            f"{what}, as there is no database at {location} yet; name another with --db, "
            "or begin it with `runner schedule` or `runner run`"
        ) from None
    finally:
        database.close()
    if note:
        typer.echo(note, err=True)


@contextmanager
def answering(db: str | None, *, recovering: bool = False) -> Iterator["View"]:
    """Open the database to answer one question from one state of it.

    Args:
        db: What a flag names.
        recovering: Whether runs whose process is gone are ended first.
    """
    from runner.execution.recovery import recover
    from runner.model.errors import NotWritable

    with opened(db) as (database, _):
        if recovering:
            with suppress(NotWritable):  # what is gone stays on record as running, and all else can be answered
                recover(database)
        with database.view() as view:
            yield view


def warn_of_readers(database: "Database | View") -> None:
    """Write a warning to stderr if a long-running reader keeps the database from shrinking."""
    warning = database.location.find_reader_warning()
    if warning is not None:
        typer.echo(f"note: {warning}", err=True)


def require(database: "Database | View") -> None:
    """Refuse to answer for a database that is not there.

    Raises:
        DatabaseUnusable: If it is not.
    """
    from runner.model.errors import DatabaseUnusable

    if not database.location.exists():
        raise DatabaseUnusable(f"there is no database at {database.location}; name another with --db")
