"""The APScheduler trigger of a schedule."""

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from runner.model.jobs import Schedule
from runner.schedules.fire_times import describe, last_fire_time, next_fire_time


class ScheduleTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no types
    """A trigger with the fire times of a schedule, strictly after an aware instant; *key* is the job's number."""

    __slots__ = ("after", "key", "schedule")

    def __init__(self, schedule: Schedule, key: int, after: datetime) -> None:
        self.schedule = schedule
        self.key = key
        self.after = after

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the fire time after *previous_fire_time*, or the last one up to *now* if several are due.

        ``Job._get_run_times`` calls this once for each fire time up to *now*, and with ``coalesce=True`` the scheduler
        uses only the last. After a month of sleep that would be 2.6 million calls for a 1 s job, so all but the last
        are skipped. A scheduler without coalescing must not use this trigger.
        """
        if previous_fire_time is None:
            return next_fire_time(self.schedule, self.key, self.after)
        following = next_fire_time(self.schedule, self.key, previous_fire_time)
        if following is None or following > now:
            return following
        return last_fire_time(self.schedule, self.key, previous_fire_time, now)

    def __str__(self) -> str:
        return describe(self.schedule)
