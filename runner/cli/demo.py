"""``runner demo``: a tour in a scratch directory with the real commands and daemon."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import options, output
from runner.history import database as databases
from runner.history import runs, upgrade
from runner.model.errors import DaemonError
from runner.model.runs import Run, Status
from runner.output import verdict

# The longest wait for a run.
_PATIENCE_S = 30


def demo(*, firings: Annotated[int, options.option("Number of runs to wait for.", least=2, most=100)] = 8) -> None:
    """Show a tour in a scratch directory: a sample tree, a schedule, some runs, their history and a verdict.

    [bold]Example[/bold]

    runner demo
    """
    with tempfile.TemporaryDirectory(prefix="runner-demo-") as scratch:
        directories = Path(scratch, "directories")
        database_path = Path(scratch, "runner.db")
        environment = {**os.environ, "RUNNER_DB": str(database_path)}
        _call(environment, scratch, "sample", "./directories", "--recipe", "demo")
        _call(environment, scratch, "schedule", "./directories", "--every", "2s")
        database = upgrade.open_database(databases.locate(str(database_path)))
        try:
            with _daemon(environment, scratch):
                for number in range(1, firings + 1):
                    _wait_for_run(database, number)
                    options.echo(f"  run {number} of {firings}")
                    if number == firings // 2:
                        _change(directories)
            done = _list_done(database)
        finally:
            database.close()
        _call(environment, scratch, "history")
        for run in [run for run in done if run.modified][:1]:
            _call(environment, scratch, "show", str(run.run_id))
        output.write_views([verdict.verdict_view(done)])


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


def _list_done(database: "databases.Database") -> list[Run]:
    return runs.list_runs(database, statuses=[Status.SUCCEEDED])


def _wait_for_run(database: "databases.Database", number: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while len(_list_done(database)) < number:
        if time.monotonic() > deadline:
            raise DaemonError(f"run {number} did not arrive within {_PATIENCE_S} s; see what the daemon says above")
        time.sleep(0.1)


def _change(directories: Path) -> None:
    """Add a file, remove one and change one, for the next run to see."""
    found = sorted(directories.rglob("*.md"))
    found[0].unlink()
    found[1].write_text("changed by the demo\n", encoding="utf-8")
    found[2].with_name("added-by-the-demo.md").write_text("added\n", encoding="utf-8")
    typer.echo("\nA file is added, one removed, one changed.\n")
