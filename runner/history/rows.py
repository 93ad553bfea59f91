"""Rows that several others refer to, and columns that several tables have: selections, environments, owners."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Label, Row, Table, insert, select

from runner.history.tables import environments, files, selections
from runner.model.jobs import Selection, Track
from runner.model.runs import Environment, Owner
from runner.scan.snapshot import clamp


def selection_columns() -> list[Label[Any]]:
    """Give the columns that :func:`read_selection` reads."""
    return [column.label(f"selection_{column.name}") for column in selections.c if column.name != "id"]


def read_selection(row: Row[Any]) -> Selection:
    """Make a selection of a row that has :func:`selection_columns`."""
    return Selection(
        patterns=tuple(json.loads(row.selection_patterns)),
        excludes=tuple(json.loads(row.selection_excludes)),
        ignore_case=row.selection_ignore_case,
        track=Track(row.selection_track),
        one_file_system=row.selection_one_file_system,
    )


def selection_id(connection: Connection, selection: Selection) -> int:
    """Give the number of a selection, remembering it if it is new."""
    values = {
        "patterns": json.dumps(selection.patterns),
        "excludes": json.dumps(selection.excludes),
        "ignore_case": selection.ignore_case,
        "track": selection.track.value,
        "one_file_system": selection.one_file_system,
    }
    return _get_or_insert(connection, selections, values)


def environment_columns() -> list[Label[Any]]:
    """Give the columns that :func:`read_environment` reads."""
    return [column.label(f"environment_{column.name}") for column in environments.c if column.name != "id"]


def read_environment(row: Row[Any]) -> Environment:
    """Make an environment of a row that has :func:`environment_columns`."""
    names = (column.name for column in environments.c if column.name != "id")
    return Environment(**{name: row._mapping[f"environment_{name}"] for name in names})  # noqa: SLF001  its public name


def environment_id(connection: Connection, environment: Environment) -> int:
    """Give the number of an environment, remembering it if it is new."""
    return _get_or_insert(connection, environments, asdict(environment))


def owner_columns(owner: Owner | None) -> dict[str, Any]:
    """Give what the columns of a row hold that say who carries it out; nobody does what has ended."""
    return {
        "owner_host": owner and owner.host,
        "owner_boot": owner and owner.boot,
        "owner_pid": owner and owner.pid,
        "owner_started_s": owner and owner.started_s,
    }


def read_owner(row: Row[Any]) -> Owner:
    """Make an owner of a row that has one."""
    return Owner(host=row.owner_host, boot=row.owner_boot, pid=row.owner_pid, started_s=row.owner_started_s)


def insert_row(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    """Insert a row and give the number it was given."""
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    assert key is not None  # noqa: S101  a row was inserted
    return int(key[0])


def _get_or_insert(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    """Give the number of the row with these values, inserting it if there is none."""
    found = connection.execute(
        select(table.c.id).where(*(table.c[name] == value for name, value in values.items()))
    ).scalar()
    if found is None:
        found = insert_row(connection, table, values)
    return int(found)


STAT_COLUMNS = (files.c.size_bytes, files.c.mtime_ns, files.c.mtime_exact)


def stat_values(stat: tuple[int | None, int | None]) -> tuple[int | None, int | None, str | None]:
    """Return what :data:`STAT_COLUMNS` keep of a size and a modification time in nanoseconds, however far it is."""
    size_bytes, mtime_ns = stat
    if mtime_ns is None:
        return size_bytes, None, None
    near_ns = clamp(mtime_ns)
    return size_bytes, near_ns, None if near_ns == mtime_ns else str(mtime_ns)


def read_stat(size_bytes: int | None, mtime_ns: int | None, mtime_exact: str | None) -> tuple[int | None, int | None]:
    """Return a size and a modification time in nanoseconds from their columns."""
    return size_bytes, mtime_ns if mtime_exact is None else int(mtime_exact)
