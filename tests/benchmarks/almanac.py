"""When jobs should have fired, worked out slowly and apart from runner.schedules: minute by minute, as cron does."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from runner.model.jobs import Schedule, ScheduleKind

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_ALIASES = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class CronTab:
    """One line of a crontab, as crontab(5) and the cron(8) of Debian describe it."""

    def __init__(self, expression: str) -> None:
        minute, hour, day, month, weekday = _ALIASES.get(expression, expression).split()
        # Changes of the clock don't matter to it.
        self.wild = minute.startswith("*") or hour.startswith("*")
        hours = _numbers(hour, 0, 23)
        self._clock_times = frozenset(60 * h + m for h in hours for m in _numbers(minute, 0, 59))
        self._days = _numbers(day, 1, 31)
        self._months = _numbers(month, 1, 12, _MONTHS)
        self._weekdays = {number % 7 for number in _numbers(weekday, 0, 7, _WEEKDAYS)}
        self._both = day.startswith("*") or weekday.startswith("*")
        self._known: dict[date, bool] = {}

    def matches(self, local: datetime) -> bool:
        """Return whether a clock that shows this minute names a time of the line."""
        if 60 * local.hour + local.minute not in self._clock_times:
            return False
        day = local.date()
        if day not in self._known:
            by_day, by_weekday = day.day in self._days, day.isoweekday() % 7 in self._weekdays
            either = by_day and by_weekday if self._both else by_day or by_weekday
            self._known[day] = either and day.month in self._months
        return self._known[day]


def _numbers(field: str, low: int, high: int, names: Sequence[str] = ()) -> set[int]:
    def number(text: str) -> int:
        return names.index(text.lower()) if text.isalpha() else int(text)

    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = low if first == "*" else number(first)
        end = high if first == "*" else number(last) if last else start
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def cron_times(expressions: Iterable[str], zone: str, first: datetime, last: datetime) -> dict[str, list[datetime]]:
    """Return the instants from *first* to *last* at which lines fire, looking at the clock of a zone every minute.

    A line that names clock times does not fire at times which it has seen before, and at the end of a gap once for all
    that lay in it. So does Debian's cron for changes of up to three hours; a longer gap is treated here as a short one.
    """
    lines = {expression: CronTab(expression) for expression in expressions}
    times: dict[str, list[datetime]] = {expression: [] for expression in lines}
    tz, at = ZoneInfo(zone), (first - _DAY).replace(second=0, microsecond=0)
    latest = at.astimezone(tz).replace(tzinfo=None) - _MINUTE
    while at <= last:
        local = at.astimezone(tz).replace(tzinfo=None)
        fresh = local > latest
        gap = [latest + number * _MINUTE for number in range(1, (local - latest) // _MINUTE)] if fresh else []
        for expression, line in lines.items():
            if line.wild or fresh:
                fires = line.matches(local) or (not line.wild and any(map(line.matches, gap)))
                if fires and at >= first:
                    times[expression].append(at)
        latest = max(latest, local)
        at += _MINUTE
    return times


def every_times(schedule: Schedule, first: datetime, last: datetime) -> list[datetime]:
    """Return the instants from *first* to *last* that are whole intervals after the anchor."""
    parts = re.findall(r"(\d+)([smhd])", schedule.expression)
    interval = timedelta(seconds=sum(int(digits) * _UNITS_S[unit] for digits, unit in parts))
    before = max(0, (first - schedule.interval_origin) // interval)
    until = (last - schedule.interval_origin) // interval
    return [at for n in range(max(1, before), until + 1) if (at := schedule.interval_origin + n * interval) >= first]


def jittered(schedule: Schedule, key: int, nominal: datetime) -> datetime:
    """Return an instant delayed by a hash of the job's number and of the instant itself, as every version does."""
    microseconds = (nominal - _EPOCH) // timedelta(microseconds=1)
    part = int.from_bytes(hashlib.blake2b(b"%d %d" % (key, microseconds), digest_size=8).digest())
    return nominal + timedelta(microseconds=part * schedule.jitter_s * 1_000_000 >> 64)


class Almanac:
    """The fire times of many schedules within one span of time."""

    def __init__(self, schedules: Sequence[Schedule], first: datetime, last: datetime) -> None:
        self._first, self._last = first - _DAY, last
        lines = [schedule for schedule in schedules if schedule.kind is ScheduleKind.CRON]
        self._cron = {
            zone: cron_times({one.expression for one in lines if one.timezone == zone}, zone, self._first, last)
            for zone in sorted({schedule.timezone for schedule in lines})
        }

    def times(self, schedule: Schedule, key: int, after: datetime, until: datetime) -> list[datetime]:
        """Return the fire times of a job with after < time <= until."""
        match schedule.kind:
            case ScheduleKind.CRON:
                nominal = self._cron[schedule.timezone][schedule.expression]
            case ScheduleKind.EVERY:
                nominal = every_times(schedule, self._first, self._last)
            case _:
                nominal = [datetime.fromisoformat(schedule.expression)]
        return [at for at in (jittered(schedule, key, one) for one in nominal) if after < at <= until]
