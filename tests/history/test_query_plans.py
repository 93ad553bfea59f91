"""No query reads a whole table of runs, executions or files: each finds its rows by an index."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from history_examples import opened
from sqlalchemy import event

from runner.history import contents, jobs, notifications, recent, runs, timings
from runner.history.database import Database
from runner.model.jobs import Event, Notify
from runner.model.runs import Status
from tests.benchmarks.histories import write_history

if TYPE_CHECKING:
    from postgresql_server import PostgresqlServer

NOW = datetime.now(UTC)
# These tables grow for years; the others have a row for each job or environment.
GROWING = ("runs", "executions", "files")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":  # goes by rules
        with opened(tmp_path_factory.mktemp("plans") / "history.db") as database:
            write_history(database, n_runs=600, n_jobs=6, n_files=600)
            yield database
        return
    # PostgreSQL goes by costs: a small table, or one of which a job has a large part, is best read whole.
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    with server.fresh("kept") as name, opened(server.url(name)) as database:
        write_history(database, n_runs=24_000, n_jobs=120, n_files=12_000)
        server.do("VACUUM (ANALYZE)", name=name)
        yield database


def job(database: Database) -> Any:
    return jobs.get_job(database, "job-0003")


QUERIES: dict[str, Callable[[Database], object]] = {
    "history": lambda db: runs.list_runs(db, limit=31),
    "history of a job": lambda db: runs.list_runs(db, job=job(db), limit=31),
    "show": lambda db: runs.get_run(db, 300),
    "changes of a run": lambda db: list(contents.list_changes(db, 3, 299, 300)),
    "differences": lambda db: runs.list_differences(db, runs.get_run(db, 300)),
    "jobs": lambda db: (jobs.list_jobs(db), runs.list_last_runs(db)),
    "files": lambda db: list(contents.list_files(db, 4, 400)),
    "files below a directory": lambda db: list(contents.list_files(db, 4, 400, b"folder-001")),
    "files by directory": lambda db: contents.count_directories(db, 4, 400),
    "versions of a file": lambda db: contents.list_versions(db, 4, b"folder-001/file-0020.md"),
    "changes since": lambda db: list(contents.list_changes(db, 4, 200, 600)),
    "counts of changes": lambda db: contents.count_changes(db, 4, 200, 600),
    "counts of changes below a directory": lambda db: contents.count_changes(db, 4, 200, 600, b"folder-001"),
    "changes in some directories": lambda db: list(contents.list_changes(db, 4, 200, 600, within=[b"folder-001"])),
    "files in a directory": lambda db: contents.list_directory(db, 4, 400, b"folder-001", after=b"f", limit=10),
    "states": lambda db: runs.list_states(db, job(db), 10),
    "run after": lambda db: runs.find_saved_after(db, job(db), runs.get_run(db, 400)),
    "last saved": lambda db: runs.find_last_saved(db, job(db), NOW - timedelta(hours=9)),
    "run before": lambda db: runs.find_saved_before(db, job(db), runs.get_run(db, 400)),
    "earlier files": lambda db: runs.has_earlier_files(db, runs.get_run(db, 300)),
    "timings": lambda db: timings.list_timings(db, 4, since=NOW - timedelta(days=90)),
    "counts": lambda db: timings.list_counts(db, 4, since=NOW - timedelta(days=90)),
    "running runs": runs.list_owners,
    "last runs that saved": runs.list_last_saved,
    "last runs that succeeded": runs.list_last_succeeded,
    "newest row": runs.newest_run_id,
    "rows after one": lambda db: runs.list_runs_after(db, runs.newest_run_id(db) - 10, 1_000),
    "rows by their numbers": lambda db: runs.list_runs_numbered(db, {10, 500}),
    "runs before one": lambda db: runs.list_runs_before(db, 4, 300, statuses=[Status.SUCCEEDED], limit=1),
    "comparable": lambda db: runs.is_comparable(db, runs.get_run(db, 400)),
    "last timings": lambda db: timings.list_timings(db, 4, last=100),
    "notifications of a run": lambda db: notifications.list_notifications(db, runs.get_run(db, 300)),
    "last notified run": lambda db: [
        notifications.last_notified_run(db, 4, Notify(Event.FAILURE, ("mail", "root")), 300)
    ],
    "newest row of each job": recent.list_newest,
    "last rows of jobs": lambda db: recent.list_last_of_jobs(db, [3, 4], 10),
    "last wall times of jobs": lambda db: recent.list_last_walls(db, [3, 4], 10),
    "counts of statuses": lambda db: recent.count_statuses(db, [3, 4], NOW - timedelta(days=2)),
    "failed runs since": lambda db: recent.list_since(db, NOW - timedelta(hours=9), [Status.FAILED], 10),
    "failed runs": lambda db: runs.list_runs(db, statuses=[Status.MISSED, Status.SKIPPED], limit=31),
    "runs that are running": recent.list_running,
    "rows beside a run": lambda db: recent.find_neighbours(db, runs.get_run(db, 300)),
    "marks": lambda db: recent.list_marks(db, [3, 4], NOW - timedelta(hours=9), NOW, timedelta(minutes=1)),
    "first strategies": lambda db: runs.list_first_strategies(db, job(db), 10),
}


def plans(database: Database, ask: Callable[[Database], object]) -> list[str]:
    """Return the steps of the plans of all statements of a query."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        assert ask(database) is not None
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    steps = []
    with database.read() as connection:
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN (COSTS OFF)"
        for statement, parameters in asked:
            if statement.lstrip().startswith("SELECT"):
                rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
                steps += [str(row[-1]) for row in rows]
    return steps


def read_whole(steps: list[str]) -> list[str]:
    """Return the growing tables that are read completely, once for each time."""
    # SQLite's words, then PostgreSQL's.
    step = re.compile(rf"SCAN ({'|'.join(GROWING)})\b(?!.* USING )|.*Seq Scan on ({'|'.join(GROWING)})\b")
    return [match[1] or match[2] for match in map(step.match, steps) if match]


@pytest.mark.parametrize("question", QUERIES)
def test_a_query_reads_no_growing_table_whole(database: Database, question: str) -> None:
    steps = plans(database, QUERIES[question])
    assert steps
    whole = read_whole(steps)
    # The newest runs are read from the end of the table, as many as are shown.
    if question == "history" and database.engine.dialect.name == "sqlite":
        whole.remove("runs")
    assert [] == whole, steps


def test_a_query_that_reads_a_table_whole_is_detected(database: Database) -> None:
    def ask(database: Database) -> object:
        with database.read() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM runs WHERE message = 'x'").all()

    assert ["runs"] == read_whole(plans(database, ask))


def test_a_starting_daemon_does_not_read_all_runs(database: Database) -> None:
    steps = plans(database, jobs.list_recorded_until)
    assert steps
    assert not [step for step in steps if "runs" in step]
