"""Many jobs at once, and quick jobs beside slow ones: each fire time has its due, and nothing drifts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from conftest import Program, enlarge, until

from runner.history.database import Database
from runner.history.runs import list_runs
from runner.model.jobs import Catchup
from runner.model.runs import Cause, Run, Status
from tests.benchmarks.simulation import World
from tests.benchmarks.year import Household, accounts

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
START = datetime(2026, 6, 1, 2, 59, 50, tzinfo=UTC)


@pytest.fixture
def world(history: Database) -> Iterator[World]:
    world = World(history, START)
    with world.entered():
        yield world


def runs_of(world: World, job_id: int | None = None) -> list[Run]:
    return [run for run in list_runs(world.database)[::-1] if job_id in {None, run.job_id}]


def test_a_thousand_jobs_due_at_once_run_in_order(world: World) -> None:
    household = Household(world, seed=0)
    for number in range(1000):
        household.register(f"job-{number}", cron="0 3 * * *", catchup=Catchup.ONCE)
    world.live(1000 * SECOND + MINUTE)
    runs = runs_of(world)
    assert sorted(household.jobs) == [run.job_id for run in runs]
    assert {(Status.SUCCEEDED, START + 10 * SECOND)} == {(run.status, run.scheduled_at) for run in runs}
    # A run takes a second; they follow one another without a gap.
    assert list(range(1000)) == [int(run.lateness_s or 0) for run in runs]


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_quick_job_and_a_slow_one_both_run(world: World, at_once: int) -> None:
    world.at_once = at_once
    world.takes = lambda job: 6 * SECOND if job.spec.name == "slow" else SECOND / 20
    household = Household(world, seed=0)
    household.register("slow", every="10s", catchup=Catchup.ONCE)
    household.register("quick", every="1s", catchup=Catchup.ONCE)
    world.live(3 * MINUTE - SECOND / 2)
    world.live(SECOND / 4)
    found = accounts(world, household)
    assert [] == [difference for account in found.values() for difference in account.differences]
    assert (17, 179) == (found[1].carried_out, found[2].expected)
    lateness_s = [run.lateness_s or 0.0 for run in runs_of(world, 2) if run.started_at is not None]
    # Alone it would run at every second; while the slow one holds the only worker, one firing waits and others don't.
    assert (179 if at_once == 2 else 179 - 17 * 6) == pytest.approx(found[2].carried_out, abs=2)
    assert max(lateness_s[-len(lateness_s) // 3 :]) == pytest.approx(max(lateness_s[: len(lateness_s) // 3]), abs=0.1)
    assert max(lateness_s) < (0.1 if at_once == 2 else 6.1)


def test_many_catch_up_runs_delay_other_jobs_by_one_run(world: World) -> None:
    world.takes = lambda _job: 5 * SECOND
    household = Household(world, seed=0)
    household.register("often", every="1h", catchup=Catchup.ALL)
    world.rest(timedelta(hours=90))
    household.register("other", every="1m", catchup=Catchup.NONE)
    world.live(6 * MINUTE)
    runs = runs_of(world, 2)
    assert [Status.SUCCEEDED] * 5 == [run.status for run in runs][:5]
    assert max(run.lateness_s or 0.0 for run in runs) < 6
    assert 90 > sum(run.cause is Cause.CATCHUP for run in runs_of(world, 1)) > 60, "they go on in between"


def _has_run(program: Program, job: str) -> bool:
    return len(program.history("succeeded", job=job)) >= 4


def test_a_real_daemon_runs_a_quick_and_a_slow_job_in_phase(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s", "--name", "quick")
    slow = tree.with_name("slow")
    slow.mkdir()
    program.out("schedule", enlarge(slow), "--every", "2s", "--name", "slow")
    with program.daemon():
        for name in ("quick", "slow"):
            until(partial(_has_run, program, name), f"four runs of {name}", 60)
    for job, interval in (("quick", SECOND), ("slow", 2 * SECOND)):
        anchor = datetime.fromisoformat(next(one for one in program.json("jobs") if one["name"] == job)["created_at"])
        recorded: list[datetime] = []
        for run in program.history(job=job):
            if run["cause"] == "schedule":
                first = datetime.fromisoformat(run["scheduled_at"])
                recorded += [first + number * interval for number in range(max(1, run["missed"]))]
        assert [anchor + number * interval for number in range(1, len(recorded) + 1)] == sorted(recorded)
