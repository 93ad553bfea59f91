"""Options and arguments that several commands share, and how a command opens its database."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Annotated, Any, Literal, TypeVar

import typer

from runner.cli import logs, settings
from runner.execution import recovery
from runner.history import daemons, sqlite, upgrade
from runner.history import database as databases
from runner.history import jobs as stored_jobs
from runner.jobs import options as declared
from runner.model.errors import DatabaseUnusable, NotWritable, RunnerError, Unknown, UsageError
from runner.output.text import harmless
from runner.schedules import instants


def option(
    meaning: str, *flags: str, metavar: str | None = None, least: int | None = None, most: int | None = None
) -> Any:
    """Return an option of a command with its help text; *least* and *most* bound a number."""
    return typer.Option(*flags, metavar=metavar, help=meaning, min=least, max=most)


def argument(metavar: str, meaning: str, complete: Callable[[str], list[str]] | None = None) -> Any:
    """Return an argument of a command with its help text."""
    return typer.Argument(metavar=metavar, help=meaning, show_default=False, autocompletion=complete)


def complete_job(incomplete: str) -> list[str]:
    """List the names of jobs with a prefix, for shell completion."""
    try:
        with answering(None) as view:
            names = [job.spec.name for job in stored_jobs.list_jobs(view)]
    except RunnerError:  # a message would appear in the command line that is being typed
        return []
    return [name for name in names if name.startswith(incomplete)]


def _warn_of_clock(instant: str | None) -> str | None:
    warn_of_clocks(instant)
    return instant


def when(meaning: str) -> Any:
    """Return an option that names an instant of the past: ISO 8601, a duration ago, or a day in words."""
    return typer.Option(metavar="WHEN", help=meaning, callback=_warn_of_clock)


def _choose_format(context: typer.Context, fmt: str) -> str:
    sources = [context.get_parameter_source(name) for name in ("json", "fmt")]
    asked, named = (source is not None and source.name == "COMMANDLINE" for source in sources)
    if asked and named and fmt != "json":
        raise UsageError(f"--json and --format {fmt} exclude each other; give one of them")
    return "json" if asked else fmt


FormatName = Literal["table", "json", "jsonl", "csv", "raw-csv"]

Db = Annotated[str | None, option("The database: a file or a URL.", "--db", metavar="PATH|URL")]
FormatOption = Annotated[
    FormatName,
    typer.Option(
        "--format", "-f", help="A table for people, or a stable format for programs.", callback=_choose_format
    ),
]
JobArgument = Annotated[str, argument("JOB", "Name, number or directory of a job.", complete_job)]
OptionalJob = Annotated[str | None, argument("[JOB]", "Name, number or directory of a job, default all.", complete_job)]
RunArgument = Annotated[int, argument("RUN", "The number of the run.")]
Directory = Annotated[str, argument("DIR", "The directory to scan.")]
Name = Annotated[str | None, option("The name of the job.", metavar="NAME")]
Tag = Annotated[str | None, option("Only jobs with this tag.", "--tag", metavar="WORD")]
Command = TypeVar("Command", bound=Callable[..., None])


def job_options(*keys: str) -> Callable[[Command], Command]:
    """Replace the ``**given`` of a command by the declared job options with these keys; without keys by all."""

    def declare(command: Command) -> Command:
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        required = [parameter for parameter in parameters if parameter.default is inspect.Parameter.empty]
        chosen = [
            inspect.Parameter(
                one.key,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    one.kind.given | None,
                    typer.Option(*one.flags, metavar=one.metavar, help=one.help, rich_help_panel=one.panel),
                ],
            )
            for one in (*declared.SCHEDULE_OPTIONS, *declared.OPTIONS)
            if one.flags and (not keys or one.key in keys)
        ]
        parameters = [*required, *chosen, *(parameter for parameter in parameters if parameter not in required)]
        # Typer reads both.
        command.__dict__["__signature__"] = inspect.Signature(parameters)
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return declare


def echo(line: str) -> None:
    """Write a line to stderr."""
    typer.echo(line, err=True)


def echo_warnings(warnings: Iterable[str]) -> None:
    """Write warnings to stderr, a line for each."""
    for warning in warnings:
        echo(f"warning: {warning}")


def echo_notes(notes: Iterable[str | None]) -> None:
    """Write notes to stderr, a line for each."""
    for note in notes:
        if note is not None:
            echo(f"note: {note}")


def warn_of_clocks(instant: str | None, zone: str | None = None, *, ahead: bool = False) -> None:
    """Write to stderr how the words for a day are read, and a warning if a local time occurs twice or not at all."""
    if instant is not None:
        now = datetime.now(UTC)
        echo_notes([instants.find_reading(instant, zone, now=now, ahead=ahead)])
        warning = instants.find_clock_warning(instant, zone, now=now, ahead=ahead)
        echo_warnings([warning] if warning is not None else [])


@contextmanager
def opened(
    db: str | None, *, creating: bool | Callable[[], bool] = False
) -> Iterator[tuple["databases.Database", "settings.Settings"]]:
    """Open the database that flags, environment and settings name.

    Args:
        db: What a flag names.
        creating: Whether to create a missing database; a function is called only if it is missing. Otherwise an empty
            history answers, with a note if the user named the database, since the name may be a typing error.

    Raises:
        Unknown: If a job or run does not exist; the message says so if the database is missing.
    """
    logs.warn_on_stderr()
    chosen = settings.load_settings(db)
    location = databases.locate(chosen.db)
    begins = creating if callable(creating) else lambda: creating
    if isinstance(location, sqlite.SqliteFile) and not location.exists() and not begins():
        location = sqlite.MissingFile(path=location.path)
    database = upgrade.open_database(location)
    try:
        yield database, chosen
    except Unknown as error:
        if not isinstance(location, sqlite.MissingFile):
            raise
        what = str(error).rpartition("; ")[0]
        raise Unknown(
            f"{what}, as there is no database at {location} yet; name another with --db, "
            "or begin it with `runner schedule` or `runner run`"
        ) from None
    finally:
        database.close()
    if isinstance(location, sqlite.MissingFile) and chosen.db != str(settings.default_database()):
        echo_notes([harmless(f"there is no database at {location} yet")])


@contextmanager
def answering(db: str | None, *, recovering: bool = False) -> Iterator["databases.View"]:
    """Open the database to answer one question from one state of it.

    Args:
        db: What a flag names.
        recovering: Whether to recover runs whose process died first.
    """
    with opened(db) as (database, _):
        if recovering:
            with suppress(NotWritable):  # such runs are shown as running, and everything else can be answered
                recovery.recover(database)
        with database.view() as view:
            yield view


def note_dead_daemon(view: "databases.View", now: datetime) -> None:
    """Write a note to stderr if no daemon is alive to fire anything."""
    if not daemons.is_any_alive(view, now):
        echo_notes(["no daemon is alive, so nothing fires; start one with `runner daemon`"])


def require(database: "databases.Database | databases.View") -> None:
    """Refuse a missing database.

    Raises:
        DatabaseUnusable: If it is missing.
    """
    if not database.location.exists():
        raise DatabaseUnusable(f"there is no database at {database.location}; name another with --db")


def require_extra(*libraries: str) -> None:
    """Check that the libraries of an extra are installed."""
    for library in libraries:
        if find_spec(library) is None:
            cure = "install runner with the extra web, as in `pip install '.[web]'`"
            raise UsageError(f"this command needs {library}, which is missing; {cure}")
