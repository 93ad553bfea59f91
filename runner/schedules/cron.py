"""Cron expressions: Vixie cron's fields, read by cronsim, matched against a plain calendar without time zones."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise

from cronsim import CronSim, CronSimError

from runner.model.errors import UsageError
from runner.model.units import format_count, is_duration

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L for the last day, LW for the last weekday",
    "month": "1 to 12 or jan to dec",
    "day-of-week": "0 to 7 or sun to sat, 5L for the last Friday, MON#1 for the first Monday",
}
# What other programs know: the fields, what an item of their lists looks like, what it is, and what to write instead.
_LAST_DAYS = "the last day is L, the last weekday LW"
_FOREIGN = (
    (_FIELDS, r"\?", "no value in Quartz", "write *"),
    (_FIELDS, r"[HR].*|.*~.*", "a random time", "write a number, and choose --jitter"),
    ({"day-of-month"}, r"LW?-.*", "a day before the last one", _LAST_DAYS),
    ({"day-of-month"}, r"LW?/.*", "a step from the last day", _LAST_DAYS),
    ({"day-of-month"}, r"(?!LW$).*W.*", "the weekday nearest to a day", _LAST_DAYS),
    ({"day-of-week"}, r"(?![0-7]L$).*L.*", "a last weekday without its number", "write 5L for the last Friday"),
    ({"day-of-week"}, r"(?!\w+#[1-5]$).*#.*", "no weekday of a month", "write MON#1 for the first Monday, to MON#5"),
)
_ONE_DAY = timedelta(days=1)
_DAY_MINUTES = 24 * 60
# The rarest day that fields can name is a 29 February on a given weekday: 40 years apart across a century such as 2100.
_RAREST_DAYS = 50 * 366
# After 28 years weekdays fall on the same dates again.
_CALENDAR_DAYS = 28 * 366


class Cron:
    """A parsed cron expression.

    Attributes:
        minutes: The minutes of a day at which it fires, counted from midnight; ascending.
        follows_clock: Whether it names clock times, so that Debian's cron moves it out of a daylight-saving gap and
            fires it once in a repeated hour. With a star for minute or hour it follows elapsed time through both.
    """

    def __init__(self, fields: str) -> None:
        minute, hour, *_ = fields.split()
        self._sim = CronSim(fields, datetime(2000, 1, 1))  # noqa: DTZ001 - a plain calendar has no zone
        self.minutes = tuple(60 * h + m for h in sorted(self._sim.hours) for m in sorted(self._sim.minutes))
        self.follows_clock = not minute.startswith("*") and not hour.startswith("*")

    def fires_on(self, day: date) -> bool:
        """Return whether it fires on a day."""
        return day.month in self._sim.months and self._sim.match_day(day)

    def matches_after(self, local: datetime) -> Iterator[datetime]:
        """Return the naive local times at which it fires, in order, strictly after *local*; none if it never fires."""
        day, skip, quiet_days = local.date(), self._rank(local), 0
        while quiet_days < _RAREST_DAYS:
            if self.fires_on(day):
                midnight = datetime.combine(day, time())
                yield from (midnight + timedelta(minutes=minute) for minute in self.minutes[skip:])
                quiet_days = 0
            day, skip, quiet_days = day + _ONE_DAY, 0, quiet_days + 1

    def count_matches(self, after: datetime, until: datetime) -> int:
        """Count the naive local times at which it fires, after < time <= until, in time independent of their number."""
        if until <= after:
            return 0
        first, last = after.date(), until.date()
        days = sum(self.fires_on(date.fromordinal(day)) for day in range(first.toordinal(), last.toordinal()))
        return (
            days * len(self.minutes)
            - self.fires_on(first) * self._rank(after)
            + self.fires_on(last) * self._rank(until)
        )

    def smallest_gap(self, after: date) -> timedelta:
        """Return the shortest time between two fire times of a calendar without daylight saving."""
        return min(timedelta(minutes=minutes) for minutes in self._gaps(min(self._days_between(after))))

    def largest_gap(self, after: date) -> timedelta:
        """Return the longest time between two fire times of a calendar without daylight saving."""
        return max(timedelta(minutes=minutes) for minutes in self._gaps(max(self._days_between(after))))

    def _days_between(self, after: date) -> list[int]:
        """Return the numbers of days from each day on which it fires to the next, over the years after one."""
        first = after.toordinal()
        days = [day for day in range(first, first + _CALENDAR_DAYS) if self.fires_on(date.fromordinal(day))]
        return [b - a for a, b in pairwise(days)] or [_RAREST_DAYS]

    def _gaps(self, days: int) -> list[int]:
        """Return the minutes between fire times on a day, and from the last one to the first one *days* later."""
        return [days * _DAY_MINUTES - self.minutes[-1] + self.minutes[0], *(b - a for a, b in pairwise(self.minutes))]

    def never_fires(self) -> bool:
        """Return whether its days never come."""
        return next(self.matches_after(datetime(2000, 1, 1)), None) is None  # noqa: DTZ001 - as above

    def _rank(self, local: datetime) -> int:
        return bisect_right(self.minutes, 60 * local.hour + local.minute)


@lru_cache(maxsize=4096)
def load_cron(expression: str) -> Cron:
    """Parse a normalised expression: five fields or an alias.

    Raises:
        UsageError: If it is wrong or would never fire.
    """
    fields = ALIASES.get(expression, expression)
    _check_shape(fields)
    for (name, allowed), field in zip(_FIELDS.items(), fields.split(), strict=True):
        _check_field(name, allowed, field)
    try:
        cron = Cron(fields)
    except CronSimError:  # every field is right by itself, so the days lie outside the months
        cron = None
    if cron is None or cron.never_fires():
        raise UsageError(f"the cron expression {expression!r} never fires; choose a day that its months have")
    return cron


def _check_shape(fields: str) -> None:
    if fields == "@reboot":
        raise UsageError("'@reboot' names no clock time; have the system start 'runner daemon' and choose e.g. @daily")
    if fields.startswith("@every"):  # as in other schedulers
        interval = fields.removeprefix("@every")
        raise UsageError(
            f"{fields!r} is an interval; choose it by --every {interval.strip() if is_duration(interval) else '1h'}"
        )
    if fields.startswith("@"):
        raise UsageError(f"{fields!r} is not a cron time; the names are {', '.join(ALIASES)}")
    if zone := re.match(r"(?:CRON_)?TZ=(\S*)", fields):
        raise UsageError(f"{zone[0]!r} is not a field of cron; choose the time zone by --timezone {zone[1] or 'UTC'}")
    number = len(fields.split())
    if number != len(_FIELDS):
        cure = "leave out the seconds, or use --every" if number == len(_FIELDS) + 1 else "write it like '0 6 * * 1-5'"
        has = format_count(number, "field")
        raise UsageError(f"the cron expression {fields!r} has {has}, not five ({', '.join(_FIELDS)}); {cure}")


def _check_field(name: str, allowed: str, field: str) -> None:
    for item in field.split(","):
        for names, pattern, what, cure in _FOREIGN:
            if name in names and re.fullmatch(pattern, item.upper()):
                raise UsageError(f"{item!r} in a cron expression is {what}, which is not supported; {cure}")
    try:
        field.encode("ascii")  # cronsim takes other letters that become ASCII in upper case
        CronSim(" ".join(field if name == other else "*" for other in _FIELDS), datetime(2000, 1, 1))  # noqa: DTZ001
    except (CronSimError, ValueError):  # ValueError: not ASCII, or more digits than Python converts
        raise UsageError(
            f"{field!r} is not a {name} of a cron expression; use {allowed}, "
            "with * for all, lists 1,2, rising ranges 1-5, or steps */5"
        ) from None
