"""``runner cancel``: cancels a running run."""

from typing import Annotated

import typer

from runner.cli import options


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(rich_help_panel=options.RUNNING)(cancel)


def cancel(
    run: Annotated[int, typer.Argument(metavar="RUN", help="The number of the run.", show_default=False)],
    db: options.Db = None,
) -> None:
    """Cancel a running run of any process. The result of a strategy that has finished is kept.

    [bold]Example[/bold]

    runner cancel 12
    """
    from runner.execution.cancel import cancel as cancel_run
    from runner.model.runs import Status

    with options.opened(db) as (database, _):
        ended = cancel_run(database, run)
    if ended.status is Status.CANCELLED:
        typer.echo(f"run {run} of {ended.job!r} was cancelled", err=True)
    else:
        typer.echo(f"run {run} of {ended.job!r} ended before it could be cancelled: {ended.status.value}", err=True)
        raise typer.Exit(1)
