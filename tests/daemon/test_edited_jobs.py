"""Jobs that are edited while they fire: no fire time is recorded twice."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from runner.daemon import daemon as daemon_loop
from runner.history.database import Database
from runner.history.jobs import jobs_revision
from runner.history.runs import list_runs
from runner.model.jobs import Catchup
from runner.model.runs import Status
from tests.benchmarks.simulation import World
from tests.benchmarks.year import Household

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
START = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("edit", "minutes"),
    [
        (lambda household: household.change(1, cron="*/5 * * * *"), [1, 2, 3, 4, 5, 10]),
        (lambda household: household.remove(1), [1, 2, 3, 4]),
        (lambda household: household.pause(1), [1, 2, 3, 4]),
    ],
    ids=["changed", "removed", "paused"],
)
def test_a_fire_time_reported_after_an_edit_is_recorded_at_most_once(
    history: Database, monkeypatch: pytest.MonkeyPatch, edit: Callable[[Household], None], minutes: list[int]
) -> None:
    world = World(history, START, at_once=2, leaps=False)
    edits, at = [edit], START + 5 * MINUTE

    def look(database: Database) -> int:
        """Look at the jobs late, so that the earlier schedule has reported a fire time after the edit."""
        if world.now > at - 2 * SECOND and edits:
            edits.pop()(household)
            world.hold_up(at + SECOND / 2 - world.now)
            world._settle()
        return jobs_revision(database)

    monkeypatch.setattr(daemon_loop, "jobs_revision", look)
    with world.entered():
        household = Household(world, seed=0)
        for name in ("docs", "other"):
            household.register(name, cron="* * * * *", catchup=Catchup.NONE)
        world.live(12 * MINUTE - SECOND)
    assert not edits
    for job_id, expected in ((1, minutes), (2, range(1, 12))):
        recorded = [(Status.SUCCEEDED, START + number * MINUTE) for number in expected]
        found = [run for run in list_runs(history)[::-1] if run.job_id == job_id]
        assert recorded == [(run.status, run.scheduled_at) for run in found]
