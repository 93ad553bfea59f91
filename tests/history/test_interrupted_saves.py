"""A save in several transactions is invisible until its end, and nothing of it is left when it is interrupted."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import MakePlace
from history_examples import NOW, OWNER, begin, listing, opened, play, snapshot, some_job

from runner.execution.recovery import recover
from runner.history.contents import (
    count_changes,
    count_directories,
    has_directory,
    list_changes,
    list_files,
    list_problems,
    list_versions,
)
from runner.history.database import Database
from runner.history.jobs import remove_job
from runner.history.maintenance import copy_database, find_faults
from runner.history.prune import Retention, prune
from runner.history.recording import RunOutcome, finish_run
from runner.history.runs import get_run, list_owners
from runner.model.jobs import Job
from runner.model.runs import Status

ROWS = 3
BEFORE = snapshot(
    listing(b"", {b"x": (1, 1), b"y": (1, 1)}),
    listing(b"many", {b"%d" % number: (number, 1) for number in range(8)}),
    listing(b"same", {b"x": (1, 1)}),
    listing(b"vanished", {b"x": (1, 1), b"y": (1, 1)}),
    unreadable=[b"no"],
)
AFTER = snapshot(
    listing(b"", {b"x": (2, 2), b"y": (1, 1), b"z": (1, 1)}),
    listing(b"many", {b"%d" % number: (number, 2) for number in range(1, 9)}),
    listing(b"new", {b"%d" % number: (number, 1) for number in range(8)}),
    listing(b"same", {b"x": (1, 1)}),
    listing(b"new/deep", {b"x": (1, 1)}),
    unreadable=[b"neither"],
)
OUTCOME = RunOutcome(status=Status.PARTIAL, finished_at=NOW, snapshot=AFTER)
INTERRUPTED = RunOutcome(status=Status.INTERRUPTED, finished_at=NOW)


class Stop(Exception):
    """What ends a save after some transactions."""


def after(count: int, act: Callable[[], object]) -> Callable[[], None]:
    """Return a function that acts when it is called for the last of *count* times."""
    left = count

    def called() -> None:
        nonlocal left
        left -= 1
        if not left:
            act()

    return called


def stop() -> None:
    raise Stop


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def save(database: Database, run_id: int, count: int, act: Callable[[], object] = stop) -> bool:
    """Save a run, and act after some transactions."""
    return finish_run(database, run_id, OUTCOME, max_rows=ROWS, on_written=after(count, act))


def killed(
    database: Database, run_id: int, count: int, outcome: RunOutcome = OUTCOME, *, by_owner: bool = True
) -> bool:
    """Finish a run in a process that is killed after some transactions; return whether it was."""

    def finish() -> None:
        on_written = after(count, kill_itself)
        finish_run(
            Database(database.location), run_id, outcome, max_rows=ROWS, by_owner=by_owner, on_written=on_written
        )

    database.close()  # a connection must not get into another process
    process = multiprocessing.get_context("fork").Process(target=finish)
    process.start()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


_ROWS = (
    "SELECT path, name, first_run_id, gone_run_id, size_bytes, mtime_ns FROM files JOIN folders f ON f.id = folder_id",
    "SELECT job_id, path, path_digest FROM folders",
    "SELECT job_id, path, errno, first_run_id, gone_run_id FROM problems",
    "SELECT id, mounts FROM jobs",
)
_MORE_ROWS = (
    "SELECT id, findings_digest FROM jobs",
    "SELECT job_id, path, findings_digest FROM folders",
    "SELECT id, status, files, added, removed, modified, problems FROM runs",
)


def rows(database: Database, *queries: str) -> list[list[Any]]:
    """Return all rows that saves write, by what identifies them; by default those that remain if nothing is saved."""
    with database.read() as connection:
        return [sorted(map(tuple, connection.exec_driver_sql(query)), key=repr) for query in queries or _ROWS]


def answers(database: Database, job: Job) -> list[Any]:
    """Return what every query answers about the saved runs, and about all that a running one may have written."""
    runs = [get_run(database, number) for number in (1, 2)]
    paths = (b"x", b"z", b"many/1", b"vanished/x", b"new/1")
    with database.read() as connection:
        events = sorted(connection.exec_driver_sql("SELECT run, kind, folder, name FROM file_events").all(), key=repr)
    return [
        [list(list_files(database, job.job_id, run.run_id)) for run in runs],
        [list(list_changes(database, job.job_id, number, 2)) for number in (0, 1)],
        count_changes(database, job.job_id, 0, 2),
        count_directories(database, job.job_id, 2),
        [list_problems(database, run) for run in runs],
        [list_versions(database, job.job_id, path) for path in paths],
        [has_directory(database, job.job_id, path) for path in (b"many", b"new", b"new/deep", b"vanished")],
        find_faults(database),
        events,
    ]


def prepared(database: Database) -> tuple[Job, int]:
    """Save two runs of a job and begin a third; return both."""
    job = some_job(database)
    play(database, job, snapshot(listing(b"", {b"x": (0, 0)}), listing(b"early", {b"x": (1, 1)})))
    play(database, job, BEFORE)
    return job, begin(database, job)


@contextmanager
def history_of_three(make_place: MakePlace) -> Iterator[tuple[Database, Job, int]]:
    with make_place() as place, opened(str(place)) as database:
        yield database, *prepared(database)


@pytest.fixture
def undisturbed(make_place: MakePlace) -> list[list[Any]]:
    """Return the rows of a history in which the third run was interrupted before its save, and the fourth is saved."""
    with history_of_three(make_place) as (twin, job, run_id):
        assert finish_run(twin, run_id, INTERRUPTED)
        assert finish_run(twin, begin(twin, job), OUTCOME)
        return rows(twin, *_ROWS, *_MORE_ROWS)


def test_answers_during_a_save_are_those_before_it(database: Database) -> None:
    job, run_id = prepared(database)
    before, asked = answers(database, job), []

    def ask() -> None:
        asked.append(answers(database, job))

    assert finish_run(database, run_id, OUTCOME, max_rows=ROWS, on_written=ask)
    assert len(asked) > 8
    assert [before] * len(asked) == asked
    assert answers(database, job) != before


def test_a_save_in_many_transactions_equals_one_in_one(database: Database, undisturbed: list[list[Any]]) -> None:
    job, run_id = prepared(database)
    assert finish_run(database, run_id, INTERRUPTED)
    written: list[None] = []
    assert finish_run(database, begin(database, job), OUTCOME, max_rows=ROWS, on_written=lambda: written.append(None))
    assert len(written) > 8
    assert undisturbed == rows(database, *_ROWS, *_MORE_ROWS)


def test_few_changes_are_saved_in_one_transaction(database: Database) -> None:
    _, run_id = prepared(database)
    assert finish_run(database, run_id, OUTCOME, on_written=stop)


def test_nothing_is_left_by_a_process_killed_after_any_transaction(
    make_place: MakePlace, undisturbed: list[list[Any]]
) -> None:
    for count in range(1, 99):
        with history_of_three(make_place) as (database, job, run_id):
            before = answers(database, job), rows(database)
            if not killed(database, run_id, count):
                break
            assert before[0] == answers(database, job)
            assert before[1] != rows(database)
            # The process that deletes the rest is killed as well.
            if killed(database, run_id, 1 + count // 3, INTERRUPTED, by_owner=False):
                assert {run_id: None} == list_owners(database)
                assert before[0] == answers(database, job)
            recover(database, gone=OWNER)
            assert Status.INTERRUPTED is get_run(database, run_id).status
            assert before == (answers(database, job), rows(database))
            assert finish_run(database, begin(database, job), OUTCOME)
            assert undisturbed == rows(database, *_ROWS, *_MORE_ROWS)
    assert count > 8


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_save_is_repeated_after_an_error(make_place: MakePlace, count: int) -> None:
    saved = []
    for is_disturbed in (False, True):
        with history_of_three(make_place) as (database, _, run_id):
            if is_disturbed:
                with pytest.raises(Stop):
                    save(database, run_id, count)
            assert finish_run(database, run_id, OUTCOME)
            saved.append(rows(database, *_ROWS, *_MORE_ROWS))
    assert saved[0] == saved[1]


@pytest.mark.parametrize("count", [1, 9])
def test_a_failed_save_leaves_nothing(database: Database, count: int) -> None:
    job, run_id = prepared(database)
    before = answers(database, job), rows(database)
    with pytest.raises(Stop):
        save(database, run_id, count)
    assert finish_run(database, run_id, RunOutcome(status=Status.FAILED, finished_at=NOW))
    assert before == (answers(database, job), rows(database))


@pytest.mark.parametrize("count", [1, 5])
def test_an_owner_that_lost_its_run_saves_nothing(database: Database, count: int) -> None:
    job, run_id = prepared(database)
    before = rows(database)
    assert not save(database, run_id, count, lambda: finish_run(database, run_id, INTERRUPTED, by_owner=False))
    assert before == rows(database)
    assert Status.INTERRUPTED is get_run(database, run_id).status
    assert finish_run(database, begin(database, job), OUTCOME)


def test_an_owner_writes_nothing_while_its_run_is_discarded(database: Database) -> None:
    _, run_id = prepared(database)
    before = rows(database)
    owners: list[bool] = []

    def take() -> None:
        discarding = after(1, lambda: owners.append(finish_run(database, run_id, OUTCOME)))
        finish_run(database, run_id, INTERRUPTED, by_owner=False, max_rows=ROWS, on_written=discarding)

    assert not save(database, run_id, 6, take)
    assert [False] == owners
    assert before == rows(database)


def test_pruning_during_a_save_keeps_what_it_knows(database: Database) -> None:
    job = some_job(database)
    play(database, job, snapshot(listing(b"comes back", {b"x": (1, 1)}), listing(b"stays", {b"x": (1, 1)})))
    for size in range(2, 4):
        play(database, job, snapshot(listing(b"stays", {b"x": (size, 1)})))
    run_id = begin(database, job)
    found = snapshot(listing(b"new", {b"%d" % one: (1, 1) for one in range(9)}), listing(b"comes back", {b"x": (1, 1)}))
    outcome = RunOutcome(status=Status.SUCCEEDED, finished_at=NOW, snapshot=found)
    on_written = after(1, lambda: prune(database, Retention(newest=1)))
    assert finish_run(database, run_id, outcome, max_rows=ROWS, on_written=on_written)
    assert 10 == len(list(list_files(database, job.job_id, run_id)))
    assert [b"stays/x"] == [file.path for file in list_files(database, job.job_id, run_id - 1)]
    assert [] == find_faults(database)


def test_a_removed_job_is_saved(database: Database) -> None:
    job, run_id = prepared(database)
    assert save(database, run_id, 2, lambda: remove_job(database, job, NOW))
    assert 9 < len(list(list_files(database, job.job_id, run_id)))


def test_a_backup_of_a_half_saved_run_is_recovered(history: Database, tmp_path: Path) -> None:
    job, run_id = prepared(history)
    before = answers(history, job), rows(history)
    copy = tmp_path / "copy.db"
    assert save(history, run_id, 7, lambda: copy_database(history, copy))
    with opened(copy) as database:
        assert before[0] == answers(database, job)
        assert [run_id] == recover(database, gone=OWNER)
        assert before == (answers(database, job), rows(database))


def test_what_an_interrupted_save_left_is_a_fault(history: Database) -> None:
    _, run_id = prepared(history)
    with pytest.raises(Stop):
        save(history, run_id, 9)
    with history.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET status = 'interrupted' WHERE status = 'running'")
    assert any("saved nothing" in fault for fault in find_faults(history))
