"""A database of an older schema is upgraded without loss: every row of the sample is there again, and in the views."""

import csv
import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Program
from golden_sample import FOLDER, make_postgresql, make_sqlite, read_rows
from golden_world import compare_golden

VIEWS = Path(__file__).parent / "views"
# What migrations after 0006 have renamed: a table's name, and a column's as (the sample's table, its name); and what
# they have dropped or turned into something else on purpose, each with a test of its own that says where it went.
RENAMED_TABLES: dict[str, str] = {}
RENAMED_COLUMNS = {
    ("jobs", "armed_at"): "schedule_start",
    ("jobs", "accounted_at"): "recorded_until",
    ("jobs", "schedule_anchor_at"): "interval_origin",
}
DROPPED = {("alembic_version", "version_num"), ("runs", "owed")}

_SELECT: Callable[[str, str], str] = "SELECT {} FROM {}".format
# Gives the names of the columns and the rows.
Query = Callable[[str], tuple[list[str], list[tuple[Any, ...]]]]
both_kinds = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@contextmanager
def upgraded(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Program, Query]]:
    """Yield the program with the upgraded sample as its database, and what asks that beside it."""

    def ask(text: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        cursor = connection.execute(text if kind == "sqlite" else text.encode())
        return [column[0] for column in cursor.description], cursor.fetchall()

    connection: Any
    if kind == "sqlite":
        make_sqlite(folder / "runner.db")
        program = Program(folder=folder, environment={**os.environ, "RUNNER_DB": str(folder / "runner.db")})
        program.out("db", "upgrade")
        with closing(sqlite3.connect(program.database)) as connection:
            yield program, ask
        return
    import psycopg

    server = request.getfixturevalue("postgresql")
    with server.fresh() as name:
        where: dict[str, Any] = {"host": str(server.folder), "user": "runner", "dbname": name}
        make_postgresql(**where)
        program = Program(folder=folder, environment={**os.environ, "RUNNER_DB": server.url(name)})
        program.out("db", "upgrade")
        with psycopg.connect(**where, autocommit=True) as connection:
            yield program, ask


def expected_rows() -> dict[str, list[dict[str, Any]]]:
    """Return the sample's rows by table, as they are named today."""
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
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return "" if value is None else str(int(value) if isinstance(value, bool) else value)


def as_lines(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps({name: comparable(value) for name, value in sorted(row.items())}) for row in rows)


@both_kinds
def test_every_row_is_there_after_the_upgrade(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with upgraded(kind, request, tmp_path) as (program, ask):
        assert program.out("db", "check").endswith(" is sound\n")
        for table, rows in expected_rows().items():
            names, found = ask(_SELECT(", ".join(rows[0]), table))
            assert as_lines(rows) == as_lines([dict(zip(names, row, strict=True)) for row in found]), table


@both_kinds
@pytest.mark.parametrize("view", ["run_history", "execution_timings", "file_events"])
def test_views_show_the_golden_rows(kind: str, view: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with upgraded(kind, request, tmp_path) as (_, ask):
        names, found = ask(_SELECT("*", view))
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(names)
    rows = [[ascii(comparable(value))[1:-1] for value in row] for row in found]
    rows.sort(key=lambda row: (int(row[0]), row))
    writer.writerows(rows)
    compare_golden(VIEWS / f"{view}.csv", lines.getvalue())


@both_kinds
def test_numbers_go_on_behind_those_of_the_sample(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with upgraded(kind, request, tmp_path) as (program, _):
        program.out("schedule", "tree", "--every", "1h")
        assert [17] == [job["number"] for job in program.json("jobs") if job["name"] == "tree"]


def test_the_sample_has_rows_in_every_table() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript((FOLDER / "schema-sqlite.sql").read_text("utf-8"))
        made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert made - {"sqlite_sequence"} == {table for table, _ in read_rows()}
