"""``runner sample`` and ``lesson``: a sample tree from a recipe, and the experiments of the lesson on one."""

import tempfile
from pathlib import Path
from typing import Annotated

from runner.cli import foreground, options, output
from runner.execution import lesson as experiments
from runner.jobs import validation
from runner.measure import environment
from runner.model.errors import UsageError
from runner.model.units import format_count
from runner.output import lesson as rendering
from runner.samples import loading, writing


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
        f"wrote {format_count(loaded.files, 'file')} in {format_count(loaded.folders, 'folder')} to {directory}"
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
