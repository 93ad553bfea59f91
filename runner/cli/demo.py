"""``runner demo``: a tour in a scratch directory with the real commands and daemon."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import options

# The longest wait for a run.
_PATIENCE_S = 30


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.TRYING)(demo)


def demo(
    firings: Annotated[int, typer.Option("--firings", min=2, max=100, help="Number of runs to wait for.")] = 8,
) -> None:
    """Show a tour in a scratch directory: a sample tree, a schedule, some runs, their history and a verdict.

    [bold]Example[/bold]

    runner demo
    """
    from runner.cli.output import write_views
    from runner.history.database import locate
    from runner.history.runs import list_runs
    from runner.history.upgrade import open_database
    from runner.model.runs import Status
    from runner.output.trends import verdict_view

    with tempfile.TemporaryDirectory(prefix="runner-demo-") as scratch:
        directories = Path(scratch, "directories")
        database_path = Path(scratch, "runner.db")
        environment = {**os.environ, "RUNNER_DB": str(database_path)}
        _call(environment, scratch, "sample", "./directories", "--recipe", "demo")
        _call(environment, scratch, "schedule", "./directories", "--every", "2s")
        database = open_database(locate(str(database_path)))
        try:
            with _daemon(environment, scratch):
                done = 0
                while done < firings:
                    done = _wait_for(lambda n=done: len(list_runs(database, statuses=[Status.SUCCEEDED])) > n, done)  # type: ignore[misc]
                    typer.echo(f"  run {done} of {firings}", err=True)
                    if done == firings // 2:
                        _change(directories)
            runs = list_runs(database, statuses=[Status.SUCCEEDED])
        finally:
            database.close()
        _call(environment, scratch, "history")
        changed = [run for run in runs if run.modified]
        if changed:
            _call(environment, scratch, "show", str(changed[0].run_id))
        write_views([verdict_view(runs)])


def _call(environment: dict[str, str], directory: str, *arguments: str) -> None:
    """Print a command and run it."""
    typer.echo(f"\n$ runner {' '.join(arguments)}")
    sys.stdout.flush()
    finished = subprocess.run([sys.executable, "-m", "runner", *arguments], env=environment, cwd=directory, check=False)
    if finished.returncode:
        raise typer.Exit(finished.returncode)


@contextmanager
def _daemon(environment: dict[str, str], directory: str) -> Iterator[None]:
    """Start the daemon of the scratch database, and stop it at the end."""
    typer.echo("\n$ runner daemon")
    sys.stdout.flush()
    daemon = subprocess.Popen([sys.executable, "-m", "runner", "daemon"], env=environment, cwd=directory)
    try:
        yield
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()


def _wait_for(arrived: Callable[[], bool], done: int) -> int:
    from runner.model.errors import DaemonError

    deadline = time.monotonic() + _PATIENCE_S
    while not arrived():
        if time.monotonic() > deadline:
            raise DaemonError(f"run {done + 1} did not arrive within {_PATIENCE_S} s; see what the daemon says above")
        time.sleep(0.1)
    return done + 1


def _change(directories: Path) -> None:
    """Add a file, remove one and change one, for the next run to see."""
    found = sorted(directories.rglob("*.md"))
    found[0].unlink()
    found[1].write_text("changed by the demo\n", encoding="utf-8")
    found[2].with_name("added-by-the-demo.md").write_text("added\n", encoding="utf-8")
    typer.echo("\nA file is added, one removed, one changed.\n")
