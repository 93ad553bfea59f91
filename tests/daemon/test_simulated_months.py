"""Months of a real daemon's firings by a simulated clock, compared with fire times worked out apart."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from runner.history.database import Database
from runner.history.runs import list_runs
from runner.model.jobs import Catchup
from runner.model.runs import Cause, Status
from tests.benchmarks.simulation import World
from tests.benchmarks.year import Household, accounts, live_through

DURATIONS = [timedelta(seconds=number) for number in (1, 2, 40, 1, 5000)]


def register_some(household: Household) -> None:
    household.register("berlin", cron="30 2 * * *", timezone="Europe/Berlin", catchup=Catchup.ALL)
    household.register("cairo", cron="0 0 * * *", timezone="Africa/Cairo", catchup=Catchup.ONCE)
    household.register("new-york", cron="*/30 1-2 * * 0", timezone="America/New_York", catchup=Catchup.ONCE)
    household.register("lord-howe", cron="*/10 2 1-7 * 0", timezone="Australia/Lord_Howe", catchup=Catchup.NONE)
    household.register("kathmandu", cron="45 */12 * * 1-5", timezone="Asia/Kathmandu", jitter="2h")
    household.register("apia", cron="5 0 13 * fri", timezone="Pacific/Apia", catchup=Catchup.ALL)
    household.register("day", every="1d", jitter="1h", catchup=Catchup.ALL)
    household.register("hours", every="17h", catchup=Catchup.ONCE)
    household.register("long", every="13h", catchup=Catchup.NONE)
    household.register("once", at="2026-12-24T18:00Z", catchup=Catchup.ONCE)


@pytest.mark.parametrize("start", ["2026-03-05"])
def test_every_fire_time_of_weeks_has_one_record(history: Database, start: str) -> None:
    durations = itertools.cycle(DURATIONS)
    world = World(
        history, datetime.fromisoformat(start).replace(tzinfo=UTC, second=7), takes=lambda _job: next(durations)
    )
    household = live_through(world, register_some, days=40, seed=1, meddles=20)
    found = accounts(world, household)
    assert [] == [difference for account in found.values() for difference in account.differences]
    for kind in ("carried_out", "skipped", "missed", "made_up"):
        assert 0 < sum(getattr(account, kind) for account in found.values()), kind


def test_missed_times_of_an_earlier_schedule_are_not_caught_up(
    history: Database,
) -> None:
    world = World(history, datetime(2026, 3, 1, tzinfo=UTC), takes=lambda _job: timedelta(hours=3))
    household = Household(world, seed=0)
    with world.entered():
        household.register("first", cron="15 1 * * *", catchup=Catchup.ONCE)
        household.register("changed", cron="0 * * * *", catchup=Catchup.ONCE)
        world.rest(timedelta(hours=5, minutes=10))
        world.live(timedelta(minutes=10), killed=True)  # the first is caught up, the other one waits for it
        household.change(2, cron="30 * * * *")
        world.rest(timedelta(minutes=1))
        world.live(timedelta(minutes=5))
    assert [] == [
        run for run in list_runs(history) if run.job_id == 2 and run.cause is Cause.CATCHUP and run.started_at
    ]


def test_several_downtimes_are_caught_up_despite_deaths(
    history: Database,
) -> None:
    world = World(history, datetime(2026, 3, 1, tzinfo=UTC), takes=lambda _job: timedelta(hours=3))
    household = Household(world, seed=0)
    with world.entered():
        household.register("first", cron="15 * * * *", catchup=Catchup.ONCE)
        household.register("all", cron="0 * * * *", catchup=Catchup.ALL)
        for hours in (5, 2, 1):
            world.rest(timedelta(hours=hours, minutes=5))
            world.live(timedelta(minutes=10), killed=True)
        world.takes = lambda _job: timedelta(seconds=1)
        world.live(timedelta(hours=2))
        world.live(timedelta(seconds=1))
    assert [] == [difference for account in accounts(world, household).values() for difference in account.differences]


@pytest.mark.parametrize("meddle", [Household.pause, Household.remove])
def test_a_waiting_firing_of_a_paused_job_is_skipped(
    history: Database, meddle: Callable[[Household, int], None]
) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    world = World(history, start, takes=lambda _job: timedelta(hours=1))
    household = Household(world, seed=0)
    with world.entered():
        household.register("first", cron="0 1 * * *")
        household.register("second", cron="5 1 * * *")
        world.at(start + timedelta(minutes=70), lambda: meddle(household, 2))
        world.live(timedelta(hours=3))
    (row,) = (run for run in list_runs(history) if run.job_id == 2)
    assert (Status.SKIPPED, start + timedelta(minutes=65)) == (row.status, row.scheduled_at)
    assert row.message is not None
    assert "paused or removed" in row.message
