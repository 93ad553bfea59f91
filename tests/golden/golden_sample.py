"""The sample database: the tables of schema 0006 for each kind of database, and its rows, which are the same for both.

Whatever the schema is today, a database of that of the sample is made from these files by nothing but SQL. The files
were written by runner when 0006 was its newest schema, and stay as they are.
"""

import base64
import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "sample"
ROWS = FOLDER / "rows.jsonl.gz"
_INSERT: Callable[[str, str, str], str] = "INSERT INTO {} ({}) VALUES ({})".format
_FOLLOW: Callable[[str, str], str] = "SELECT setval('{}', max(id)) FROM {}".format


def read_rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield table and values of each row, those first that others refer to."""
    with gzip.open(ROWS, "rt", encoding="ascii") as lines:
        for line in lines:
            table, row = json.loads(line)
            yield table, {name: _decode(value) for name, value in row.items()}


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"]) if "base64" in value else datetime.fromisoformat(value["at"])
    return value


def _sqlite_value(value: Any) -> Any:
    return f"{value.replace(tzinfo=None):%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value


def make_sqlite(path: Path) -> None:
    """Make the sample database in a file."""
    path.touch(mode=0o600)  # as runner creates it
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript((FOLDER / "schema-sqlite.sql").read_text("utf-8"))
        for table, row in read_rows():
            values = [_sqlite_value(value) for value in row.values()]
            connection.execute(_INSERT(table, ", ".join(row), ", ".join("?" * len(row))), values)


def make_postgresql(**where: Any) -> None:
    """Make the sample database in an empty one of a server; *where* as psycopg's connect takes it."""
    import psycopg

    with psycopg.connect(**where) as connection:
        connection.execute((FOLDER / "schema-postgresql.sql").read_bytes())
        for table, row in read_rows():
            insert = _INSERT(f"public.{table}", ", ".join(row), ", ".join(["%s"] * len(row)))
            connection.execute(insert.encode(), list(row.values()))
        sequences = "SELECT c.oid::regclass, d.refobjid::regclass FROM pg_class c JOIN pg_depend d ON d.objid = c.oid "
        owned = "WHERE c.relkind = 'S' AND d.deptype = 'a'"
        for sequence, table in connection.execute(f"{sequences}{owned}".encode()).fetchall():
            connection.execute(_FOLLOW(sequence, table).encode())
