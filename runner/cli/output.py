"""Writing what was rendered: results to stdout, whole or line by line."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from runner.cli.options import FormatName

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from runner.output.records import Record


def write_table(*tables: "RenderableType") -> None:
    """Write tables for people."""
    from runner.output.console import make_console

    console = make_console()
    for table in tables:
        console.print(table, soft_wrap=False)


def write_lines(lines: Iterable["Text"]) -> None:
    """Write lines for people, each whole: a terminal folds what is too long for it."""
    from runner.output.console import make_console

    console = make_console()
    for line in lines:
        console.print(line, soft_wrap=True)


def write_records(records: Iterable["Record"], fmt: FormatName, *, columns: Sequence[str]) -> None:
    """Write records in one of the stable formats, as they come."""
    from runner.output.formats import Format, listing

    for line in listing(records, Format(fmt), columns=columns):
        sys.stdout.write(line + "\n")


def write_document(record: "Record", fmt: FormatName) -> None:
    """Write one record in one of the stable formats."""
    from runner.output.formats import to_json

    if fmt == "json":
        sys.stdout.write(to_json(record))
    else:
        write_records([record], fmt, columns=())
