"""Schedules as APScheduler triggers."""

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from runner.model.jobs import Schedule
from runner.schedules.fire_times import describe, last_fire_time, next_fire_time


class ScheduleTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no types
    """Fires at the fire times of a schedule, whenever the scheduler looks.

    Args:
        schedule: When to fire.
        key: The job's number, from which its jitter follows.
        after: The instant after which the first fire time lies; aware.
    """

    __slots__ = ("after", "key", "schedule")

    def __init__(self, schedule: Schedule, key: int, after: datetime) -> None:
        self.schedule = schedule
        self.key = key
        self.after = after

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the fire time that follows *previous_fire_time*, or the last one up to *now* where several are due.

        ``Job._get_run_times`` walks from the job's next run time to *now* by calling this once for each fire time,
        and with ``coalesce=True`` the scheduler keeps only the last of them. After a machine has slept for a month
        that walk would take 2.6 million steps for a 1 s job, so all but the last are skipped. The phase is not
        touched: what is returned is always a fire time of the schedule. A scheduler without coalescing must not use
        this trigger.
        """
        if previous_fire_time is None:
            return next_fire_time(self.schedule, self.key, self.after)
        following = next_fire_time(self.schedule, self.key, previous_fire_time)
        if following is None or following > now:
            return following
        return last_fire_time(self.schedule, self.key, previous_fire_time, now)

    def __str__(self) -> str:
        return describe(self.schedule)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ({describe(self.schedule)}, key={self.key}, after={self.after})>"
