"""Writes the answer of a command to stdout in the chosen format."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from runner.cli.options import FormatName

if TYPE_CHECKING:
    from rich.console import RenderableType

    from runner.output.records import Record


def emit(
    fmt: FormatName,
    view: Callable[[], Iterable["RenderableType"]],
    records: Iterable["Record"] = (),
    *,
    columns: Sequence[str] = (),
    document: "Callable[[], Record] | None" = None,
) -> None:
    """Write an answer; only this function depends on the format.

    Args:
        fmt: The format.
        view: Renders the tables; called only for the format table, since it loads Rich.
        records: The records of a listing, written one by one.
        columns: Their keys, for the header of an empty CSV.
        document: Returns the one record of an answer that is not a listing, for JSON; the other formats write
            *records* if they have columns, else this record.
    """
    from runner.output.formats import listing, to_json

    if fmt == "table":
        write_views(view())
    elif fmt == "json" and document is not None:
        sys.stdout.write(to_json(document()))
    else:
        if document is not None and not columns:
            records = [document()]
        for line in listing(records, fmt, columns=columns):
            sys.stdout.write(line + "\n")


def write_views(views: Iterable["RenderableType"]) -> None:
    """Write tables and lines; the terminal wraps lines, and tables fit its width."""
    from rich.text import Text

    from runner.output.console import make_console

    console = make_console()
    for view in views:
        console.print(view, soft_wrap=isinstance(view, Text))
