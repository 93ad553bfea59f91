"""How the attempts of a firing are shown."""

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import Program
from firings import add_due

from runner.execution.executor import fire
from runner.history.jobs import get_job


@pytest.fixture
def failing(program: Program, tree: Path) -> Program:
    """Give a job that tries twice again, whose first attempt has failed by its schedule and whose second one too."""
    program.out("schedule", tree, "--every", "1h", "--retries", "2", "--retry-delay", "10m")
    tree.rename(tree.with_name("away"))
    with program.opened() as database:
        job, at = get_job(database, "docs"), datetime.now(UTC)
        for attempt in (1, 2):
            fire(database, job, add_due(database, job, at, attempt=attempt), start_method="fork")
    return program


def test_a_failed_run_tells_its_attempt_and_when_the_next_is_due(failing: Program) -> None:
    shown, before = (" ".join(failing.out("show", run).split()) for run in ("2", "1"))
    assert " attempt 2 of 3; next attempt at " in shown
    assert "(in 9 min)" in shown
    assert " attempt 1 of 3 scheduled " in before
    lines = failing.out("history").splitlines()
    assert "attempt" in lines[0].split()
    assert ["1 of 3" in lines[2], "2 of 3" in lines[1]] == [True, True]
    assert 1 == failing.out("history").count("; next attempt at ")


def test_scripts_are_told_the_same(failing: Program) -> None:
    last, first = failing.json("history")
    assert ([1, None], 2) == ([first["attempt"], first["retry_at"]], last["attempt"])
    waits = datetime.fromisoformat(last["retry_at"]) - datetime.fromisoformat(last["finished_at"])
    assert timedelta(minutes=10) == waits
    assert last["retry_at"] == failing.json("show", "2")["retry_at"]
    rows = list(csv.DictReader(io.StringIO(failing.out("history", "--format", "csv"))))
    assert [last["retry_at"], ""] == [row["retry_at"] for row in rows]


def test_runs_that_need_no_second_attempt_say_nothing_of_attempts(program: Program, tree: Path) -> None:
    program.out("run", tree)
    assert "attempt" not in program.out("history") + program.out("show", "1")
    assert None is program.json("show", "1")["retry_at"]
