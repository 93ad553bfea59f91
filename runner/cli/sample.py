"""``runner sample``, ``lesson`` and ``demo``: a sample tree, the experiments of the lesson, and a tour."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import foreground, options, output
from runner.cli import web as pages
from runner.execution import lesson as experiments
from runner.history import database as databases
from runner.history import demo as example
from runner.history import runs, upgrade
from runner.jobs import validation
from runner.measure import environment
from runner.model.errors import DaemonError, UsageError
from runner.model.runs import Run, Status
from runner.model.units import format_count
from runner.output import lesson as rendering
from runner.output import trends
from runner.samples import loading, writing
from runner.web import site, sockets

# The longest wait for a run.
_PATIENCE_S = 30


def sample(
    directory: Annotated[str, options.argument("DIR", "The directory to write; new or empty.")],
    *,
    recipe: Annotated[
        str, options.option("lesson, demo, wide, deep, or a TOML file.", "--recipe", "-r", metavar="NAME|FILE")
    ] = "lesson",
) -> None:
    """Write a sample tree. A recipe writes the same bytes each time.

    [bold]Examples[/bold]

    runner sample ./directories

    runner sample /tmp/wide --recipe wide
    """
    if not directory:  # it would mean the working directory
        raise UsageError("the directory's name is empty; name a new directory, or write . for this one")
    loaded = loading.load_recipe(recipe)
    with foreground.progress_bars() as bars:
        task = bars.add_task("writing", total=loaded.files)
        writing.write_sample(loaded, Path(directory), lambda written: bars.update(task, completed=written))
    options.echo(
        f"wrote {format_count(loaded.files, 'file')} "
        f"in {format_count(loaded.folders, 'directory', 'directories')} to {directory}"
    )


def lesson(
    directory: Annotated[
        str | None, options.argument("[DIR]", "The directory of the lesson, default a new sample.")
    ] = None,
    *,
    workers: Annotated[
        int | None, options.option("Number of pool workers, default one per CPU.", least=1, most=64)
    ] = None,
    rounds: Annotated[int, options.option("Number of measurements of each.", least=1, most=1000)] = 5,
    fmt: options.FormatOption = "table",
) -> None:
    """Run the two experiments of the lesson, in a loop and with Pool.map, and show their times.

    The lesson squares 0…99 and searches a directory tree for Markdown, and compares the CPU time of the parent process.
    This command shows the medians of wall time and of the CPU time of parent and workers.

    [bold]Examples[/bold]

    runner lesson

    runner lesson ./directories --workers 4
    """
    with tempfile.TemporaryDirectory(prefix="runner-lesson-") as scratch, foreground.progress_bars() as bars:
        if directory is None:
            directory = f"{scratch}/directories"
            writing.write_sample(loading.load_recipe("lesson"), Path(directory))
        task = bars.add_task("measuring", total=4 * rounds)
        measurements = experiments.carry_out_lesson(
            validation.check_root(directory),
            workers=workers or environment.usable_cpus(),
            start_method=environment.DEFAULT_START_METHOD,
            rounds=rounds,
            on_trial=lambda: bars.advance(task),
        )
    output.emit(
        fmt,
        lambda: [rendering.lesson_table(measurements)],
        map(rendering.lesson_record, measurements),
        columns=rendering.LESSON_KEYS,
    )


def demo(
    *,
    firings: Annotated[int, options.option("Number of runs to wait for.", least=2, most=100)] = 8,
    web: Annotated[bool, options.option("Show a year of invented runs as web pages instead.", "--web")] = False,
) -> None:
    """Show a tour in a scratch directory: a sample tree, a schedule, some runs, their history and a verdict.

    [bold]Examples[/bold]

    runner demo

    runner demo --web
    """
    if web:
        _serve_demo()
        return
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
        output.write_views([trends.verdict_view(done)])
    options.echo("\nthe scratch directory is removed; try `runner schedule ~/notes --every 1h` next")


def _serve_demo() -> None:
    """Serve a year of invented runs on a free port, until ^C."""
    options.require_extra("jinja2", "starlette", "uvicorn")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # removes the directory as ^C does
    with tempfile.TemporaryDirectory(prefix="runner-demo-") as scratch, sockets.listen("127.0.0.1", 0) as listener:
        options.echo("inventing a year of runs …")
        place = str(Path(scratch, "runner.db"))
        with closing(upgrade.open_database(databases.locate(place))) as database:
            example.write_demo(database, datetime.now(UTC))
        notice = "Invented data: `runner demo` made up these jobs and runs, and deletes them when it ends."
        chosen = site.Options(port=listener.getsockname()[1], notice=notice)
        pages.serve(place, chosen, "127.0.0.1", listener, open_browser=sys.stdout.isatty())


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
