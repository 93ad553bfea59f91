"""After any pruning, the remaining runs answer as before; and the check of the database finds what is wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from firings import add_due, add_not_run
from history_examples import NOW, begin, count_rows, listing, play, snapshot, some_job

from runner.history.contents import list_changes, list_files, list_problems
from runner.history.database import Database
from runner.history.jobs import list_recorded_until
from runner.history.maintenance import compact, find_faults, size_bytes
from runner.history.prune import FAILURES, Pruned, Retention, count_prunable, prune
from runner.history.recording import RunOutcome, finish_run
from runner.history.runs import get_run, list_runs
from runner.model.jobs import Job
from runner.model.runs import Status

LATER = datetime.now(UTC) + timedelta(days=999)


def some_history(database: Database, job: Job, random: Random, runs: int) -> None:
    """Save runs of a tree that changes at random; some fail, some are missed."""
    tree: dict[bytes, dict[bytes, tuple[int, int]]] = {b"": {}, b"a": {}, b"b": {}}
    for _ in range(runs):
        for _ in range(random.randrange(4)):
            folder = tree[random.choice(list(tree))]
            name = b"%d.md" % random.randrange(6)
            if random.random() < 0.4:
                folder.pop(name, None)
            else:
                folder[name] = random.randrange(99), random.randrange(99)
        match random.randrange(10):
            case 0:
                play(database, job, None)
            case 1:
                add_not_run(database, job, Status.MISSED, NOW, now=NOW, message="m", missed=3)
            case 2:
                play(database, job, snapshot(listing(b"", tree[b""]), unreadable=[b"a"]))
            case _:
                play(database, job, snapshot(*(listing(path, found) for path, found in tree.items())))


def answers(database: Database, job: Job) -> dict[int, tuple[object, ...]]:
    """Return the answers of all queries for each run of a job."""
    return {
        run.run_id: (
            run,
            list(list_files(database, job.job_id, run.run_id)) if run.files is not None else None,
            list_problems(database, run),
            list(list_changes(database, job.job_id, run.run_id - 1, run.run_id)) if run.files is not None else None,
        )
        for run in list_runs(database, job=job)
    }


@pytest.mark.parametrize("seed", range(8))
def test_remaining_runs_answer_as_before(database: Database, seed: int) -> None:
    random = Random(seed)  # noqa: S311  chance, not secrets
    jobs = [some_job(database, "first"), some_job(database, "second")]
    for _ in range(6):
        some_history(database, random.choice(jobs), random, 6)
    before = [answers(database, job) for job in jobs]
    accounted = list_recorded_until(database)

    retention = Retention(newest=random.randrange(1, 12), failures=random.random() < 0.5)
    expected = count_prunable(database, retention)
    assert expected == prune(database, retention).runs

    assert accounted == list_recorded_until(database)
    for job, old in zip(jobs, before, strict=True):
        left = answers(database, job)
        assert left == {run_id: old[run_id] for run_id in left}
        saved = [run_id for run_id, answer in left.items() if answer[1] is not None]
        for first, second in zip(sorted(saved), sorted(saved)[1:], strict=False):
            changed = {change.path for change in list_changes(database, job.job_id, first, second)}
            ones, others = (
                {(file.path, file.size_bytes, file.mtime_ns) for file in list_files(database, job.job_id, run_id)}
                for run_id in (first, second)
            )
            assert changed == {path for path, *_ in ones ^ others}
        some_history(database, job, random, 3)  # the job continues
    assert [] == find_faults(database)


def test_no_unseen_state_is_kept(database: Database) -> None:
    job = some_job(database)
    for number in range(5):
        play(database, job, snapshot(listing(b"", {b"x.md": (number, number)}), listing(b"d%d" % number, [b"y.md"])))
    # What the oldest run that is left no longer saw is kept, since that run tells of it.
    assert Pruned(runs=3, versions=4) == prune(database, Retention(newest=2))
    assert [6, 4] == count_rows(database, "files", "folders")


def test_failures_and_running_runs_are_kept(database: Database) -> None:
    job, other = some_job(database), some_job(database, "other")
    for status in (*FAILURES, Status.CANCELLED, Status.SUCCEEDED):
        run_id = begin(database, job)
        assert finish_run(database, run_id, RunOutcome(status=status, finished_at=NOW, snapshot=snapshot()))
    going = begin(database, other)
    # The cancelled one; the last one has to stay.
    assert 1 == prune(database, Retention(since=LATER, failures=True)).runs
    assert 4 == prune(database, Retention(since=LATER)).runs
    assert Status.RUNNING is get_run(database, going).status


def test_only_older_runs_beyond_the_newest_are_deleted(database: Database) -> None:
    job = some_job(database)
    for _ in range(6):
        play(database, job, snapshot())
        add_not_run(database, job, Status.SKIPPED, NOW, now=NOW, message="m")
    assert 0 == count_prunable(database, Retention(since=NOW - timedelta(days=1), newest=1))
    assert 0 == count_prunable(database, Retention(newest=1), job.job_id + 1)
    assert 0 == count_prunable(database, Retention(newest=7))  # rows without a run do not count
    assert 4 == prune(database, Retention(since=LATER, newest=4)).runs
    assert [*range(12, 4, -1)] == [run.run_id for run in list_runs(database, job=job)]
    assert 6 == prune(database, Retention(since=LATER), job.job_id).runs  # the last saved and the last row stay


def test_the_database_shrinks(database: Database, place: str) -> None:
    job = some_job(database)
    for number in range(8):
        play(database, job, snapshot(listing(b"", {b"%d-%d.md" % (number, one): (1, 1) for one in range(3_000)})))
    before = size_bytes(database)
    prune(database, Retention(newest=1))
    compact(database)
    assert size_bytes(database) < before / 2
    if Path(place).exists():
        assert Path(place).stat().st_size == size_bytes(database)
    assert 3_000 == len(list(list_files(database, job.job_id, 8)))


def with_three_runs(database: Database) -> Database:
    job = some_job(database)
    for names in ([b"x", b"y"], [b"y"], [b"x", b"y"]):
        play(database, job, snapshot(listing(b"", names), unreadable=[b"no"] if b"x" in names else []))
    assert [] == find_faults(database)
    return database


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
        ("UPDATE files SET job_id = 2", "3 files are filed under another job than their directory"),
    ],
)
def test_impossible_rows_are_found(database: Database, statement: str, fault: str) -> None:
    with with_three_runs(database).write() as connection:
        connection.exec_driver_sql(statement)
    assert fault in find_faults(database)


# A server checks its references and pages itself.
def test_damage_of_a_file_is_found(history: Database) -> None:
    with with_three_runs(history).engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute("DELETE FROM jobs")
        driver.execute("PRAGMA writable_schema = ON")
        driver.execute("UPDATE sqlite_master SET sql = replace(sql, 'first_', 'gone_') WHERE name = 'ix_files_first'")
        connection.invalidate()
    history.close()
    faults = find_faults(history)
    assert "row 1 of folders refers to a row of jobs that is not there" in faults
    assert any(fault.startswith("damage: ") for fault in faults)


def test_a_run_whose_retry_waits_is_kept(database: Database) -> None:
    job = some_job(database)
    run = play(database, job, None)
    add_due(database, job, NOW, attempt=2, retry_of=run.run_id)
    play(database, job, snapshot(listing(b"", [])))  # a manual run meanwhile
    assert Pruned() == prune(database, Retention(newest=1))
    assert [1] == count_rows(database, "firings")
