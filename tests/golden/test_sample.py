"""A database of an older schema is upgraded without loss: every row of the sample is there again."""

import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Program
from golden_sample import make_postgresql, make_sqlite, read_rows
from postgresql_server import PostgresqlServer

# What migrations after 0006 have renamed: a table's name, and a column's as (the sample's table, its name); and what
# they have dropped or turned into something else on purpose, each with a test of its own that says where it went.
RENAMED_TABLES: dict[str, str] = {}
RENAMED_COLUMNS: dict[tuple[str, str], str] = {}
DROPPED: set[tuple[str, str]] = {("alembic_version", "version_num")}


def expected_rows() -> dict[str, list[dict[str, Any]]]:
    """Give the sample's rows by table, as they are named today."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for table, row in read_rows():
        kept = {name: value for name, value in row.items() if (table, name) not in DROPPED}
        named = {RENAMED_COLUMNS.get((table, name), name): value for name, value in kept.items()}
        if named:
            tables.setdefault(RENAMED_TABLES.get(table, table), []).append(named)
    return tables


def comparable(value: Any) -> str:
    """Write a value such that it is the same whatever kind of database it comes from."""
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).strftime("%Y-%m-%d %H:%M:%S.%f")
    return (
        bytes(value).hex()
        if isinstance(value, bytes | memoryview)
        else str(int(value) if value in (True, False) else value)
    )


def as_lines(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps({name: comparable(value) for name, value in sorted(row.items())}) for row in rows)


def selecting(table: str, columns: list[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608  the sample's names


def test_every_row_of_a_file_is_there_after_the_upgrade(program: Program) -> None:
    make_sqlite(program.database)
    program.out("db", "upgrade")
    assert f"{program.database} is sound\n" == program.out("db", "check")
    with closing(sqlite3.connect(program.database)) as connection:
        for table, rows in expected_rows().items():
            columns = sorted(rows[0])
            found = connection.execute(selecting(table, columns)).fetchall()
            assert as_lines(rows) == as_lines([dict(zip(columns, row, strict=True)) for row in found]), table


def test_every_row_on_a_server_is_there_after_the_upgrade(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    import psycopg

    with postgresql.fresh() as name:
        make_postgresql(host=str(postgresql.folder), user="runner", dbname=name)
        program = Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": postgresql.url(name)})
        program.out("db", "upgrade")
        assert program.out("db", "check").endswith("is sound\n")
        with psycopg.connect(host=str(postgresql.folder), user="runner", dbname=name) as connection:
            for table, rows in expected_rows().items():
                columns = sorted(rows[0])
                found = connection.execute(selecting(table, columns).encode()).fetchall()
                assert as_lines(rows) == as_lines([dict(zip(columns, row, strict=True)) for row in found]), table


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_numbers_go_on_behind_those_of_the_sample(kind: str, request: pytest.FixtureRequest, program: Program) -> None:
    (program.folder / "tree").mkdir()
    if kind == "sqlite":
        make_sqlite(program.database)
        program.out("schedule", "tree", "--every", "1h")
        assert [17] == [job["number"] for job in program.json("jobs") if job["name"] == "tree"]
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    with server.fresh() as name:
        make_postgresql(host=str(server.folder), user="runner", dbname=name)
        program.environment["RUNNER_DB"] = server.url(name)
        program.out("schedule", "tree", "--every", "1h")
        assert [17] == [job["number"] for job in program.json("jobs") if job["name"] == "tree"]


def test_the_sample_has_rows_in_every_table() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript((Path(__file__).parent / "sample" / "schema-sqlite.sql").read_text("utf-8"))
        made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    filled = {table for table, _ in read_rows()}
    assert made - {"sqlite_sequence"} == filled
