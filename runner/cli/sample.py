"""``runner sample``: writes a sample tree from a recipe."""

from typing import Annotated

import typer

from runner.cli import options


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.TRYING)(sample)


def sample(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="The directory to write; new or empty.", show_default=False)
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", metavar="NAME|FILE", help="lesson, demo, wide, deep, or a TOML file.")
    ] = "lesson",
) -> None:
    """Write a sample tree. A recipe writes the same bytes each time.

    [bold]Examples[/bold]

    runner sample ./directories

    runner sample /tmp/wide --recipe wide
    """
    from pathlib import Path

    from rich.progress import Progress

    from runner.model.errors import UsageError
    from runner.model.units import format_count
    from runner.output.console import make_console
    from runner.samples.loading import load_recipe
    from runner.samples.writing import write_sample

    if not directory:  # it would mean the working directory
        raise UsageError("the directory's name is empty; name a new directory, or write . for this one")
    loaded = load_recipe(recipe)
    console = make_console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("writing", total=loaded.files)
        write_sample(loaded, Path(directory), lambda written: bars.update(task, completed=written))
    typer.echo(
        f"wrote {format_count(loaded.files, 'file')} in {format_count(loaded.folders, 'folder')} to {directory}",
        err=True,
    )
