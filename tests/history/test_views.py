"""The views for analysts, read as an analyst does: by SQL and by pandas."""

from collections import Counter
from typing import Any

import pandas as pd
from history_examples import listing, play, snapshot, some_job

from runner.history.contents import list_changes
from runner.history.database import Database


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


def test_file_events_equal_the_changes(history: Database) -> None:
    runs = made(history)
    query = "SELECT run, kind, folder, name, old_size_bytes, new_size_bytes FROM file_events"
    with history.read() as connection:
        events = Counter(map(tuple, connection.exec_driver_sql(query)))
    expected = Counter(
        (run_id, change.kind.value, *change.path.split(b"/"), change.old_size_bytes, change.new_size_bytes)
        for job_id, run_id in runs
        for change in list_changes(history, job_id, run_id - 1, run_id)
    )
    assert expected == events


def test_a_size_known_later_is_no_event(history: Database) -> None:
    job = some_job(history)
    play(history, job, snapshot(listing(b"", [b"x.md"])))
    play(history, job, snapshot(listing(b"", {b"x.md": (1, 1)})))
    with history.read() as connection:
        assert [("added",)] == connection.exec_driver_sql("SELECT kind FROM file_events").all()


def test_pandas_reads_runs_with_their_times(history: Database) -> None:
    made(history)
    with history.read() as connection:
        frame = pd.read_sql("SELECT * FROM run_history", connection.connection.driver_connection)
    assert ["first", "second", "first", "first", "first"] == list(frame["job"])
    assert pd.to_datetime(frame["finished_at"]).notna().all()
