from collections.abc import Iterator

import pytest
from conftest import MakePlace
from history_examples import listing, opened, play, snapshot, some_job

from runner.history.database import Database
from runner.history.maintenance import find_faults


@pytest.fixture
def place(make_place: MakePlace) -> Iterator[str]:
    """Yield the path or URL of a history with three runs."""
    with make_place() as place:
        with opened(place) as database:
            job = some_job(database)
            for names in ([b"x", b"y"], [b"y"], [b"x", b"y"]):
                play(database, job, snapshot(listing(b"", names), unreadable=[b"no"] if b"x" in names else []))
        yield str(place)


# A server checks its references and pages itself.
sqlite_only = pytest.mark.parametrize("make_place", ["sqlite"], indirect=True)


def test_a_sound_database_has_no_faults(database: Database) -> None:
    assert [] == find_faults(database)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (
            "UPDATE files SET gone_run_id = first_run_id WHERE gone_run_id IS NULL AND first_run_id = 1",
            "1 file interval ends before it begins",
        ),
        ("UPDATE problems SET gone_run_id = 0 WHERE first_run_id = 3", "1 problem interval ends before it begins"),
        ("UPDATE files SET gone_run_id = NULL", "1 file interval overlaps another of the same file"),
        ("UPDATE files SET gone_run_id = 9 WHERE gone_run_id = 2", "1 file interval overlaps another of the same file"),
        ("UPDATE files SET job_id = 2", "3 files are filed under another job than their folder"),
    ],
)
def test_impossible_rows_are_found(database: Database, statement: str, fault: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(statement)
    assert fault in find_faults(database)


@sqlite_only
def test_a_dangling_reference_is_found(database: Database) -> None:
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute("DELETE FROM jobs")
        connection.invalidate()
    assert "row 1 of folders refers to a row of jobs that is not there" in find_faults(database)


@sqlite_only
def test_a_damaged_index_is_found(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA writable_schema = ON")
        connection.exec_driver_sql(
            "UPDATE sqlite_master SET sql = replace(sql, 'first_run_id', 'gone_run_id') WHERE name = 'ix_files_first'"
        )
    database.close()
    assert any(fault.startswith("damage: ") for fault in find_faults(database))
