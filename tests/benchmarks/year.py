"""Whether a daemon fires right through whole years, none of which takes one.

Daemons live by a simulated clock, in the years 2011 (a day that never was on Samoa) and 2026: they are stopped, killed,
held up and put to sleep, while jobs in many time zones are registered, changed, paused, resumed and removed. What they
have recorded is compared with fire times worked out apart.
"""

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from runner.history.database import Database, locate
from runner.history.jobs import add_job, change_job, remove_job
from runner.history.runs import list_runs
from runner.history.upgrade import open_database
from runner.model.jobs import Catchup, Job, JobSpec, ScheduleKind
from runner.model.runs import Status
from runner.schedules.parse import parse_schedule, update_schedule
from tests.benchmarks.accounts import Account, Arming, balance
from tests.benchmarks.almanac import Almanac
from tests.benchmarks.progress import make_parser, reporting, write_head, write_row
from tests.benchmarks.simulation import World

_SECOND, _MINUTE, _HOUR, _DAY = (timedelta(seconds=number) for number in (1, 60, 3600, 86_400))

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # changes at midnight, until 2019
    "Africa/Cairo",  # changes at midnight, again since 2023
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Pacific/Apia",  # no 30 December in 2011
    "UTC",
)
LINES = ("30 2 * * *", "0 0 * * *", "*/15 1-2 * * 0", "45 23,0 1-7 * 0", "@weekly", "5 0 13 * fri", "17 */6 * * *")
INTERVALS = ("7h", "1d", "5h30m", "11h59m59s")
# For how long daemons are away.
_GAPS = (20 * _SECOND, 90 * _SECOND, _HOUR, 5 * _HOUR, 2 * _DAY, 9 * _DAY, 23 * _DAY)
_HOW_OFTEN = (6, 6, 6, 6, 3, 1, 1)
# The columns of the table that sum up accounts.
_COUNTS = ("expected", "carried_out", "skipped", "missed", "made_up")
_SUMS = dict(zip(("fire times", "runs", "skipped", "missed", "made up"), _COUNTS, strict=True))


class Household:
    """The user who registers, changes and removes jobs, and takes note of it."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._random = Random(seed)  # noqa: S311  chance, not secrets
        self.jobs: dict[int, Job] = {}
        self.armings: list[Arming] = []
        self.catchups: dict[int, Catchup] = {}

    def register(self, name: str, *, catchup: Catchup | None = None, timezone: str = "UTC", **when: str) -> None:
        chosen = catchup or self._random.choice(list(Catchup))
        schedule = parse_schedule(**when, timezone=timezone, now=self._world.now)
        spec = JobSpec(name=name, root=b"/", schedule=schedule, catchup=chosen)
        job = add_job(self._world.database, spec, self._world.now)
        self.jobs[job.job_id] = job
        self.catchups[job.job_id] = chosen
        self._arm(job)

    def change(self, job_id: int, **when: str) -> None:
        """Change the schedule of a job."""
        job = self.jobs[job_id]
        self._become(job, replace(job.spec, schedule=update_schedule(job.spec.schedule, **when, now=self._world.now)))

    def pause(self, job_id: int, *, paused: bool = True) -> None:
        """Pause or resume a job."""
        job = self.jobs[job_id]
        self._become(job, replace(job.spec, paused=paused))

    def remove(self, job_id: int) -> None:
        remove_job(self._world.database, self.jobs.pop(job_id), self._world.now)
        self._disarm(job_id)

    def meddle(self) -> None:
        """Edit a job at random."""
        random, job_id = self._random, self._random.choice(list(self.jobs))
        job = self.jobs[job_id]
        schedule = job.spec.schedule
        match random.randrange(7):
            case 0 | 1 | 2:
                self.pause(job_id, paused=not job.spec.paused)
            case 3 if schedule is not None and schedule.kind is ScheduleKind.CRON:
                self.change(job_id, timezone=random.choice(ZONES))
            case 3 | 4 if schedule is not None and schedule.kind is ScheduleKind.EVERY:
                self.change(job_id, every=random.choice(INTERVALS))
            case 5 if len(self.jobs) > 5:
                self.remove(job_id)
            case _:
                at = self._world.now + random.uniform(0.01, 20) * _DAY
                self.register(f"once-{len(self.armings)}", at=at.isoformat())

    def _become(self, job: Job, spec: JobSpec) -> None:
        self.jobs[job.job_id] = changed = change_job(self._world.database, job, spec, self._world.now)
        if spec.paused or changed.schedule_start != job.schedule_start:
            self._disarm(job.job_id)
        if not spec.paused and changed.schedule_start != job.schedule_start:
            self._arm(changed)

    def _arm(self, job: Job) -> None:
        assert job.spec.schedule is not None, "jobs here have schedules"
        self.armings.append(Arming(job.job_id, job.spec.schedule, self._world.now))

    def _disarm(self, job_id: int) -> None:
        for arming in self.armings:
            if arming.job_id == job_id and arming.until is None:
                arming.until = self._world.now


def live_through(
    world: World, register: Callable[[Household], None], *, days: float, seed: int, meddles: int = 0,
    told: Callable[[str], None] = lambda _text: None,
) -> Household:  # fmt: skip
    """Register jobs, and let daemons come and go for so many days."""
    random, household = Random(seed), Household(world, seed)  # noqa: S311  chance, not secrets
    until = world.now + days * _DAY

    def some_time(action: Callable[[], None]) -> None:
        world.at(world.now + random.uniform(0, days) * _DAY, action)

    with world.entered():
        register(household)
        for _ in range(meddles):
            some_time(household.meddle)
        for _ in range(max(2, meddles // 4)):
            some_time(lambda: world.hold_up(random.uniform(1, 600) * _SECOND))
            some_time(lambda: world.set_clock(random.choice(_GAPS[1:-2])))
        while world.now < until:
            told(f"{world.now:%Y-%m-%d}")
            lasting = 10 ** random.uniform(-3.5, 1.5) * _DAY
            world.live(min(until - world.now, lasting), killed=random.random() < 0.4)
            world.rest(random.choices(_GAPS, weights=_HOW_OFTEN)[0] * random.uniform(0.5, 1.5))
        # All that is expected is caught up in the end.
        world.takes = lambda _job: _SECOND
        world.live(_DAY)
    return household


def accounts(world: World, household: Household) -> dict[int, Account]:
    """Compare what was recorded of each job with what should have been."""
    almanac = Almanac([arming.schedule for arming in household.armings], world.start, world.now)
    runs = list_runs(world.database)[::-1]
    found = {}
    for job_id, catchup in household.catchups.items():
        armings = [arming for arming in household.armings if arming.job_id == job_id]
        found[job_id] = balance(job_id, catchup, armings, almanac, world.lives, world.held, runs)
    return found


def register_all(household: Household) -> None:
    """Register jobs of every kind in every zone, some with a jitter, some with each way to make up."""
    for number, zone in enumerate(ZONES):
        # The last fires as often as all others together.
        for place, line in enumerate(LINES[: None if number % 3 == 0 else -1]):
            jitter = "20m" if (number + place) % 4 == 0 and "*/15" not in line and "-7" not in line else "none"
            household.register(f"cron-{number}-{place}", cron=line, timezone=zone, jitter=jitter)
    for number, interval in enumerate(INTERVALS):
        household.register(f"every-{number}", every=interval, timezone=ZONES[number], jitter="1h")
        household.register(f"exactly-{number}", every=interval)


def main() -> None:
    """Simulate the years, print a table, and fail if anything is otherwise than it should be."""
    given = make_parser(__doc__, year=[int], days=365.0, seed=0).parse_args()
    logging.disable(logging.CRITICAL)
    write_head("year", "jobs", "daemons", *_SUMS, "differences", "time")
    differences: list[str] = []
    for year in given.year or [2011, 2026]:
        differences += _simulate(year, given.days, given.seed)
    for difference in differences:
        sys.stdout.write(f"{difference}\n")
    sys.exit(1 if differences else 0)


def _simulate(year: int, days: float, seed: int) -> list[str]:
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_database(locate(str(Path(folder) / "year.db")))) as database,
        reporting() as tell,
    ):
        world = make_world(database, datetime(year, 1, 1, 0, 0, 7, tzinfo=UTC), seed)
        household = live_through(world, register_all, days=days, seed=seed, meddles=int(days), told=tell)
        tell("compared with what should have been")
        found = list(accounts(world, household).values())
    differences = [difference for account in found for difference in account.differences]
    sums = [sum(getattr(account, field) for account in found) for field in _SUMS.values()]
    cells = [f"{cell:,}" for cell in (len(found), len(world.lives), *sums, len(differences))]
    write_row(year, *cells, f"{time.perf_counter() - began:.0f} s")
    return differences


def make_world(database: Database, start: datetime, seed: int) -> World:
    """Make a world in which most runs are short, some take minutes or hours, and some fail."""
    random = Random(seed)  # noqa: S311  chance, not secrets
    durations: Sequence[timedelta] = [2 * _SECOND] * 30 + [40 * _SECOND, 4 * _MINUTE, 2 * _HOUR]
    return World(
        database,
        start,
        takes=lambda _job: random.choice(durations),
        ends=lambda _job: random.choice([Status.SUCCEEDED] * 9 + [Status.FAILED]),
        at_once=2,
        seed=seed,
    )


if __name__ == "__main__":
    main()
