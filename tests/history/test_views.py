"""The views for analysts, read as an analyst does: by SQL and by pandas."""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from history_examples import listing, opened, play, snapshot, some_job

from runner.history.contents import list_changes
from runner.history.database import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def made(database: Database) -> list[tuple[int, int]]:
    """Return the runs of a small history, with their jobs."""
    first, second = some_job(database, "first"), some_job(database, "second")
    steps: list[tuple[Any, dict[bytes, Any]]] = [
        (first, {b"x.md": (1, 1), b"y.md": (2, 2)}),
        (second, {b"x.md": (1, 1)}),
        (first, {b"x.md": (5, 9), b"z\xff.md": (3, 3)}),
        (first, {b"x.md": (5, 9)}),
        (first, {b"x.md": (5, 9), b"z\xff.md": (4, 4)}),
    ]
    return [
        (job.job_id, play(database, job, snapshot(listing(b"", []), listing(b"caf\xe9", found))).run_id)
        for job, found in steps
    ]


def test_file_events_equal_the_changes(path: Path) -> None:
    with opened(path) as database:
        runs = made(database)
        with database.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT run, kind, folder, name, old_size_bytes, new_size_bytes FROM file_events"
            )
            events = Counter(tuple(row) for row in rows)
        expected = Counter(
            (run_id, change.kind.value, *change.path.split(b"/"), change.old_size_bytes, change.new_size_bytes)
            for job_id, run_id in runs
            for change in list_changes(database, job_id, run_id - 1, run_id)
        )
    assert expected == events


def test_a_size_known_later_is_no_event(path: Path) -> None:
    with opened(path) as database:
        job = some_job(database)
        play(database, job, snapshot(listing(b"", [b"x.md"])))
        play(database, job, snapshot(listing(b"", {b"x.md": (1, 1)})))
        with database.read() as connection:
            assert [("added",)] == connection.exec_driver_sql("SELECT kind FROM file_events").all()


def test_pandas_reads_runs_with_their_times(path: Path) -> None:
    with opened(path) as database:
        made(database)
        with database.read() as connection:
            frame = pd.read_sql("SELECT * FROM run_history", connection.connection.driver_connection)
    assert ["first", "second", "first", "first", "first"] == list(frame["job"])
    assert pd.to_datetime(frame["finished_at"]).notna().all()
