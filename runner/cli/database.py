"""``runner db``: maintains the database."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import options

_app = typer.Typer(name="db", help="Maintain the database: path, upgrade, check, backup.")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (path, upgrade, check, backup):
        _app.command()(command)
    app.add_typer(_app, rich_help_panel=options.CARE)


def path(db: options.Db = None) -> None:
    """Print the path or URL of the database.

    [bold]Example[/bold]

    runner db path
    """
    from runner.cli.settings import load_settings
    from runner.history.database import locate
    from runner.output.text import harmless

    sys.stdout.write(f"{harmless(str(locate(load_settings(db).db)))}\n")


def upgrade(db: options.Db = None) -> None:
    """Upgrade the schema after a backup. Every other command does this automatically.

    [bold]Example[/bold]

    runner db upgrade
    """
    from runner.history.upgrade import REVISIONS
    from runner.output.text import harmless

    with options.opened(db, creating=True) as (database, _):
        sys.stdout.write(f"{harmless(str(database.location))} has the schema {REVISIONS[-1]}, the newest\n")


def check(db: options.Db = None) -> None:
    """Check the pages, references and intervals of the database. Exits with 1 if something is wrong.

    Also lists its files and directories that other users can access.

    [bold]Example[/bold]

    runner db check
    """
    from runner.history.maintenance import find_faults
    from runner.output.text import harmless

    with options.answering(db) as view:
        options.require(view)
        faults = find_faults(view)
        options.warn_of_readers(view)
        for line in view.location.find_wide_modes():
            typer.echo(f"note: {harmless(line)}", err=True)
        for fault in faults:
            sys.stdout.write(f"{fault}\n")
        if faults:
            raise typer.Exit(1)
        sys.stdout.write(f"{harmless(str(view.location))} is sound\n")


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the copy.", show_default=False)],
    db: options.Db = None,
) -> None:
    """Copy the database to FILE in one consistent state, even while it is in use.

    [bold]Example[/bold]

    runner db backup /backup/runner-$(date +%F).db
    """
    from runner.history.maintenance import copy_database
    from runner.output.text import harmless

    with options.opened(db) as (database, _):
        options.require(database)
        copy_database(database, target)
    sys.stdout.write(f"{harmless(str(target))}\n")
