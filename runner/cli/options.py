"""Options and arguments that several commands share, and how a command opens its database."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from runner.cli.settings import Settings, default_database, load_settings
from runner.jobs.options import OPTIONS, SCHEDULE_OPTIONS

if TYPE_CHECKING:
    from runner.history.database import Database, View

JOBS, RUNNING, ASKING, CARE, TRYING = "Jobs", "Running", "Asking", "Care", "Trying it out"

Db = Annotated[
    str | None, typer.Option("--db", metavar="PATH|URL", help="The database: a file or a URL.", show_default=False)
]
FormatName = Literal["table", "json", "jsonl", "csv", "raw-csv"]
FormatOption = Annotated[
    FormatName, typer.Option("--format", "-f", help="A table for people, or a stable format for programs.")
]


def complete_job(incomplete: str) -> list[str]:
    """List the names of jobs with a prefix, for shell completion."""
    from runner.history.jobs import list_jobs
    from runner.model.errors import RunnerError

    try:
        with answering(None) as view:
            return [job.spec.name for job in list_jobs(view) if job.spec.name.startswith(incomplete)]
    except RunnerError:  # a message would appear in the command line that is being typed
        return []


JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", help="Name or number of a job.", show_default=False, autocompletion=complete_job),
]
OptionalJob = Annotated[
    str | None,
    typer.Argument(
        metavar="[JOB]", help="Name or number of a job, default all.", show_default=False, autocompletion=complete_job
    ),
]
Directory = Annotated[str, typer.Argument(metavar="DIR", help="The directory to scan.", show_default=False)]


def warn_of_clocks(text: str | None, zone: str | None = None) -> None:
    """Write a warning to stderr if an instant is a local time that occurs twice or not at all."""
    from runner.schedules.instants import find_clock_warning

    warning = find_clock_warning(text, zone) if text is not None else None
    if warning is not None:
        typer.echo(f"warning: {warning}", err=True)


def echo_warnings(warnings: Iterable[str]) -> None:
    """Write warnings to stderr, a line for each."""
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


def _check_clocks(text: str | None) -> str | None:
    warn_of_clocks(text)
    return text


def when(help: str) -> Any:  # noqa: A002  as Typer names it
    """Return an option that names an instant of the past: ISO 8601, or a duration ago."""
    return typer.Option(metavar="WHEN", help=help, show_default=False, callback=_check_clocks)


Name = Annotated[str | None, typer.Option(metavar="NAME", help="The name of the job.")]
Command = TypeVar("Command", bound=Callable[..., None])


def job_options(*keys: str) -> Callable[[Command], Command]:
    """Replace the ``**given`` of a command by the declared job options with these keys; without keys by all."""

    def declare(command: Command) -> Command:
        arguments: list[inspect.Parameter] = []
        others: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                required = parameter.default is inspect.Parameter.empty
                (arguments if required else others).append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        chosen = [
            inspect.Parameter(
                option.key,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    option.kind.given | None,
                    typer.Option(*option.flags, metavar=option.metavar, help=option.help, rich_help_panel=option.panel),
                ],
            )
            for option in (*SCHEDULE_OPTIONS, *OPTIONS)
            if option.flags and (not keys or option.key in keys)
        ]
        parameters = [*arguments, *chosen, *others]
        # Typer reads both.
        command.__dict__["__signature__"] = inspect.Signature(parameters)
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return declare


@contextmanager
def opened(db: str | None, *, creating: bool | Callable[[], bool] = False) -> Iterator[tuple["Database", Settings]]:
    """Open the database that flags, environment and settings name.

    Args:
        db: What a flag names.
        creating: Whether to create a missing database; a function is called only if it is missing. Otherwise an empty
            history answers, with a note if the user named the database, since the name may be a typing error.

    Raises:
        Unknown: If a job or run does not exist; the message says so if the database is missing.
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
        recovering: Whether to recover runs whose process died first.
    """
    from runner.execution.recovery import recover
    from runner.model.errors import NotWritable

    with opened(db) as (database, _):
        if recovering:
            with suppress(NotWritable):  # such runs are shown as running, and everything else can be answered
                recover(database)
        with database.view() as view:
            yield view


def warn_of_readers(database: "Database | View") -> None:
    """Write a warning to stderr if a long-running reader keeps the database from shrinking."""
    warning = database.location.find_reader_warning()
    if warning is not None:
        typer.echo(f"note: {warning}", err=True)


def require(database: "Database | View") -> None:
    """Refuse a missing database.

    Raises:
        DatabaseUnusable: If it is missing.
    """
    from runner.model.errors import DatabaseUnusable

    if not database.location.exists():
        raise DatabaseUnusable(f"there is no database at {database.location}; name another with --db")
