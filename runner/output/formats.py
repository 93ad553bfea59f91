"""Records as JSON, JSON lines and CSV; none of them ever holds a raw control or bidirectional character."""

import csv
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from runner.model.jobs import Event
from runner.model.runs import Change, Difference, Problem, Run
from runner.output.records import EXECUTION_KEYS, Record, show_record
from runner.output.text import printable

# The column groups of a run's executions in CSV, fixed so that the columns do not depend on what was run.
STRATEGIES = ("sequential", "pool", "incremental")
# The lists that ``show`` puts in place of counts; in CSV they are counts again.
_COUNTED = frozenset({"changes", "problems", "differences", "notifications"})
# With what a cell begins that a spreadsheet takes for a formula, also in full width.
_EXECUTED = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
# Without indentation the encoder is the one written in C: a million files take seconds instead of a minute. Like
# json.dumps it escapes everything but printable ASCII.
_encode = json.JSONEncoder(allow_nan=False).encode


def to_json(document: Record, *, indented: bool = True) -> Iterator[str]:
    """Yield one document over several lines, indented by two, or on one, with a newline at its end, in pieces.

    A value that is an iterator is a list of records of simple values, which are written one by one.
    """
    line, item, field = ("\n  ", "\n    ", "\n      ") if indented else ("", "", "")
    comma = "," if indented else ", "
    # Without its own indentation for the reason above.
    encode = json.JSONEncoder(allow_nan=False, separators=(comma + field, ": ")).encode
    before = "{"
    for key, value in document.items():
        yield f"{before}{line}{_encode(key)}: "
        before = comma
        if isinstance(value, Iterator):
            opening = "["
            for record in value:
                yield f"{opening}{item}{{{field}{encode(record)[1:-1]}{item}}}"
                opening = comma
            yield "[]" if opening == "[" else f"{line}]"
        else:
            # Strings contain no newlines, which are escaped.
            yield json.dumps(value, indent=2 if indented else None, allow_nan=False).replace("\n", line)
    yield "\n}\n" if indented else "}\n"


def event_text(
    run: Run, changes: Iterable[Change], problems: Sequence[Problem], differences: Sequence[Difference], event: Event
) -> Iterator[str]:
    """Yield what a hook reads, in pieces: the record of ``show`` and the event, on one line."""
    return to_json(show_record(run, changes, problems, differences) | {"event": event.value}, indented=False)


def listing(records: Iterable[Record], fmt: str, *, columns: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of records, without newlines, one by one, so that a million need no room.

    JSON is a list with one record per line. CSV follows RFC 4180 with a header; null is an empty cell, and any text
    stands as :func:`~runner.output.text.printable` shows it, so that no cell spans lines. ``executions`` become columns
    such as ``pool_wall_s``, the lists of ``show`` (``changes`` and the like) become counts, other lists are joined by
    spaces, and a nested record becomes columns such as ``environment_host``.

    Text that a spreadsheet would execute follows an apostrophe in csv, not in raw-csv.

    Args:
        records: All with the same keys in the same order, else ValueError.
        fmt: json, jsonl, csv or raw-csv.
        columns: Keys of the records, such as ``RUN_KEYS``; without them an empty listing has no CSV header.
    """
    if fmt == "json":
        separator = "["
        for record in records:
            yield separator
            separator = f"  {_encode(record)},"
        yield from ("[]",) if separator == "[" else (separator[:-1], "]")
    elif fmt == "jsonl":
        yield from map(_encode, records)
    else:
        yield from _csv(records, columns, safe=fmt == "csv")


def _csv(records: Iterable[Record], columns: Sequence[str], *, safe: bool) -> Iterator[str]:
    rows = map(_flat, records)
    first = next(rows, None)
    names = list(_flat(dict.fromkeys(columns)) if first is None else first)
    if names:
        writer = csv.DictWriter(_Lines(), names, lineterminator="")
        yield writer.writeheader()
        for row in rows if first is None else chain((first,), rows):
            for name, cell in row.items() if safe else ():
                if isinstance(cell, str) and cell.startswith(_EXECUTED):  # controls are escaped already
                    row[name] = f"'{cell}"
            yield writer.writerow(row)


class _Lines:
    """The file a CSV writer needs; the writer returns what its ``write`` returns, here the line itself."""

    @staticmethod
    def write(line: str) -> str:
        return line


def _flat(record: Record) -> dict[str, str | float | None]:
    """Make one CSV row of a record."""
    row: dict[str, str | float | None] = {}
    for key, value in record.items():
        base = key.removesuffix("_base64")
        if key == "executions":
            row |= {f"{strategy}_{name}": None for strategy in STRATEGIES for name in EXECUTION_KEYS[1:]}
            for execution in value or ():
                if execution["strategy"] == "dask":  # an extra; the other formats have it
                    continue
                row |= {f"{execution['strategy']}_{name}": _cell(execution[name]) for name in EXECUTION_KEYS[1:]}
        elif key in _COUNTED and isinstance(value, list | Iterator):
            row[key] = sum(1 for _ in value)
        elif isinstance(value, dict):
            row |= {f"{key}_{name}": _cell(inner) for name, inner in value.items()}
        elif record.get(f"{key}_base64") is not None:
            row[key] = value  # printable already
        elif base != key and value is None and record[base] is not None:
            # JSON tells an escape from the same letters in a name; here only the bytes beside it can.
            exact = record[base]
            row[key] = None if printable(exact) == exact else b64encode(exact.encode()).decode()
        else:
            row[key] = _cell(value)
    return row


def _cell(value: Any) -> str | float | None:
    if isinstance(value, list):
        return printable(" ".join(map(str, value)))
    if isinstance(value, bool):
        return str(value).lower()
    return printable(value) if isinstance(value, str) else value
