"""Selections, environments, owners and stats: rows and columns that several tables share."""

import json
from array import array
from dataclasses import asdict
from itertools import repeat
from typing import Any

from sqlalchemy import Connection, Label, Row, Table, insert, select

from runner.history.tables import environments, files, selections
from runner.model.jobs import Selection, Track
from runner.model.runs import Environment, Owner
from runner.scan.snapshot import TYPE_CODE, UNKNOWN, clamp, found_names, unpack_stats


def selection_columns() -> list[Label[Any]]:
    """Return the columns for :func:`read_selection`."""
    return [column.label(f"selection_{column.name}") for column in selections.c if column.name != "id"]


def read_selection(row: Row[Any]) -> Selection:
    """Return the selection of a row with :func:`selection_columns`."""
    return Selection(
        patterns=tuple(json.loads(row.selection_patterns)),
        excludes=tuple(json.loads(row.selection_excludes)),
        ignore_case=row.selection_ignore_case,
        track=Track(row.selection_track),
        one_file_system=row.selection_one_file_system,
    )


def selection_id(connection: Connection, selection: Selection) -> int:
    """Return the number of a selection, after inserting it if it is new."""
    values = {
        "patterns": json.dumps(selection.patterns),
        "excludes": json.dumps(selection.excludes),
        "ignore_case": selection.ignore_case,
        "track": selection.track.value,
        "one_file_system": selection.one_file_system,
    }
    return _get_or_insert(connection, selections, values)


def environment_columns() -> list[Label[Any]]:
    """Return the columns for :func:`read_environment`."""
    return [column.label(f"environment_{column.name}") for column in environments.c if column.name != "id"]


def read_environment(row: Row[Any]) -> Environment:
    """Return the environment of a row with :func:`environment_columns`."""
    names = (column.name for column in environments.c if column.name != "id")
    return Environment(**{name: row._mapping[f"environment_{name}"] for name in names})  # noqa: SLF001  its public name


def environment_id(connection: Connection, environment: Environment) -> int:
    """Return the number of an environment, after inserting it if it is new."""
    return _get_or_insert(connection, environments, asdict(environment))


def owner_columns(owner: Owner | None) -> dict[str, Any]:
    """Return the values of the owner columns; None for a run or calibration that has ended."""
    return {
        "owner_host": owner and owner.host,
        "owner_boot": owner and owner.boot,
        "owner_pid": owner and owner.pid,
        "owner_started_s": owner and owner.started_s,
    }


def read_owner(row: Row[Any]) -> Owner:
    """Return the owner of a row."""
    return Owner(host=row.owner_host, boot=row.owner_boot, pid=row.owner_pid, started_s=row.owner_started_s)


def insert_row(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    """Add a row and return its number."""
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    assert key is not None  # noqa: S101  a row was inserted
    return int(key[0])


def _get_or_insert(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    same = (table.c[name] == value for name, value in values.items())
    row_id = connection.execute(select(table.c.id).where(*same)).scalar()
    return insert_row(connection, table, values) if row_id is None else int(row_id)


# Size in bytes and modification time in nanoseconds; None if unknown.
Stat = tuple[int | None, int | None]
STAT_COLUMNS = (files.c.size_bytes, files.c.mtime_ns, files.c.mtime_exact)
# The values of a name and of these columns.
FileRow = tuple[bytes, int | None, int | None, str | None]


def file_rows(names: bytes, stats: bytes) -> list[FileRow]:
    """Return the values of a name and of :data:`STAT_COLUMNS` for each file that was found in a directory."""
    found = found_names(names)
    if not stats:
        return [(name, None, None, None) for name in found]
    numbers = array(TYPE_CODE, stats)
    if UNKNOWN in numbers:
        return [_file_row(*file) for file in zip(found, unpack_stats(stats), strict=True)]
    return list(zip(found, numbers[::2], numbers[1::2], repeat(None, len(found)), strict=True))


def _file_row(name: bytes, stat: Stat) -> FileRow:
    size_bytes, mtime_ns = stat
    if mtime_ns is None:
        return name, size_bytes, None, None
    clamped_ns = clamp(mtime_ns)
    return name, size_bytes, clamped_ns, None if clamped_ns == mtime_ns else str(mtime_ns)


def read_stat(size_bytes: int | None, mtime_ns: int | None, mtime_exact: str | None) -> Stat:
    """Return a size and a modification time in nanoseconds from their columns."""
    return size_bytes, mtime_ns if mtime_exact is None else int(mtime_exact)
