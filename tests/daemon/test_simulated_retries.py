"""Retries of a real daemon, with simulated clock and scans."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from runner.daemon import dispatcher, firing_runner, scheduler
from runner.history.database import Database
from runner.history.jobs import change_job, list_jobs
from runner.history.recording import Busy
from runner.history.retries import retry_at
from runner.history.runs import list_runs
from runner.model.errors import HistoryError, UsageError
from runner.model.jobs import Catchup, Job
from runner.model.runs import Firing, Run, Status
from tests.benchmarks.simulation import World
from tests.benchmarks.year import Household

SECOND, MINUTE, HOUR = (timedelta(seconds=number) for number in (1, 60, 3600))
START = datetime(2026, 6, 1, tzinfo=UTC)
ONE = START + HOUR


@pytest.fixture
def world(history: Database) -> Iterator[World]:
    """Create a world in which runs fail from one o'clock on for a minute."""
    world = World(history, START)
    world.ends = lambda _job: Status.FAILED if ONE <= world.now < ONE + MINUTE else Status.SUCCEEDED
    with world.entered():
        yield world


def register(world: World, *, every: str, delay_s: int, retries: int = 1) -> None:
    """Register a job with retries, whose number is 1."""
    household = Household(world, seed=0)
    household.register("docs", every=every, catchup=Catchup.NONE)
    job = household.jobs[1]
    change_job(world.database, job, replace(job.spec, retries=retries, retry_delay_s=delay_s), world.now)


def rows(world: World, job_id: int = 1) -> list[Run]:
    return [run for run in list_runs(world.database)[::-1] if run.job_id == job_id]


def once(real: Callable[..., Any], error: BaseException, when: Callable[[], bool]) -> Callable[..., Any]:
    """Wrap a function so that it fails once, after its work."""
    failed = False

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal failed
        done = real(*arguments, **options)
        if not failed and when():
            failed = True
            raise error
        return done

    return failing


@pytest.mark.parametrize("name", ["fire", "get_run"])
def test_a_retry_survives_an_error_after_the_failed_run(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    error = HistoryError("the database can't be reached")
    real = getattr(firing_runner, name)
    monkeypatch.setattr(firing_runner, name, once(real, error, lambda: world.now >= ONE))
    register(world, every="1h", delay_s=120)
    world.live(HOUR + 10 * MINUTE)
    assert [(Status.FAILED, 1), (Status.SUCCEEDED, 2)] == [(run.status, run.attempt) for run in rows(world)]


def test_a_retry_survives_a_memory_error_when_due(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = once(retry_at, MemoryError(), lambda: world.now >= ONE + 2 * MINUTE)
    monkeypatch.setattr(dispatcher, "retry_at", failing)
    register(world, every="1h", delay_s=120)
    world.live(HOUR + 10 * MINUTE)
    assert [(Status.FAILED, 1), (Status.SUCCEEDED, 2)] == [(run.status, run.attempt) for run in rows(world)]


def test_a_retry_due_during_sleep_runs_on_wakeup(world: World) -> None:
    register(world, every="1h", delay_s=600)
    world.at(ONE + MINUTE, lambda: world.set_clock(30 * MINUTE))
    world.live(HOUR + 20 * MINUTE)
    _, retry = rows(world)
    assert 2 == retry.attempt
    assert retry.started_at is not None
    assert retry.started_at < ONE + 32 * MINUTE


def test_a_waiting_retry_yields_to_its_jobs_next_firing(world: World) -> None:
    world.takes = lambda job: 30 * MINUTE if job.spec.name == "long" else SECOND
    register(world, every="20m", delay_s=120)
    Household(world, seed=0).register("long", at="2026-06-01T01:01:00Z", catchup=Catchup.NONE)
    world.live(2 * HOUR - 10 * MINUTE)
    assert [
        (ONE - 40 * MINUTE, 1, Status.SUCCEEDED),
        (ONE - 20 * MINUTE, 1, Status.SUCCEEDED),
        (ONE, 1, Status.FAILED),
        (ONE + 20 * MINUTE, 1, Status.SUCCEEDED),
        (ONE + 40 * MINUTE, 1, Status.SUCCEEDED),
    ] == [(run.scheduled_at, run.attempt, run.status) for run in rows(world)]


def test_a_retry_survives_until_the_daemon_follows_a_resumed_job(world: World) -> None:
    world.takes = lambda job: 1.7 * SECOND if job.spec.name == "other" else 1.5 * SECOND
    register(world, every="1h", delay_s=120)
    household = Household(world, seed=0)
    household.register("other", at="2026-06-01T01:02:00Z", catchup=Catchup.NONE)
    household.jobs[1] = list_jobs(world.database)[0]
    world.at(ONE + MINUTE, lambda: household.pause(1))
    # The daemon looks at the jobs at 01:02:02; before, the retry becomes due and the worker idle.
    world.at(ONE + 2 * MINUTE + 1.2 * SECOND, lambda: household.pause(1, paused=False))
    world.live(HOUR + 10 * MINUTE)
    assert [(Status.FAILED, 1), (Status.SUCCEEDED, 2)] == [(run.status, run.attempt) for run in rows(world)]


def test_a_retry_survives_a_time_zone_that_is_not_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    register(world, every="1h", delay_s=120)
    world.live(HOUR + MINUTE)
    with monkeypatch.context() as without_zones:
        without_zones.setattr(scheduler, "ScheduleTrigger", Mock(side_effect=UsageError("unknown time zone")))
        world.live(5 * MINUTE)
    assert 1 == len(rows(world))
    world.live(5 * MINUTE)
    assert [(Status.FAILED, 1), (Status.SUCCEEDED, 2)] == [(run.status, run.attempt) for run in rows(world)]


def test_a_retry_postponed_while_its_job_changes_runs_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = world._fire

    def meet(database: Database, job: Job, firing: Firing, **options: Any) -> int:
        if firing.attempt == 2 and job.spec.timeout_s is None:
            change_job(database, job, replace(job.spec, timeout_s=99), world.now)
            world.takes = lambda _job: 3 * SECOND
            raise Busy("run 9 of the job 'docs' is running; wait until it has finished", job.job_id)
        return real(database, job, firing, **options)

    monkeypatch.setattr(firing_runner, "fire", meet)
    register(world, every="1h", delay_s=120, retries=3)
    world.live(HOUR + 10 * MINUTE)
    assert [(Status.FAILED, 1), (Status.SUCCEEDED, 2)] == [(run.status, run.attempt) for run in rows(world)]
