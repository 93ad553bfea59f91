"""No question reads a whole table of runs, executions or files: each finds its rows by an index."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from history_examples import opened
from sqlalchemy import event

from runner.history.contents import count_folders, list_changes, list_files, list_versions
from runner.history.database import Database
from runner.history.jobs import accounted_until, get_job, list_jobs
from runner.history.notifications import last_notified_run, list_notifications
from runner.history.runs import (
    get_run,
    list_differences,
    list_first_strategies,
    list_last_runs,
    list_last_saved,
    list_last_succeeded,
    list_owners,
    list_runs,
    list_runs_after,
    list_runs_before,
    list_runs_numbered,
    newest_run_id,
)
from runner.history.saved import find_last_saved, find_saved_before, saw_before, shows_changes
from runner.history.timings import list_counts, list_timings
from runner.model.jobs import Event, Notify
from runner.model.runs import Status
from tests.benchmarks.histories import write_history

if TYPE_CHECKING:
    from postgresql_server import PostgresqlServer

NOW = datetime.now(UTC)
# What grows for years; the others have a row for each job or environment.
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
    return get_job(database, "job-0003")


QUESTIONS: dict[str, Callable[[Database], object]] = {
    "history": lambda database: list_runs(database, limit=31),
    "history of a job": lambda database: list_runs(database, job=job(database), limit=31),
    "show": lambda database: get_run(database, 300),
    "changes of a run": lambda database: list_changes(database, 3, 299, 300),
    "differences": lambda database: list_differences(database, get_run(database, 300)),
    "jobs": lambda database: (list_jobs(database), list_last_runs(database)),
    "files": lambda database: list(list_files(database, 4, 400)),
    "files below a folder": lambda database: list(list_files(database, 4, 400, b"folder-001")),
    "files by folder": lambda database: count_folders(database, 4, 400),
    "life of a file": lambda database: list_versions(database, 4, b"folder-001/file-0020.md"),
    "changes since": lambda database: list_changes(database, 4, 200, 600),
    "state at an instant": lambda database: find_last_saved(database, job(database), NOW - timedelta(hours=9)),
    "run before": lambda database: find_saved_before(database, job(database), get_run(database, 400)),
    "whether older runs were forgotten": lambda database: saw_before(database, get_run(database, 300)),
    "timings": lambda database: list_timings(database, 4, since=NOW - timedelta(days=90)),
    "counts": lambda database: list_counts(database, 4, since=NOW - timedelta(days=90)),
    "what is going on": list_owners,
    "last runs that saved": list_last_saved,
    "last runs that succeeded": list_last_succeeded,
    "newest row": newest_run_id,
    "rows after one": lambda database: list_runs_after(database, newest_run_id(database) - 10, 1_000),
    "rows by their numbers": lambda database: list_runs_numbered(database, {10, 500}),
    "runs before one": lambda database: list_runs_before(
        database, 4, 300, statuses=[Status.SUCCEEDED, Status.PARTIAL], limit=1
    ),
    "whether changes are the tree's": lambda database: shows_changes(database, get_run(database, 400)),
    "last timings": lambda database: list_timings(database, 4, last=100),
    "who was told of a run": lambda database: list_notifications(database, get_run(database, 300)),
    "whether a command was told": lambda database: [
        last_notified_run(database, 4, Notify(Event.FAILURE, ("mail", "root")), 300)
    ],
    "who went first": lambda database: list_first_strategies(database, job(database), 10),
}


def plans(database: Database, ask: Callable[[Database], object]) -> list[str]:
    """Give the steps of the plans of every statement that a question takes."""
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
    """Give the growing tables that are read from end to end, one for each time."""
    # SQLite's words, then PostgreSQL's.
    step = re.compile(rf"SCAN ({'|'.join(GROWING)})\b(?!.* USING )|.*Seq Scan on ({'|'.join(GROWING)})\b")
    return [match[1] or match[2] for match in map(step.match, steps) if match]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_reads_no_growing_table_whole(database: Database, question: str) -> None:
    steps = plans(database, QUESTIONS[question])
    assert steps
    whole = read_whole(steps)
    # The newest runs are read from the end of the table, as many as are shown.
    if question == "history" and database.engine.dialect.name == "sqlite":
        whole.remove("runs")
    assert [] == whole, steps


def test_what_reads_a_table_whole_is_noticed(database: Database) -> None:
    def ask(database: Database) -> object:
        with database.read() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM runs WHERE message = 'x'").all()

    assert ["runs"] == read_whole(plans(database, ask))


def test_a_starting_daemon_does_not_go_through_the_runs(database: Database) -> None:
    steps = plans(database, accounted_until)
    assert steps
    assert not [step for step in steps if "runs" in step]
