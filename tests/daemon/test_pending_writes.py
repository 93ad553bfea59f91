"""Writes that fail: those of the machine are tried again, those by a defect are dropped; both are logged once."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from runner.daemon import dispatcher, guard
from runner.daemon.guard import guarded, repeats_limited
from runner.daemon.pending_writes import PendingWrites
from runner.history.database import Database
from runner.history.firings import add_firing as really_add
from runner.history.runs import list_runs
from runner.model.errors import HistoryError
from runner.model.jobs import Catchup, Job, JobSpec
from tests.benchmarks.simulation import World
from tests.benchmarks.year import Household

START = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clocks = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(guard, "time", SimpleNamespace(monotonic=lambda: clocks.now_s))
    return clocks


@pytest.fixture
def job() -> Job:
    return Job(job_id=1, spec=JobSpec(name="docs", root=b"/"), created_at=START, schedule_start=START)


def failing(*errors: Exception) -> Callable[..., None]:
    left = iter(errors)

    def fail(*_: Any) -> None:
        for error in left:
            raise error

    return fail


@pytest.mark.parametrize(
    "error", [HistoryError("it is locked"), PermissionError(13, "no"), MemoryError(), ImportError("MemoryError")]
)
def test_a_write_refused_by_the_machine_is_tried_again(job: Job, error: Exception) -> None:
    writes, done = PendingWrites(bool), list[bool]()
    refuse = failing(error)

    def write(*again: bool) -> None:
        refuse()
        done.extend(again)

    writes.add(job, "one", write)
    writes.add(job, "two", done.append)
    writes.write()
    assert [] == done
    writes.write()
    assert [True, False] == done


def test_a_write_that_meets_a_defect_is_logged_and_dropped(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    writes, done = PendingWrites(bool), list[bool]()
    writes.add(job, "the firing at noon", failing(LookupError("nobody saw it coming")))
    writes.add(job, "two", done.append)
    for _ in range(2):
        writes.write()
    assert [False] == done
    (record,) = caplog.records
    assert (logging.ERROR, "a defect in runner; not recorded: the firing at noon") == (
        record.levelno, record.getMessage(),
    )  # fmt: skip
    assert record.exc_info


def test_a_defect_about_one_job_stops_no_other(
    history: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def add_firing(database: Database, job: Job, *arguments: Any, **named: Any) -> str | None:
        if job.spec.name == "bad":
            raise LookupError("nobody saw it coming")
        return really_add(database, job, *arguments, **named)

    monkeypatch.setattr(dispatcher, "add_firing", add_firing)
    world = World(history, START)
    with world.entered():
        household = Household(world, seed=0)
        for name in ("bad", "good"):
            household.register(name, every="1m", catchup=Catchup.NONE)
        world.live(3.5 * MINUTE)
    assert [("good", START + number * MINUTE) for number in (3, 2, 1)] == [
        (run.job, run.scheduled_at) for run in list_runs(history)
    ]
    assert 3 == caplog.text.count("a defect in runner; not recorded: the firing at 2026-06-01T00:0")


@pytest.fixture
def limited() -> Iterator[None]:
    with repeats_limited():
        yield


@pytest.mark.usefixtures("limited")
def test_an_error_that_lasts_is_logged_once_an_hour(caplog: pytest.LogCaptureFixture, clocks: SimpleNamespace) -> None:
    for _ in range(3 * 60):
        guarded(failing(HistoryError("it is locked")))
        guarded(failing(LookupError("nobody saw it coming")))
        clocks.now_s += 60
    assert (3, 3) == (caplog.text.count("it is locked"), caplog.text.count("a defect in runner"))


@pytest.mark.usefixtures("limited")
def test_another_error_or_a_new_one_is_logged_at_once(
    job: Job, caplog: pytest.LogCaptureFixture, clocks: SimpleNamespace
) -> None:
    def log(message: str, about: Job | None = None) -> int:
        guarded(failing(HistoryError(message)), about)
        clocks.now_s += 1
        return len(caplog.records)

    assert [1, 2, 2, 2, 3] == [log("locked"), log("full"), log("locked"), log("full"), log("locked", job)]
    clocks.now_s += 150
    assert 4 == log("locked")
