"""``runner lesson``: the experiments of the lesson, with all their times."""

from typing import Annotated

import typer

from runner.cli import options


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.TRYING)(lesson)


def lesson(
    directory: Annotated[
        str | None,
        typer.Argument(metavar="[DIR]", help="The directory of the lesson, default a new sample.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, max=64, help="Number of pool workers, default one per CPU.", show_default=False
        ),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=1000, help="Number of measurements of each.")] = 5,
    fmt: options.FormatOption = "table",
) -> None:
    """Run the two experiments of the lesson, in a loop and with Pool.map, and show their times.

    The lesson squares 0…99 and searches a directory tree for Markdown, and compares the CPU time of the parent process.
    This command shows the medians of wall time and of the CPU time of parent and workers.

    [bold]Examples[/bold]

    runner lesson

    runner lesson ./directories --workers 4
    """
    import tempfile
    from pathlib import Path

    from rich.progress import Progress

    from runner.cli.output import emit
    from runner.execution.lesson import carry_out_lesson
    from runner.jobs.validation import check_root
    from runner.measure.environment import DEFAULT_START_METHOD, usable_cpus
    from runner.output.console import make_console
    from runner.output.lesson import LESSON_KEYS, lesson_record, lesson_table
    from runner.samples.loading import load_recipe
    from runner.samples.writing import write_sample

    console = make_console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="runner-lesson-") as scratch,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bars,
    ):
        if directory is None:
            write_sample(load_recipe("lesson"), Path(scratch, "directories"))
            directory = f"{scratch}/directories"
        task = bars.add_task("measuring", total=4 * rounds)
        measurements = carry_out_lesson(
            check_root(directory),
            workers=workers or usable_cpus(),
            start_method=DEFAULT_START_METHOD,
            rounds=rounds,
            on_trial=lambda: bars.advance(task),
        )
    emit(fmt, lambda: [lesson_table(measurements)], map(lesson_record, measurements), columns=LESSON_KEYS)
