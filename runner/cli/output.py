"""Writes the answer of a command to stdout in the chosen format."""

import sys
from collections.abc import Callable, Iterable, Sequence

import rich.console
import rich.text

from runner.cli.options import FormatName
from runner.output import console, formats
from runner.output.records import Record


def emit(
    fmt: FormatName,
    view: Callable[[], Iterable["rich.console.RenderableType"]],
    records: Iterable[Record] = (),
    *,
    columns: Sequence[str] = (),
    document: Callable[[], Record] | None = None,
) -> None:
    """Write an answer; only this function depends on the format.

    Args:
        fmt: The format.
        view: Renders the tables; called only for the format table, since it loads Rich.
        records: The records of a listing, written one by one.
        columns: Their keys, for the header of an empty CSV.
        document: Returns the one record of an answer that is not a listing, for JSON; the other formats write
            *records* if they have columns, else this record. Its iterators are lists of records, written one by one.
    """
    if fmt == "table":
        write_views(view())
    elif document is not None and (fmt == "json" or (fmt == "jsonl" and not columns)):
        sys.stdout.writelines(formats.to_json(document(), indented=fmt == "json"))
    else:
        if document is not None and not columns:
            records = [document()]
        for line in formats.listing(records, fmt, columns=columns):
            sys.stdout.write(line + "\n")


def write_views(views: Iterable["rich.console.RenderableType"]) -> None:
    """Write tables and lines; the terminal wraps lines, and tables fit its width."""
    stdout = console.make_console()
    for view in views:
        stdout.print(view, soft_wrap=isinstance(view, rich.text.Text))
