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

        ``Job._get_run_times`` asks for each fire time up to *now*, after a month of sleep 2.6 million for a 1 s job,
        of which a scheduler that coalesces, as it must here, uses only the last.
        """
        if previous_fire_time is None:
            return next_fire_time(self.schedule, self.key, self.after)
        following = next_fire_time(self.schedule, self.key, previous_fire_time)
        if following is None or following > now:
            return following
        return last_fire_time(self.schedule, self.key, previous_fire_time, now)

    def __str__(self) -> str:
        return describe(self.schedule)
