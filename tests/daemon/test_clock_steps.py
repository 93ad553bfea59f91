"""What a real daemon does when its clock is set, or its machine sleeps; the clock is a simulated one."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.daemon import clock, dispatcher
from runner.history.database import Database
from runner.history.firings import record_gap
from runner.history.jobs import change_job, find_job, list_jobs
from runner.history.runs import list_runs
from runner.model.errors import HistoryError
from runner.model.jobs import Catchup, Job
from runner.model.runs import Cause, Run, Status
from runner.schedules.fire_times import next_fire_time
from tests.benchmarks.simulation import World
from tests.benchmarks.year import Household, accounts

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=number) for number in (1, 60, 3600, 86_400))
START = datetime(2026, 6, 1, tzinfo=UTC)
TWO = START + 2 * HOUR


@pytest.fixture
def world(history: Database) -> Iterator[World]:
    world = World(history, START, at_once=4)
    with world.entered():
        yield world


@pytest.fixture
def household(world: World) -> Household:
    """Register a job of each kind, which treat a clock that is set back differently."""
    household = Household(world, seed=0)
    household.register("names-a-time", cron="0 2 * * *", catchup=Catchup.ONCE)
    household.register("any-hour", cron="*/20 * * * *", catchup=Catchup.ONCE)
    household.register("interval", every="20m", catchup=Catchup.ONCE)
    household.register("instant", at="2026-06-01T01:59:00Z", catchup=Catchup.ONCE)
    return household


def rows(world: World, job_id: int) -> list[Run]:
    return [run for run in list_runs(world.database)[::-1] if run.job_id == job_id]


def fired(world: World, job_id: int) -> Counter[datetime]:
    """Count the runs of a job for each of its fire times."""
    return Counter(run.scheduled_at for run in rows(world, job_id) if run.scheduled_at and run.started_at)


def step(world: World, by: timedelta) -> Callable[[], None]:
    return lambda: world.set_clock(by)


def make_lockable(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that locks the database for writers and readers of the jobs table."""
    refused = False

    def unless_locked(do: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any, **named: Any) -> Any:
            if refused:
                raise HistoryError("the database is locked")
            return do(*arguments, **named)

        return attempt

    def lock(*, locked: bool) -> None:
        nonlocal refused
        refused = locked

    monkeypatch.setattr(Database, "write", unless_locked(Database.write))
    monkeypatch.setattr(clock, "list_jobs", unless_locked(list_jobs))
    return lock


@pytest.mark.parametrize("by", [150 * SECOND, 50 * MINUTE, 5 * HOUR, 3 * DAY])
def test_fire_times_skipped_by_a_clock_set_forward_are_missed(
    world: World, household: Household, by: timedelta
) -> None:
    world.at(START + 58 * MINUTE, step(world, by))
    world.live(69 * MINUTE)
    world.live(SECOND)
    found = accounts(world, household)
    assert [] == [difference for account in found.values() for difference in account.differences]
    for job_id in (2, 3):
        missed = [run for run in rows(world, job_id) if run.status is Status.MISSED]
        assert ([by // (20 * MINUTE) + (by == 50 * MINUTE)] if by > 150 * SECOND else []) == [
            run.missed for run in missed
        ]
        assert len(missed) == len([run for run in rows(world, job_id) if run.cause is Cause.CATCHUP])


@pytest.mark.parametrize("asleep", [12 * MINUTE, 8 * HOUR])
def test_a_wakeup_is_noticed_within_seconds(world: World, household: Household, asleep: timedelta) -> None:
    woken: list[datetime] = []

    def sleep_and_wake() -> None:
        world.set_clock(asleep)
        woken.append(world.now)

    world.at(START + 110.5 * MINUTE, sleep_and_wake)
    world.live(3 * HOUR)
    made_up = [run for job_id in household.jobs for run in rows(world, job_id) if run.cause is Cause.CATCHUP]
    assert set(household.jobs) == {run.job_id for run in made_up}
    for run in made_up:
        assert run.started_at is not None
        assert timedelta() <= run.started_at - woken[0] <= 2 * SECOND


def test_a_run_interrupted_by_sleep_is_followed_by_catch_up(world: World) -> None:
    world.takes = lambda _job: 10 * MINUTE
    household = Household(world, seed=0)
    household.register("docs", every="1h", catchup=Catchup.ONCE)
    world.at(START + 65 * MINUTE, step(world, 8 * HOUR))
    world.live(90 * MINUTE)
    world.live(SECOND)
    (account,) = accounts(world, household).values()
    assert [] == account.differences
    assert [
        (Status.SUCCEEDED, Cause.SCHEDULE, START + HOUR),
        (Status.MISSED, Cause.SCHEDULE, START + 2 * HOUR),
        (Status.SUCCEEDED, Cause.CATCHUP, START + 9 * HOUR),
    ] == [(run.status, run.cause, run.scheduled_at) for run in rows(world, 1)]


@pytest.mark.parametrize("during", [False, True], ids=["", "during"])
def test_fire_times_after_a_corrected_clock_are_missed(world: World, *, during: bool) -> None:
    world.set_clock(365 * DAY)
    household = Household(world, seed=0)
    household.register("any-hour", cron="*/20 * * * *", catchup=Catchup.ONCE)
    household.register("interval", every="20m", catchup=Catchup.ONCE)
    world.live(HOUR)
    if during:
        world.after(MINUTE, step(world, -365 * DAY))
    else:
        world.set_clock(-365 * DAY)
    world.live(65 * MINUTE)
    world.rest(3 * HOUR)
    world.live(MINUTE)
    for job_id in household.jobs:
        assert [9] == [run.missed for run in rows(world, job_id) if run.status is Status.MISSED]


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("by", [30 * SECOND, 10 * MINUTE, 2 * HOUR, DAY])
def test_only_intervals_follow_a_clock_set_back_by_under_3_hours(
    world: World, household: Household, by: timedelta, *, restarted: bool
) -> None:
    set_at = TWO + 5 * MINUTE
    world.at(set_at, step(world, -by))
    world.live(125 * MINUTE + 10 * SECOND)
    if restarted:
        world.rest(3 * SECOND)
    else:
        assert world.now < set_at, "the clock is behind"
    world.live(by + 25 * MINUTE)

    again = [TWO] if by >= 10 * MINUTE else []
    followed = Counter(START + number * 20 * MINUTE for number in range(1, 8))
    followed.update(at for number in range(-72, 8) if set_at - by < (at := START + number * 20 * MINUTE) <= set_at)
    assert Counter([TWO] * (2 if by == DAY else 1)) == fired(world, 1)
    assert {START + 119 * MINUTE: 1} == fired(world, 4)
    assert followed == fired(world, 2)
    assert bool(again) == (fired(world, 3)[TWO] == 2)
    assert [] == [run for job_id in household.jobs for run in rows(world, job_id) if run.started_at is None]


def test_a_clock_set_back_under_a_locked_database_is_followed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Household(world, seed=0).register("interval", every="20m", catchup=Catchup.ONCE)
    lock = make_lockable(monkeypatch)
    world.leaps = False
    world.at(START + 5 * HOUR + MINUTE, lambda: lock(locked=True))
    world.at(START + 5 * HOUR + MINUTE, step(world, -4 * HOUR))
    world.after(5 * HOUR + 46 * MINUTE, lambda: lock(locked=False))  # when it shows 01:46
    world.live(6 * HOUR)
    assert [(Status.MISSED, START + 80 * MINUTE, 2), (Status.SUCCEEDED, START + 100 * MINUTE, 0)] == [
        (run.status, run.scheduled_at, run.missed) for run in rows(world, 1)[-2:]
    ]


@pytest.mark.parametrize("late", ["missed", "skipped"])
def test_a_row_from_before_a_set_back_hides_no_later_fire_time(
    world: World, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    lock = make_lockable(monkeypatch)
    Household(world, seed=0).register("interval", every="20m", catchup=Catchup.NONE)
    world.after(59 * MINUTE, lambda: lock(locked=True))
    if late == "missed":
        world.after(59.5 * MINUTE, lambda: world.hold_up(50 * MINUTE))
    else:
        world.takes = lambda _job: 25 * MINUTE
    world.after(111 * MINUTE, step(world, -HOUR))
    world.after(112 * MINUTE, lambda: lock(locked=False))
    world.live(113 * MINUTE, killed=True)  # it is 00:53
    world.rest(100 * MINUTE)
    world.live(SECOND)
    newest = rows(world, 1)[-1]
    assert (Status.MISSED, START + HOUR, 5) == (newest.status, newest.scheduled_at, newest.missed)


def test_a_pending_firing_fires_once_despite_a_set_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = make_lockable(monkeypatch)
    Household(world, seed=0).register("names-a-time", cron="0 2 * * *", catchup=Catchup.ONCE)
    world.at(TWO - MINUTE, lambda: lock(locked=True))
    world.at(TWO - SECOND, lambda: world.hold_up(5 * MINUTE))
    world.after(126 * MINUTE, step(world, -HOUR))
    world.after(127 * MINUTE, lambda: lock(locked=False))
    world.live(200 * MINUTE)  # it is 02:20
    assert {TWO: 1} == fired(world, 1)


def test_a_fire_time_that_comes_again_is_recorded_by_a_second_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = make_lockable(monkeypatch)
    Household(world, seed=0).register("interval", every="20m", catchup=Catchup.NONE)
    world.at(START + 61 * MINUTE, step(world, -50 * MINUTE))
    world.after(69.5 * MINUTE, lambda: lock(locked=True))
    world.after(70.5 * MINUTE, lambda: lock(locked=False))  # when it shows 00:20:30
    world.live(75 * MINUTE)
    assert {20 * MINUTE: 2, 40 * MINUTE: 1, HOUR: 1} == {at - START: count for at, count in fired(world, 1).items()}


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("by", [HOUR, 365 * DAY])
def test_a_new_instant_after_a_set_back_still_fires(world: World, by: timedelta, *, restarted: bool) -> None:
    household = Household(world, seed=0)
    household.register("instant", at="2026-06-01T02:00:00Z", catchup=Catchup.NONE)
    other = TWO + MINUTE - by + 30 * MINUTE
    world.at(TWO + MINUTE, step(world, -by))
    world.after(122 * MINUTE, lambda: household.change(1, at=other.isoformat()))
    world.live(125 * MINUTE if restarted else 155 * MINUTE)
    world.live(30 * MINUTE)
    assert {TWO: 1, other: 1} == fired(world, 1)


@pytest.mark.usefixtures("household")
def test_a_set_back_is_followed_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read_at: list[datetime] = []

    def list_and_tell(database: Database) -> list[Job]:
        read_at.append(world.now)
        return list_jobs(database)

    monkeypatch.setattr(clock, "list_jobs", list_and_tell)
    set_at = TWO + 5 * MINUTE
    world.at(set_at, step(world, -4 * HOUR))
    world.live(130 * MINUTE)
    # At the start; then as they were, as that was changed, and as somebody has changed them.
    assert 4 == len(read_at)
    assert max(read_at[1:]) - (set_at - 4 * HOUR) < 3 * SECOND


@pytest.mark.parametrize("ahead", ["nothing", "a retry", "a firing that waits"])
def test_a_firing_due_before_a_set_back_hides_no_fire_time(world: World, ahead: str) -> None:
    household = Household(world, seed=0)
    household.register("long", every="1h", catchup=Catchup.NONE)
    household.register("docs", every="20m", catchup=Catchup.NONE)
    if ahead == "a retry":
        job = household.jobs[2]
        household.jobs[2] = change_job(world.database, job, replace(job.spec, retries=1, retry_delay_s=120), world.now)
        failing = (START + 5 * HOUR - SECOND, START + 5 * HOUR + MINUTE)
        world.ends = lambda _job: Status.FAILED if failing[0] < world.now < failing[1] else Status.SUCCEEDED
    elif ahead == "a firing that waits":
        world.at_once = 1
        world.takes = lambda job: 10 * MINUTE if job.job_id == 1 else SECOND
    world.at(START + 5 * HOUR + MINUTE, step(world, -4 * HOUR))
    world.live(5 * HOUR + 11 * MINUTE + 10 * SECOND, killed=True)  # it is 01:11
    world.rest(100 * MINUTE)
    world.live(SECOND)
    newest = {job_id: rows(world, job_id)[-1] for job_id in household.jobs}
    assert [(Status.MISSED, START + 2 * HOUR, 1), (Status.MISSED, START + 80 * MINUTE, 5)] == [
        (run.status, run.scheduled_at, run.missed) for run in newest.values()
    ]


def test_a_firing_that_waits_does_not_wait_for_the_clock(world: World) -> None:
    world.at_once = 1
    world.takes = lambda job: 10 * MINUTE if job.job_id == 1 else SECOND
    household = Household(world, seed=0)
    household.register("long", at="2026-06-01T05:00:00Z", catchup=Catchup.NONE)
    household.register("docs", every="20m", catchup=Catchup.NONE)
    job = household.jobs[2]
    change_job(world.database, job, replace(job.spec, retry_delay_s=86_400), world.now)
    world.at(START + 5 * HOUR + MINUTE, step(world, -4 * HOUR))
    world.live(5 * HOUR + 45 * MINUTE)  # it is 01:45
    hours = [TWO + 3 * HOUR, TWO - 40 * MINUTE, TWO - 20 * MINUTE]
    assert [(Status.SUCCEEDED, at) for at in hours] == [(run.status, run.scheduled_at) for run in rows(world, 2)[-3:]]


@pytest.mark.parametrize("when", [{"cron": "0 2 * * *"}, {"at": "2026-06-01T02:00:00Z"}], ids=["cron", "at"])
@pytest.mark.parametrize(
    "lasting", [4 * MINUTE, 20 * MINUTE, 75 * MINUTE], ids=["killed before", "killed after", "going on"]
)
def test_a_waiting_cron_job_fires_once_despite_a_set_back(
    world: World, when: dict[str, str], lasting: timedelta
) -> None:
    world.at_once = 1
    world.takes = lambda job: 10 * MINUTE if job.job_id == 1 else SECOND
    household = Household(world, seed=0)
    household.register("long", at="2026-06-01T01:59:00Z", catchup=Catchup.NONE)
    household.register("docs", **when, catchup=Catchup.NONE)
    household.register("interval", every="20m", catchup=Catchup.NONE)
    world.at(TWO + 2 * MINUTE, step(world, -HOUR))
    world.live(2 * HOUR + lasting, killed=True)
    world.live(75 * MINUTE)
    assert {TWO: 1} == fired(world, 2)
    assert 2 == fired(world, 3)[START + 80 * MINUTE]
    late_s = [run.lateness_s for run in list_runs(world.database) if run.lateness_s is not None]
    assert 0 <= min(late_s), "so that their sum never falls"


def test_a_clock_set_back_past_registration_omits_nothing(world: World) -> None:
    Household(world, seed=0).register("interval", every="20m", catchup=Catchup.ALL)
    world.at(START + 50 * MINUTE, step(world, -4 * HOUR))
    world.live(51 * MINUTE)
    job = find_job(world.database, "interval")
    assert job is not None
    assert job.spec.schedule is not None
    assert START - 3 * HOUR == next_fire_time(job.spec.schedule, 1, world.now), "the answer of `runner next`"
    world.live(61 * MINUTE, killed=True)  # it is 21:52
    world.rest(140 * MINUTE)
    world.live(MINUTE)
    missed = [run for run in rows(world, 1) if run.status is Status.MISSED]
    assert [(START - 2 * HOUR, 7)] == [(run.scheduled_at, run.missed) for run in missed]
    assert [START + (number - 6) * 20 * MINUTE for number in range(7)] == [
        run.scheduled_at for run in rows(world, 1) if run.cause is Cause.CATCHUP
    ]


def test_small_set_backs_add_up(world: World) -> None:
    Household(world, seed=0).register("minutes", every="1m", catchup=Catchup.NONE)
    for number in range(10):
        world.after(10 * MINUTE + (30 + 2 * number) * SECOND, step(world, -50 * SECOND))
    world.live(12 * MINUTE + SECOND)  # it is 00:03:41
    assert START + 3 * MINUTE == rows(world, 1)[-1].scheduled_at


def test_a_gap_repeated_by_the_clock_is_recorded_twice(world: World) -> None:
    Household(world, seed=0).register("interval", every="20m", catchup=Catchup.NONE)
    world.at(START + 61 * MINUTE, lambda: world.hold_up(50 * MINUTE))
    world.after(112 * MINUTE, step(world, -51 * MINUTE))
    world.after(112 * MINUTE + 30 * SECOND, lambda: world.hold_up(50 * MINUTE))
    world.live(3 * HOUR)
    missed = [(run.scheduled_at, run.missed) for run in rows(world, 1) if run.status is Status.MISSED]
    assert [(START + 80 * MINUTE, 2)] * 2 == missed


def test_an_unconfirmed_gap_is_recorded_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    unheard = iter(range(2))

    def record(*arguments: Any, **named: Any) -> None:
        record_gap(*arguments, **named)
        if next(unheard, None) is not None:
            raise HistoryError("the server has gone")

    monkeypatch.setattr(dispatcher, "record_gap", record)
    Household(world, seed=0).register("interval", every="20m", catchup=Catchup.NONE)
    world.at(START + 61 * MINUTE, lambda: world.hold_up(50 * MINUTE))
    world.live(3 * HOUR)
    assert [2] == [run.missed for run in rows(world, 1) if run.status is Status.MISSED]
