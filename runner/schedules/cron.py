"""Cron expressions of Vixie cron, parsed by cronsim and matched against a plain calendar or the clocks of a zone."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise, takewhile

from cronsim import CronSim, CronSimError

from runner.model.errors import UsageError
from runner.model.units import TICK, format_count, is_duration
from runner.schedules.zones import OffsetPeriod, offset_periods

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
# Notations of other programs: the fields, a pattern, the meaning, and what to write instead.
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
_ANY_TIME = datetime(2000, 1, 1)  # noqa: DTZ001 - a plain calendar has no zone
_ONE_DAY = timedelta(days=1)
_DAY_MINUTES = 24 * 60
# The rarest day is 29 February on a given weekday: 40 years apart across a century such as 2100.
_RAREST_DAYS = 50 * 366
# After 28 years the weekdays of all dates repeat.
_CALENDAR_DAYS = 28 * 366


class Cron:
    """A parsed cron expression.

    Attributes:
        minutes: The minutes since midnight at which it fires; ascending.
        follows_clock: Whether it names clock times, so that Debian's cron moves it out of a daylight-saving gap and
            fires it once in a repeated hour. With a star for minute or hour it follows elapsed time through both.
    """

    def __init__(self, fields: str) -> None:
        minute, hour, *_ = fields.split()
        self._sim = CronSim(fields, _ANY_TIME)
        self.minutes = tuple(60 * h + m for h in sorted(self._sim.hours) for m in sorted(self._sim.minutes))
        self.follows_clock = not minute.startswith("*") and not hour.startswith("*")

    @property
    def in_words(self) -> str:
        """A sentence such as ``At 02:30 on Monday through Friday``."""
        return self._sim.explain()

    def fires_on(self, day: date) -> bool:
        """Return whether it fires on a day."""
        return day.month in self._sim.months and self._sim.match_day(day)

    def matches_after(self, local: datetime) -> Iterator[datetime]:
        """Yield the naive local times at which it fires, in order, strictly after *local*."""
        day, skip, quiet_days = local.date(), self._rank(local), 0
        while quiet_days < _RAREST_DAYS:
            if self.fires_on(day):
                midnight = datetime.combine(day, time())
                yield from (midnight + timedelta(minutes=minute) for minute in self.minutes[skip:])
                quiet_days = 0
            day, skip, quiet_days = day + _ONE_DAY, 0, quiet_days + 1

    def count_matches(self, after: datetime, until: datetime) -> int:
        """Return the number of naive local times at which it fires, after < time <= until."""
        if until <= after:
            return 0
        first, last = after.date(), until.date()
        days = sum(self.fires_on(date.fromordinal(day)) for day in range(first.toordinal(), last.toordinal()))
        before, rest = self.fires_on(first) * self._rank(after), self.fires_on(last) * self._rank(until)
        return days * len(self.minutes) - before + rest

    def _rank(self, local: datetime) -> int:
        return bisect_right(self.minutes, 60 * local.hour + local.minute)

    def gaps(self, after: date) -> tuple[timedelta, timedelta]:
        """Return the shortest and the longest time between fire times, over 28 years without daylight saving."""
        first = after.toordinal()
        days = [day for day in range(first, first + _CALENDAR_DAYS) if self.fires_on(date.fromordinal(day))]
        between = [b - a for a, b in pairwise(days)] or [_RAREST_DAYS]
        nights = [number * _DAY_MINUTES + self.minutes[0] - self.minutes[-1] for number in (min(between), max(between))]
        gaps = [*nights, *(b - a for a, b in pairwise(self.minutes))]
        return timedelta(minutes=min(gaps)), timedelta(minutes=max(gaps))

    def times_in(self, zone: str, after: datetime) -> Iterator[datetime]:
        """Yield the instants at which it fires in a zone, strictly after *after*.

        Within a period of constant offset these are the matches of a plain calendar. CronSim's own walk through a zone
        is not used: started in a repeated hour it can return an instant in the past, and with a star for minute or hour
        it loses matches after a gap at midnight (America/Sao_Paulo) and at half-hour changes (Lord Howe).
        """
        low = after
        while (period := next(offset_periods(zone, low), None)) is not None:
            replacement, local = self._enter(period, after)
            if replacement is not None:
                yield replacement
            for match in map(period.to_utc, self.matches_after(local)):
                if match >= period.end:
                    break
                yield match
            else:
                return
            low, local_end = period.end, period.to_local(period.end)
            # Nothing matches before this, so earlier periods are skipped, unless clocks go back to the matches of the
            # last day; two days exceed any change of offset.
            if not self.count_matches(local_end - _ONE_DAY, local_end):
                low = max(low, match - 2 * _ONE_DAY)

    def count_in(self, zone: str, after: datetime, until: datetime) -> int:
        """Return the number of instants at which it fires in a zone, after < time <= until."""
        total = 0
        for period in takewhile(lambda period: period.start <= until, offset_periods(zone, after)):
            replacement, local = self._enter(period, after)
            last = period.to_local(min(until, period.end - TICK))
            total += (replacement is not None) + self.count_matches(local, last)
        return total

    def _enter(self, period: OffsetPeriod, after: datetime) -> tuple[datetime | None, datetime]:
        """Return how the fire times of a period start, with Debian's rules for clock changes.

        The first value is the start of the period if it replaces fire times skipped by clocks that went forward; the
        second is the naive local time strictly after which the period's own matches count.
        """
        replacement = None
        if after >= period.start:
            local = period.to_local(after)
        else:
            local = period.local_start - TICK
            # A match at the start itself replaces the skipped ones too.
            if self.follows_clock and self.count_matches(period.local_before - TICK, local):
                replacement, local = period.start, period.local_start
        if self.follows_clock:
            # Repeated clock times have fired already.
            local = max(local, period.local_before - TICK)
        return replacement, local


@lru_cache(maxsize=4096)
def load_cron(expression: str) -> Cron:
    """Parse a normalised expression, five fields or an alias; a UsageError if it is wrong or never fires."""
    fields = ALIASES.get(expression, expression)
    _check_shape(fields)
    for (name, allowed), field in zip(_FIELDS.items(), fields.split(), strict=True):
        _check_field(name, allowed, field)
    try:
        cron = Cron(fields)
    except CronSimError:  # each field is right, so the days are outside the months
        cron = None
    if cron is None or next(cron.matches_after(_ANY_TIME), None) is None:
        raise UsageError(f"the cron expression {expression!r} never fires; choose a day that its months have")
    return cron


def _check_shape(fields: str) -> None:
    number = len(fields.split())
    if fields == "@reboot":
        error = f"{fields!r} names no clock time; have the system start 'runner daemon' and choose e.g. @daily"
    elif fields.startswith("@every"):  # as in other schedulers
        interval = fields.removeprefix("@every").strip()
        error = f"{fields!r} is an interval; choose it by --every {interval if is_duration(interval) else '1h'}"
    elif fields.startswith("@"):
        error = f"{fields!r} is not a cron time; the names are {', '.join(ALIASES)}"
    elif zone := re.match(r"(?:CRON_)?TZ=(\S*)", fields):
        error = f"{zone[0]!r} is not a field of cron; choose the time zone by --timezone {zone[1] or 'UTC'}"
    elif number != len(_FIELDS):
        cure = "leave out the seconds, or use --every" if number == len(_FIELDS) + 1 else "write it like '0 6 * * 1-5'"
        has = format_count(number, "field")
        error = f"the cron expression {fields!r} has {has}, not five ({', '.join(_FIELDS)}); {cure}"
    else:
        return
    raise UsageError(error)


def _check_field(name: str, allowed: str, field: str) -> None:
    for item in field.split(","):
        for names, pattern, what, cure in _FOREIGN:
            if name in names and re.fullmatch(pattern, item.upper()):
                raise UsageError(f"{item!r} in a cron expression is {what}, which is not supported; {cure}")
    try:
        field.encode("ascii")  # cronsim accepts letters that become ASCII in upper case
        CronSim(" ".join(field if name == other else "*" for other in _FIELDS), _ANY_TIME)
    except (CronSimError, ValueError):  # ValueError: not ASCII, or more digits than Python converts
        raise UsageError(
            f"{field!r} is not {'an' if name == 'hour' else 'a'} {name} of a cron expression; use {allowed}, "
            "with * for all, lists 1,2, rising ranges 1-5, or steps */5"
        ) from None
