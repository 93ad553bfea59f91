"""The application: its options, its one error handler, its exit codes."""

import errno
import os
import re
import signal
import sys
import threading
from typing import Annotated, Any, NoReturn

import typer

from runner.cli import logs, settings, version
from runner.cli.commands import CommandGroup
from runner.model.errors import RunnerError, is_condition, reason_of

_NO_NUMBER = re.compile(r"is not a valid int(?: range)?\b")

app = typer.Typer(
    name="runner",
    cls=CommandGroup,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: [bold]runner schedule ./directories --every 1h[/bold], then [bold]runner daemon[/bold] and "
    "[bold]runner history[/bold]. `runner demo` shows a tour in a scratch directory.",
)


def _show_version(asked: bool) -> None:  # noqa: FBT001  Typer's callback
    if asked:
        sys.stdout.write(f"runner {version.version()}\n")
        raise typer.Exit


@app.callback()
def runner(
    *,
    db: Annotated[
        str | None,
        typer.Option(metavar="PATH|URL", help="The database, default RUNNER_DB, the settings file, or a default file."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Scan directory trees on a schedule, time every scan sequentially and with a pool, and keep the history."""
    settings.choose_database(db)


def load_commands() -> Any:
    """Import all commands and return their group, for the documentation."""
    group = typer.main.get_command(app)
    assert isinstance(group, CommandGroup)  # noqa: S101  as declared above
    return group.load_all()


def main() -> None:
    """Run the command line and exit with its code: 0 done, 1 failed, 2 wrong usage, 3 a defect, 130 interrupted."""
    if sys.platform not in {"linux", "darwin"}:
        _fail("runner works on Linux and macOS; this system has no process groups to end a scan by", 2)
    sys.unraisablehook = _repeat_interrupt
    _replace_closed_streams()
    _remove_invalid_sizes()
    words = _translate(sys.argv[1:])
    try:
        code: object = app(words, prog_name="runner", standalone_mode=False)
        sys.stdout.flush()
    except typer.exceptions.TyperException as error:
        context: Any = getattr(error, "ctx", None)
        command = context.command_path if context is not None else _command_of(words)
        what = _NO_NUMBER.sub("is not a whole number", error.format_message().rstrip("."))
        if "unexpected extra argument" in what and any(each.name == "patterns" for each in context.command.params):
            what += "; quote patterns and cron expressions, as in '*.md' or '30 2 * * *'"
        _fail(f"{what}; see `{command} --help`", error.exit_code)
    except RunnerError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except OSError as error:
        _fail_by_system(error)
    except SystemExit as error:
        # Typer and Rich exit with 1 when the reader has closed the pipe.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _fail_by_system(error.__context__)
    except Exception as error:  # noqa: BLE001  the process ends here
        _fail_by_defect(error)
    sys.exit(code if isinstance(code, int) else 0)


def _translate(words: list[str]) -> list[str]:
    """Return the options that are meant by the words that other programs have for them."""
    match words:
        case []:
            return ["--help"]
        case ["version"]:
            return ["--version"]
        case ["help", *command]:
            return [*command, "--help"]
        case _:
            return words


def _repeat_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raise an interrupt again that Python has swallowed in a callback, such as one of its import system."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        # A little later: raised here, it would be swallowed again.
        again = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


def _command_of(words: list[str]) -> str:
    """Find the command of a command line; the error of an option without a value does not contain it."""
    path, group = "runner", typer.main.get_command(app)
    for word in words:
        inner = getattr(group, "commands", {}).get(word)
        if inner is not None:
            path, group = f"{path} {word}", group.load(word) if isinstance(group, CommandGroup) else inner
    return path


def _fail(message: str, code: int) -> NoReturn:
    try:
        logs.write_last_line(message)
    except (ImportError, MemoryError):  # without memory nothing can be imported
        sys.stderr.write(f"runner: {message}\n")
    sys.exit(code)


def _fail_by_defect(error: Exception) -> NoReturn:
    """Exit after an unexpected error: a shortage of the machine may appear anywhere, others are defects."""
    if is_condition(error):
        _fail(f"it can't go on: {reason_of(error)}; free some, or raise its limits", 1)
    try:
        where = f"its traceback is in {logs.log_defect()}"
    except OSError as failed:
        where = f"its traceback can't be written: {reason_of(failed)}"
    _fail(f"a defect in runner: {type(error).__name__}; {where}", 3)


def _remove_invalid_sizes() -> None:
    """Remove impossible terminal sizes from the environment, which Rich does not check."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        text = os.environ.get(name, "")
        if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text)):
            os.environ.pop(name, None)


def _fail_by_system(error: OSError) -> NoReturn:
    """Exit after an error of the operating system, perhaps of the output."""
    if error.errno == errno.ENAMETOOLONG:
        _fail(f"the path {str(error.filename)[:60]!r}… is too long; name a shorter one", 2)
    if error.errno == errno.ENOENT and error.filename is None:  # only os.getcwd() raises it so
        _fail("the working directory has been deleted; change to another one", 2)
    if error.errno not in {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}:
        _fail_by_defect(error)
    # Python would report the error again when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:  # the reader closed the pipe
        sys.exit(0)
    _fail(f"writing failed: {reason_of(error)}; free some space, or send the output elsewhere", 1)


def _replace_closed_streams() -> None:
    """Open streams that the shell has closed, as in ``>&-``; the next opened file would get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
