"""POSIX time zones such as ``CET-1CEST,M3.5.0,M10.5.0/3``, with the offsets of the GNU C library."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

_NAME = r"([A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_TIME = r"[+-]?\d{1,3}(?::[0-5]?\d){0,2}"
_RULE = rf"(M\d{{1,2}}\.\d\.\d|J?\d{{1,3}})(?:/({_TIME}))?"
_ZONE = re.compile(rf"{_NAME}({_TIME})(?:{_NAME}({_TIME})?(?:,{_RULE},{_RULE})?)?", re.ASCII)
# The C library uses the rules of the USA for a zone with daylight saving time but without rules.
_DEFAULT_RULES = ("M3.2.0", None, "M11.1.0", None)
_DEFAULT_TIME = "2"
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
# POSIX.1-2024 and RFC 9636 allow times of day from -167 to 167 hours.
_LONGEST_TIME = timedelta(hours=167, minutes=59, seconds=59)

# Returns the naive UTC time at which clocks change in a year.
_Rule = Callable[[int], datetime]


@dataclass(frozen=True, slots=True)
class _Daylight:
    """Daylight saving time: its name, its offset from UTC, and when it starts and ends each year, in UTC."""

    name: str
    offset: timedelta
    start: _Rule
    end: _Rule


class PosixZone(tzinfo):
    """A time zone in POSIX notation.

    Args:
        text: Standard time with its offset west of Greenwich; then, where clocks change, daylight saving time with its
            offset and the two rules.

    Raises:
        ValueError: If the text is no such zone.
    """

    def __init__(self, text: str) -> None:
        match = _ZONE.fullmatch(text)
        if match is None:
            raise ValueError("not a time zone in POSIX notation")
        name, offset, daylight_name, daylight_offset, *rules = match.groups()
        self.key = text
        self._name, self._standard = name.strip("<>"), _parse_offset(offset)
        self._daylight: _Daylight | None = None
        if daylight_name is not None:
            ahead = self._standard + _HOUR if daylight_offset is None else _parse_offset(daylight_offset)
            if abs(ahead) >= _DAY:
                raise ValueError("an offset of a day or more")
            start_day, start_time, end_day, end_time = rules if rules[0] else _DEFAULT_RULES
            self._daylight = _Daylight(
                daylight_name.strip("<>"),
                ahead,
                _parse_rule(start_day or "", start_time, self._standard),
                _parse_rule(end_day or "", end_time, ahead),
            )

    def changes(self, year: int) -> tuple[datetime, ...]:
        """Return the instants at which the rules of a year change clocks; naive UTC, in any order."""
        daylight = self._daylight
        return (daylight.start(year), daylight.end(year)) if daylight is not None else ()

    def utcoffset(self, local: datetime | None) -> timedelta | None:
        """Return what is added to UTC at a local time; in a gap, as PEP 495 requires."""
        if local is None or self._daylight is None:
            return self._standard
        naive = local.replace(tzinfo=None)
        low, high = sorted((self._standard, self._daylight.offset))
        fitting = [offset for offset in (high, low) if self._offset_at(naive - offset) == offset]
        # The larger offset belongs to the earlier instant of a repeated time.
        return (fitting or [low, high])[local.fold if len(fitting) != 1 else 0]

    def dst(self, local: datetime | None) -> timedelta:
        """Return by how much clocks are put forward; negative where winter time is the exception."""
        return (self.utcoffset(local) or timedelta()) - self._standard if local is not None else timedelta()

    def tzname(self, local: datetime | None) -> str:
        """Return the abbreviation in use at a local time."""
        return self._daylight.name if self._daylight is not None and self.dst(local) else self._name

    def fromutc(self, instant: datetime) -> datetime:
        """Return the local time of an instant, which is in UTC but has this zone."""
        offset = self._offset_at(instant.replace(tzinfo=None))
        local = instant.replace(fold=0) + offset
        return local if self.utcoffset(local) == offset else local.replace(fold=1)

    def _offset_at(self, instant: datetime) -> timedelta:
        """Return the offset at an instant, which is naive UTC and whose UTC year decides, as in the C library."""
        if self._daylight is None:
            return self._standard
        start, end = self.changes(instant.year)
        summer = start <= instant < end if start <= end else not end <= instant < start
        return self._daylight.offset if summer else self._standard


def _parse_offset(text: str) -> timedelta:
    offset = -_parse_time(text)
    if abs(offset) >= _DAY:
        raise ValueError("an offset of a day or more")
    return offset


def _parse_time(text: str) -> timedelta:
    hours, minutes, seconds = [*text.lstrip("+-").split(":"), "0", "0"][:3]
    time = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds))
    if time > _LONGEST_TIME:
        raise ValueError("a time beyond 167 hours")
    return -time if text.startswith("-") else time


def _parse_rule(day: str, time: str | None, offset: timedelta) -> _Rule:
    since_midnight = _parse_time(time or _DEFAULT_TIME) - offset
    if day.startswith("M"):
        month, week, weekday = map(int, day[1:].split("."))
        if not (1 <= month <= 12 and 1 <= week <= 5 and weekday <= 6):
            raise ValueError("a day that no month has")
        return lambda year: _find_weekday(year, month, week, weekday) + since_midnight
    number = int(day.lstrip("J"))
    if not (1 if day.startswith("J") else 0) <= number <= 365:
        raise ValueError("a day that no year has")
    if day.startswith("J"):  # never counts 29 February, and so counts within a common year
        common = datetime(2001, 1, 1) + (number - 1) * _DAY  # noqa: DTZ001  a plain calendar
        return lambda year: common.replace(year=year) + since_midnight
    return lambda year: datetime(year, 1, 1) + number * _DAY + since_midnight  # noqa: DTZ001  as above


def _find_weekday(year: int, month: int, week: int, weekday: int) -> datetime:
    """Return the given weekday (0 is Sunday) of a week of a month; the last one for week 5."""
    first = datetime(year, month, 1)  # noqa: DTZ001  as above
    day = first + (weekday - first.isoweekday()) % 7 * _DAY + (week - 1) * 7 * _DAY
    return day if day.month == month else day - 7 * _DAY
