import pickle
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from firings import add_due, add_not_run
from history_examples import (
    ENVIRONMENT,
    NOW,
    OWNER,
    begin,
    contents,
    count_rows,
    listing,
    opened,
    play,
    snapshot,
    some_job,
)

from runner.history.contents import list_files
from runner.history.database import Database
from runner.history.jobs import remove_job
from runner.history.maintenance import find_faults
from runner.history.recording import Busy, RunOutcome, begin_run, finish_run
from runner.history.runs import (
    find_last_saved,
    get_run,
    list_differences,
    list_first_strategies,
    list_last_runs,
    list_owners,
    list_runs,
)
from runner.model.errors import HistoryError, UsageError
from runner.model.runs import Cache, Cause, Difference, Execution, Run, Status

HOUR = timedelta(hours=1)
EXECUTIONS = (
    Execution(
        strategy="pool",
        position=1,
        status=Status.SUCCEEDED,
        workers=2,
        start_method="fork",
        wall_s=0.27123456789,
        startup_s=0.01,
        user_s=0.31,
        system_s=0.25,
        max_rss_bytes=2**33,
        cache=Cache.COLD,
        files=1,
        directories=2,
        entries=3,
    ),
    Execution(strategy="sequential", position=2, status=Status.FAILED, message="it broke"),
)


REFUSE_INSERTS = {
    "sqlite": ["CREATE TRIGGER no_more BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no more'); END"],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no more''; END'",
        "CREATE TRIGGER no_more BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}


def ending(status: Status = Status.SUCCEEDED) -> RunOutcome:
    return RunOutcome(status=status, finished_at=NOW + HOUR)


def test_a_run_is_returned_whole(database: Database) -> None:
    job = some_job(database)
    run_id = begin_run(
        database,
        job,
        add_due(database, job, NOW - HOUR, cause=Cause.CATCHUP),
        clock=lambda: NOW,
        environment=ENVIRONMENT,
        owner=OWNER,
    )
    running = Run(
        run_id=run_id,
        job_id=job.job_id,
        job="docs",
        root=b"/srv/docs",
        cause=Cause.CATCHUP,
        status=Status.RUNNING,
        scheduled_at=NOW - HOUR,
        started_at=NOW,
        finished_at=None,
        environment=ENVIRONMENT,
    )
    assert running == get_run(database, run_id)
    differences = [Difference(path=b"\xff\n", found_by=("pool",)), Difference(path=b"b", found_by=())]
    assert finish_run(
        database,
        run_id,
        RunOutcome(
            status=Status.FAILED,
            finished_at=NOW + HOUR,
            wall_s=1.25,
            executions=EXECUTIONS,
            snapshot=snapshot(listing(b"", [b"x"]), listing(b"a", []), unreadable=[b"no"]),
            differences=differences,
            message="sequential: it broke",
        ),
    )
    expected = replace(
        running,
        status=Status.FAILED,
        finished_at=NOW + HOUR,
        wall_s=1.25,
        files=1,
        directories=2,
        added=1,
        removed=0,
        modified=0,
        problems=1,
        differences=2,
        message="sequential: it broke",
        executions=EXECUTIONS,
    )
    assert expected == get_run(database, run_id)
    assert [expected] == list_runs(database)
    assert differences == list_differences(database, expected)


def test_a_missed_firing_is_returned(database: Database) -> None:
    job = some_job(database)
    run_id = add_not_run(database, job, Status.MISSED, NOW - HOUR, now=NOW, message="no daemon ran", missed=7)
    run = get_run(database, run_id)
    assert (Status.MISSED, NOW - HOUR, None, NOW, 7) == (
        run.status,
        run.scheduled_at,
        run.started_at,
        run.finished_at,
        run.missed,
    )
    assert (None, None, ()) == (run.files, run.environment, run.executions)


def test_distinct_environments_are_stored_once(database: Database) -> None:
    job = some_job(database)
    for environment in (ENVIRONMENT, ENVIRONMENT, replace(ENVIRONMENT, cpus=3), replace(ENVIRONMENT, filesystem="")):
        run_id = begin_run(
            database,
            job,
            None,
            clock=lambda: NOW,
            environment=environment,
            owner=OWNER,
        )
        finish_run(database, run_id, ending())
        assert environment == get_run(database, run_id).environment
    assert [3] == count_rows(database, "environments")


@pytest.mark.parametrize("table", ["files", "folders", "problems", "executions", "differences"])
def test_a_failed_save_leaves_only_the_run(database: Database, table: str) -> None:
    job = some_job(database)
    play(database, job, snapshot(listing(b"", [b"x", b"y"]), unreadable=[b"no"]))
    tables = ("files", "folders", "problems", "executions", "differences", "runs")
    run_id = begin(database, job)
    before = count_rows(database, *tables)
    with database.write() as connection:
        for statement in REFUSE_INSERTS[connection.dialect.name]:
            connection.exec_driver_sql(statement.format(table=table))
    found = snapshot(listing(b"", [b"y", b"z"]), listing(b"a", [b"1"]), unreadable=[b"neither"])
    whole = replace(
        ending(), executions=EXECUTIONS, snapshot=found, differences=[Difference(path=b"x", found_by=("pool",))]
    )
    with pytest.raises(HistoryError, match="no more"):
        finish_run(database, run_id, whole)
    assert before == count_rows(database, *tables)
    run = get_run(database, run_id)
    assert (Status.RUNNING, None, None) == (run.status, run.finished_at, run.files)
    assert [b"x", b"y"] == [file.path for file in list_files(database, run.job_id, run.run_id)]
    with database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER no_more" + f" ON {table}" * (connection.dialect.name == "postgresql"))
    assert finish_run(database, run_id, whole)
    assert [b"y", b"z", b"a/1"] == [file.path for file in list_files(database, job.job_id, run_id)]
    assert [] == find_faults(database)


def test_a_run_ends_once(database: Database) -> None:
    job = some_job(database)
    run_id = begin(database, job)
    assert finish_run(database, run_id, ending(Status.INTERRUPTED))
    before = (get_run(database, run_id), count_rows(database, "files", "executions"))
    late = replace(ending(), executions=EXECUTIONS, snapshot=snapshot(listing(b"", [b"x"])))
    assert not finish_run(database, run_id, late)
    assert not finish_run(database, run_id + 1, late)
    assert before == (get_run(database, run_id), count_rows(database, "files", "executions"))


def test_concurrent_runs_are_limited(database: Database) -> None:
    first, second, third = (some_job(database, name) for name in ("first", "second", "third"))
    going = begin(database, first)
    other = replace(OWNER, pid=5)
    with pytest.raises(Busy) as alone:
        begin(database, second)
    assert "run 1 of the job 'first' is running; wait until it has finished" == str(alone.value)
    assert first.job_id == alone.value.job_id
    assert 2 == begin(database, second, other, at_once=2)
    with pytest.raises(Busy) as same:
        begin(database, second, at_once=9)
    assert second.job_id == same.value.job_id
    with pytest.raises(Busy):
        begin(database, third, at_once=2)
    assert {1: OWNER, 2: other} == list_owners(database)
    assert [2] == count_rows(database, "runs")
    finish_run(database, going, ending())
    assert 3 == begin(database, third, at_once=2)


def test_an_error_about_a_busy_job_survives_pickling() -> None:
    busy = pickle.loads(pickle.dumps(Busy("going on", 2)))  # noqa: S301
    assert ("going on", 2) == (str(busy), busy.job_id)


def test_the_schema_prevents_a_second_running_run(database: Database) -> None:
    begin(database, some_job(database))
    with pytest.raises(HistoryError, match=r"(?i)unique"), database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO runs (job_id, selection_id, cause, status) VALUES (1, 1, 'manual', 'running')"
        )


def test_differences_beyond_a_thousand_are_only_counted(database: Database) -> None:
    job = some_job(database)
    run_id = begin(database, job)
    many = [Difference(path=b"%04d" % number, found_by=("pool",)) for number in range(1500)]
    finish_run(database, run_id, replace(ending(), differences=many))
    run = get_run(database, run_id)
    assert 1500 == run.differences
    assert many[:1000] == list_differences(database, run)


def test_runs_are_filtered_and_listed_newest_first(database: Database) -> None:
    first, second = some_job(database, "first"), some_job(database, "second")
    ids = []
    for number in range(4):
        job = (first, second)[number % 2]
        run_id = begin_run(
            database,
            job,
            # Late by a day: what counts is when it started.
            add_due(database, job, NOW + number * HOUR - timedelta(days=1)),
            clock=partial(NOW.__add__, number * HOUR),
            environment=ENVIRONMENT,
            owner=OWNER,
        )
        finish_run(database, run_id, ending(Status.FAILED if number == 3 else Status.SUCCEEDED))
        ids.append(run_id)
    ids.append(add_not_run(database, first, Status.SKIPPED, NOW + 4 * HOUR, now=NOW + 9 * HOUR))

    def listed(**asked: object) -> list[int]:
        return [run.run_id - ids[0] for run in list_runs(database, **asked)]  # type: ignore[arg-type]

    assert [4, 3, 2, 1, 0] == listed()
    assert [4, 3] == listed(limit=2)
    assert [4, 2, 0] == listed(job=first)
    assert [4, 3] == listed(statuses=[Status.FAILED, Status.SKIPPED])
    assert [4, 3, 2] == listed(since=NOW + 2 * HOUR)
    assert [1, 0] == listed(until=NOW + 2 * HOUR)
    assert [3] == listed(since=NOW + 3 * HOUR, until=NOW + 4 * HOUR)
    assert [4] == listed(since=NOW + 4 * HOUR, until=NOW + 5 * HOUR)
    remove_job(database, first, NOW)
    assert [4, 2, 0] == listed(job=first)


def test_the_executions_of_many_runs_are_read(database: Database) -> None:
    job = some_job(database)
    for _ in range(501):
        finish_run(database, begin(database, job), replace(ending(), executions=EXECUTIONS))
    assert [EXECUTIONS] * 501 == [run.executions for run in list_runs(database)]
    assert ["pool"] * 3 == list_first_strategies(database, job, limit=3)


@pytest.mark.parametrize("number", [0, -1, 2, 2**63, 10**30])
def test_an_unknown_run_is_reported_in_one_line(database: Database, number: int) -> None:
    play(database, some_job(database), None)
    with pytest.raises(UsageError) as caught:
        get_run(database, number)
    assert f"there is no run {number}; see `runner history`" == str(caught.value)


def test_numbers_are_never_reused(database: Database) -> None:
    job = some_job(database)
    play(database, job, None)
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM runs")
    assert 2 == play(database, job, None).run_id


def test_the_last_saved_run_at_an_instant_has_a_snapshot(database: Database) -> None:
    job = some_job(database)
    finishes = []
    for number, found in enumerate([snapshot(listing(b"", [])), None, snapshot(listing(b"", [b"x"]))]):
        run_id = begin(database, job)
        finishes.append(NOW + number * HOUR)
        finish_run(database, run_id, RunOutcome(status=Status.PARTIAL, finished_at=finishes[-1], snapshot=found))
    begin(database, job)
    tick = timedelta(microseconds=1)

    def last(at: timedelta) -> int | None:
        run = find_last_saved(database, job, NOW + at)
        return run.run_id if run is not None else None

    assert [None, 1, 1, 1, 3, 3] == [last(at) for at in (-tick, 0 * HOUR, HOUR, 2 * HOUR - tick, 2 * HOUR, 9 * HOUR)]


def test_the_last_runs_were_started(database: Database) -> None:
    first, second, third = (some_job(database, name) for name in ("first", "second", "third"))
    play(database, first, None)
    expected = play(database, first, None)
    add_not_run(database, first, Status.SKIPPED, NOW, now=NOW)
    add_not_run(database, third, Status.MISSED, NOW, now=NOW)
    going = get_run(database, begin(database, second))
    assert {first.job_id: expected, second.job_id: going} == list_last_runs(database)


def test_reading_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "history.db") as database:
        job = some_job(database)
        run = play(database, job, snapshot(listing(b"", [b"x"])))
        before = contents(tmp_path)["history.db-wal"]
        list(list_files(database, run.job_id, run.run_id))
        list_runs(database, job=job)
        list_last_runs(database)
        find_faults(database)
        assert before == contents(tmp_path)["history.db-wal"]
