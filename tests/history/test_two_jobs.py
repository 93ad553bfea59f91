"""Every query that selects by job ignores the other job."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from firings import add_due, add_not_run
from history_examples import ENVIRONMENT, NOW, OWNER, count_rows, listing, play, snapshot, some_job

from runner.history.contents import (
    count_directories,
    has_directory,
    list_changes,
    list_files,
    list_problems,
    list_versions,
)
from runner.history.database import Database
from runner.history.jobs import get_job, list_jobs_at, list_recorded_until, set_back
from runner.history.notifications import (
    find_last_ended,
    find_last_good,
    last_notified_run,
    list_notifications,
    record_notification,
)
from runner.history.prune import Retention, count_prunable, prune
from runner.history.recording import RunOutcome, begin_run, finish_run, list_saved_mounts
from runner.history.runs import (
    find_first_saved,
    find_last_saved,
    find_saved_before,
    get_run,
    has_earlier_files,
    is_comparable,
    list_first_strategies,
    list_runs,
    list_runs_before,
    list_selections_between,
)
from runner.history.timings import acknowledge, list_acknowledged, list_counts, list_timings
from runner.model.jobs import Event, Job, Notify
from runner.model.notifications import Notification
from runner.model.runs import Cause, Execution, Run, Status
from runner.scan.snapshot import Snapshot

NOTIFY = Notify(Event.FAILURE, ("mail", "root"))
HOUR = timedelta(hours=1)


def fire(database: Database, job: Job, number: int, found: Snapshot, strategy: str) -> int:
    """Execute one scheduled run with a snapshot."""
    run_id = begin_run(
        database,
        job,
        add_due(database, job, NOW + number * HOUR, cause=Cause.SCHEDULE),
        clock=lambda: NOW + number * HOUR,
        environment=ENVIRONMENT,
        owner=OWNER,
    )
    executions = [Execution(strategy=strategy, position=1, status=Status.SUCCEEDED, wall_s=number + 1.0)]
    outcome = RunOutcome(
        status=Status.SUCCEEDED, finished_at=NOW + number * HOUR, snapshot=found, executions=executions
    )
    assert finish_run(database, run_id, outcome)
    return run_id


def write_runs(database: Database, job: Job, strategy: str) -> list[int]:
    """Save three runs, a failed one with a notification, a missed row and an acknowledgement."""
    name = strategy.encode()
    found = [listing(b"", [name]), listing(name, [b"x", b"y"])]
    run_ids = [
        fire(database, job, number, snapshot(*found[: 1 + number % 2], unreadable=[name + b"-no"]), strategy)
        for number in (1, 2, 3)
    ]
    failed = play(database, job, None).run_id
    notification = Notification(
        event=NOTIFY.event, command=NOTIFY.command, started_at=NOW, wall_s=1.0, exit_code=0, message=None
    )
    record_notification(database, failed, notification)
    missed = add_not_run(database, job, Status.MISSED, NOW + 5 * HOUR, now=NOW + 6 * HOUR)
    acknowledge(database, job.job_id, 1, "wall_s", [strategy], failed, NOW)
    return [*run_ids, failed, missed]


Runs = list[int]


def saved(database: Database, ids: Runs) -> Run:
    return get_run(database, ids[2])


QUERIES: dict[str, Callable[[Database, Job, Runs, bytes], object]] = {
    "runs": lambda database, job, *_: list_runs(database, job=job),
    "runs before": lambda database, job, ids, _: list_runs_before(
        database, job.job_id, ids[-1], statuses=[Status.SUCCEEDED], limit=9
    ),
    "first strategies": lambda database, job, *_: list_first_strategies(database, job, 9),
    "last saved": lambda database, job, *_: find_last_saved(database, job, NOW + 9 * HOUR),
    "first saved": lambda database, job, *_: find_first_saved(database, job),
    "saved before": lambda database, job, ids, _: find_saved_before(database, job, get_run(database, ids[-1])),
    "earlier files": lambda database, _job, ids, _: has_earlier_files(database, saved(database, ids)),
    "comparable": lambda database, _job, ids, _: is_comparable(database, saved(database, ids)),
    "selections": lambda database, job, ids, _: list_selections_between(
        database, job, get_run(database, ids[0]), saved(database, ids)
    ),
    "files": lambda database, job, *_: list(list_files(database, job.job_id, 99)),
    "changes": lambda database, job, *_: list(list_changes(database, job.job_id, 0, 99)),
    "versions": lambda database, job, _ids, name: list_versions(database, job.job_id, name),
    "directories": lambda database, job, *_: count_directories(database, job.job_id, 99),
    "has directory": lambda database, job, _ids, name: has_directory(database, job.job_id, name),
    "problems": lambda database, _job, ids, _: list_problems(database, saved(database, ids)),
    "timings": lambda database, job, *_: list_timings(database, job.job_id),
    "last timings": lambda database, job, *_: list_timings(database, job.job_id, last=2),
    "counts": lambda database, job, *_: list_counts(database, job.job_id),
    "acknowledged": lambda database, job, *_: list_acknowledged(database, job.job_id, 1, "wall_s"),
    "notifications": lambda database, _job, ids, _: list_notifications(database, get_run(database, ids[3])),
    "last notified": lambda database, job, *_: last_notified_run(database, job.job_id, NOTIFY, 0),
    "last good": lambda database, _job, ids, _: find_last_good(database, get_run(database, ids[3])),
    "last ended": lambda database, job, *_: find_last_ended(database, job.job_id),
    "recorded until": lambda database, job, *_: list_recorded_until(database).get(job.job_id),
    "prunable": lambda database, job, *_: count_prunable(database, Retention(newest=2), job.job_id),
    "jobs": lambda database, job, *_: [list_jobs_at(database, job.spec.root), get_job(database, job.spec.name)],
}


@pytest.fixture
def jobs(database: Database) -> list[Job]:
    return [some_job(database, "first", b"/first"), some_job(database, "second", b"/second")]


def test_no_query_mixes_two_jobs(database: Database, jobs: list[Job]) -> None:
    first, second = jobs
    ids = write_runs(database, first, "pool")
    before = {name: query(database, first, ids, b"pool") for name, query in QUERIES.items()}
    assert [] == [name for name, answer in before.items() if not answer]
    others = write_runs(database, second, "sequential")
    assert before == {name: query(database, first, ids, b"pool") for name, query in QUERIES.items()}
    answers = {name: query(database, second, others, b"sequential") for name, query in QUERIES.items()}
    assert [] == [name for name, answer in answers.items() if not answer]
    assert not has_directory(database, second.job_id, b"pool")


def test_equal_findings_of_two_jobs_are_both_saved(database: Database, jobs: list[Job]) -> None:
    findings = [listing(b"", [b"x"]), listing(b"a", [b"y"])]
    for job in jobs:
        run = play(database, job, snapshot(*findings, unreadable=[b"no"]))
        assert (2, 0, 0) == (run.added, run.removed, run.modified)
        assert [b"x", b"a/y"] == [file.path for file in list_files(database, job.job_id, run.run_id)]
        assert [b"no"] == [problem.path for problem in list_problems(database, run)]
    before = count_rows(database, "files", "folders", "problems")
    for job in jobs:
        run = play(database, job, snapshot(*findings, unreadable=[b"no"]))
        assert (0, 0, 0) == (run.added, run.removed, run.modified)
    assert before == count_rows(database, "files", "folders", "problems")


def test_a_change_of_one_job_leaves_the_other(database: Database, jobs: list[Job]) -> None:
    first, second = jobs
    for job in jobs:
        play(database, job, snapshot(listing(b"a", {b"x": (1, 1)}), unreadable=[b"no"]))
    changed = play(database, first, snapshot(listing(b"a", {b"y": (1, 1)})))
    assert (1, 1) == (changed.added, changed.removed)
    same = play(database, second, snapshot(listing(b"a", {b"x": (1, 1)}), unreadable=[b"no"]))
    assert (0, 0, 0) == (same.added, same.removed, same.modified)
    assert [b"a/x"] == [file.path for file in list_files(database, second.job_id, same.run_id)]
    assert [b"no"] == [problem.path for problem in list_problems(database, same)]
    assert [] == list_problems(database, changed)


def test_mounts_and_recorded_instants_are_kept_by_job(database: Database, jobs: list[Job]) -> None:
    first, second = jobs
    write_runs(database, first, "pool")
    assert {first.job_id: NOW + 3 * HOUR} == list_recorded_until(database)
    write_runs(database, second, "pool")
    set_back(database, [second.job_id], NOW)
    assert {first.job_id: NOW + 3 * HOUR, second.job_id: NOW} == list_recorded_until(database)
    assert [(), ()] == [list_saved_mounts(database, job) for job in jobs]


def test_an_acknowledgement_replaces_only_its_own(database: Database, jobs: list[Job]) -> None:
    first, second = jobs
    for job in jobs:
        write_runs(database, job, "pool")
    before = list_acknowledged(database, first.job_id, 1, "wall_s")
    acknowledge(database, second.job_id, 1, "wall_s", ["pool"], 99, NOW)
    acknowledge(database, second.job_id, 1, "cpu_s", ["pool"], 98, NOW)
    assert before == list_acknowledged(database, first.job_id, 1, "wall_s")
    assert {"pool": 99} == list_acknowledged(database, second.job_id, 1, "wall_s")


def test_pruning_one_job_keeps_the_other(database: Database, jobs: list[Job]) -> None:
    first, second = jobs
    ids = write_runs(database, first, "pool")
    write_runs(database, second, "sequential")
    before = {name: query(database, first, ids, b"pool") for name, query in QUERIES.items()}
    assert prune(database, Retention(newest=1), second.job_id).runs
    assert before == {name: query(database, first, ids, b"pool") for name, query in QUERIES.items()}
    assert 1 == len(list(list_files(database, second.job_id, 99))) - 2


def test_a_changed_job_leaves_the_other(database: Database, jobs: list[Job]) -> None:
    from runner.history.jobs import change_job, remove_job

    first, second = jobs
    change_job(database, second, replace(second.spec, workers=7), NOW + HOUR)
    assert first == get_job(database, "first")
    remove_job(database, second, NOW)
    assert first == get_job(database, "first")
