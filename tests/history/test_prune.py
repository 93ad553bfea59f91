"""After any pruning, the remaining runs answer as before."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from firings import add_not_run
from history_examples import NOW, begin, count_rows, listing, opened, play, snapshot, some_job

from runner.history.contents import list_changes, list_files, list_problems
from runner.history.database import Database
from runner.history.jobs import list_recorded_until
from runner.history.maintenance import compact, find_faults, size_bytes
from runner.history.prune import FAILURES, Pruned, Retention, count_prunable, prune
from runner.history.recording import RunOutcome, finish_run
from runner.history.runs import get_run, list_runs
from runner.model.jobs import Job
from runner.model.runs import Status


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
            list_changes(database, job.job_id, run.run_id - 1, run.run_id) if run.files is not None else None,
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
    late = Retention(since=NOW + timedelta(days=1), failures=True)
    assert 1 == count_prunable(database, late)  # the cancelled one; the last one has to stay
    assert 1 == prune(database, late).runs
    assert 4 == prune(database, Retention(since=NOW + timedelta(days=1))).runs
    assert Status.RUNNING is get_run(database, going).status


def test_only_older_runs_beyond_the_newest_are_deleted(database: Database) -> None:
    job = some_job(database)
    for _ in range(6):
        play(database, job, snapshot())
    assert 0 == count_prunable(database, Retention(since=NOW - timedelta(days=1), newest=1))
    assert 2 == count_prunable(database, Retention(since=datetime.now(UTC) + timedelta(days=999), newest=4))
    assert 5 == count_prunable(database, Retention(since=datetime.now(UTC) + timedelta(days=999)), job.job_id)
    assert 0 == count_prunable(database, Retention(newest=1), job.job_id + 1)


def test_rows_without_a_run_do_not_count(database: Database) -> None:
    job = some_job(database)
    for _ in range(3):
        play(database, job, snapshot())
        add_not_run(database, job, Status.SKIPPED, NOW, now=NOW, message="m")
    assert 0 == count_prunable(database, Retention(newest=4))
    assert 2 == prune(database, Retention(newest=2)).runs
    assert [6, 5, 4, 3] == [run.run_id for run in list_runs(database, job=job)]


def test_the_database_shrinks(database: Database) -> None:
    job = some_job(database)
    for number in range(8):
        play(database, job, snapshot(listing(b"", {b"%d-%d.md" % (number, one): (1, 1) for one in range(3_000)})))
    before = size_bytes(database)
    prune(database, Retention(newest=1))
    compact(database)
    assert size_bytes(database) < before / 2
    assert 3_000 == len(list(list_files(database, job.job_id, 8)))


def test_a_sqlite_file_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with opened(path) as database:
        play(database, some_job(database), snapshot(listing(b"", {b"%d.md" % one: (1, 1) for one in range(3_000)})))
        compact(database)
        assert path.stat().st_size == size_bytes(database)
