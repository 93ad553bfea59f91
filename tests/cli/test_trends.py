"""What the timings of a job say over time, asked of each kind of database."""

import csv
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

import pytest
from conftest import MakePlace, Program
from firings import add_due

from runner.history.database import locate
from runner.history.jobs import add_job
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.upgrade import open_database
from runner.measure.environment import describe_environment, describe_process
from runner.model.jobs import JobSpec
from runner.model.runs import Cache, Cause, Execution, Status

RUNS, SLOWER_FROM = 48, 33


@pytest.fixture(scope="module")
def place(make_place: MakePlace) -> Iterator[str]:
    """Return a history in which sequential takes 0.5 s, later 0.75 s, and the pool 0.3 s throughout."""
    random = Random(4)  # noqa: S311  chance, not secrets
    environment = describe_environment(b"/", workers=2, start_method="fork")
    with make_place() as place:
        database = open_database(locate(str(place)))
        start = datetime.now(UTC) - timedelta(hours=RUNS + 1)
        job = add_job(database, JobSpec(name="docs", root=b"/srv/docs"), start)
        for number in range(1, RUNS + 1):
            at = start + timedelta(hours=number)
            run_id = begin_run(
                database, job, add_due(database, job, at, cause=Cause.SCHEDULE), environment=environment,
                clock=partial(start.__add__, timedelta(hours=number)), owner=describe_process(),
            )  # fmt: skip
            walls = {"sequential": 0.5 if number < SLOWER_FROM else 0.75, "pool": 0.3}
            order = list(walls) if number % 2 else list(walls)[::-1]
            executions = [
                Execution(
                    strategy=strategy,
                    position=position,
                    status=Status.SUCCEEDED,
                    workers=2,
                    wall_s=walls[strategy] * random.lognormvariate(0, 0.02),
                    startup_s=0.0,
                    user_s=0.1,
                    system_s=0.1,
                    max_rss_bytes=20_000_000,
                    cache=Cache.WARM,
                    files=100,
                    directories=6,
                    entries=1_000,
                )
                for position, strategy in enumerate(order, start=1)
            ]
            ending = RunOutcome(status=Status.SUCCEEDED, finished_at=at, wall_s=1.0, executions=executions)
            assert finish_run(database, run_id, ending)
        database.close()
        yield str(place)


@pytest.fixture
def program(tmp_path: Path, place: str) -> Program:
    return Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": place})


def test_all_jobs_are_summarised_without_a_job(program: Program) -> None:
    sequential, pool = program.json("trends")
    assert ("docs", "sequential", RUNS, None, "one step") == tuple(
        sequential[key] for key in ("job", "strategy", "runs", "verdict", "shape")
    )
    assert abs(sequential["since_run"] - SLOWER_FROM) <= 1
    assert 0.75 == pytest.approx(sequential["level"], rel=0.1)
    assert 0.5 == pytest.approx(sequential["change"], rel=0.1)
    assert ("faster", None) == (pool["verdict"], pool["change"])
    assert 0.4 == pytest.approx(pool["ratio"], rel=0.1)
    assert [] == program.json("trends", "--until", "2020-01-01")
    assert "no timings yet" in program.out("trends", "--until", "2020-01-01")


def test_the_verdict_counts_from_the_step(program: Program) -> None:
    told = program.json("trends", "docs")
    (step,) = told["steps"]
    assert ("sequential", True) == (step["strategy"], abs(step["run"] - SLOWER_FROM) <= 1)
    done = program.quick("trends", "docs")
    assert 0 == done.returncode
    assert f"strategies are compared since run {step['run']}, the last step" in done.stderr.decode()
    rows = list(csv.DictReader(io.StringIO(program.out("trends", "docs", "--format", "csv"))))
    lines = [json.loads(line) for line in program.out("trends", "docs", "--format", "jsonl").splitlines()]
    assert 2 * RUNS == len(rows) == len(lines)
    assert [str(line["value"]) for line in lines] == [row["value"] for row in rows]


def test_only_the_runs_asked_for_count(program: Program) -> None:
    """The step lies before them."""
    since = f"{RUNS - SLOWER_FROM}h"
    told = program.json("trends", "docs", "--since", since)
    assert [] == told["steps"]
    assert set(range(SLOWER_FROM + 2, RUNS + 1)) >= {one["run"] for one in told["series"]}
    done = program.quick("trends", "docs", "--since", "1m")
    assert (0, True) == (done.returncode, b"outside this time range" in done.stderr)


def test_what_got_slower_fails_until_it_is_acknowledged(program: Program) -> None:
    found = program.quick("regressions", "--format", "json")
    assert 1 == found.returncode
    (slower,) = json.loads(found.stdout)
    assert ("docs", "sequential") == (slower["job"], slower["strategy"])
    assert 1 == program.quick("regressions", "docs").returncode
    assert 0 == program.quick("regressions", "--fail-over", "80%").returncode
    accepted = program.quick("regressions", "docs", "--acknowledge")
    assert (0, True) == (accepted.returncode, b"acknowledged" in accepted.stderr)
    again = program.quick("regressions", "--format", "json")
    assert (0, []) == (again.returncode, json.loads(again.stdout))
