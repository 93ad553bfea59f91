"""Time zones, and their periods of constant UTC offset, within which local time is a plain calendar."""

import io
import os
import re
import struct
import zoneinfo
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

from runner.model.errors import UsageError

_SECOND = timedelta(seconds=1)
# zoneinfo does not list clock changes, so offsets are probed. The closest two changes in tzdata 2025b are 3.98 days
# apart (Africa/Freetown, 1939), and since 1970 6.95 days (Asia/Gaza, 2040).
_PROBE_DAYS = 3
# POSIX.1-2024 notation, without days counted from zero, which zoneinfo takes for those before. It checks the ranges of
# the rules, but accepts offsets of a day. Daylight saving time is one hour more than 22 hours at most.
_NAME = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_OFFSET = r"[+-]?(?:[01]?\d|2[0-2])(?::[0-5]\d){0,2}"
_RULE = r"(?:M\d{1,2}\.\d\.\d|J\d{1,3})(?:/[+-]?\d{1,3}(?::[0-5]\d){0,2})?"
_ZONE = rf"{_NAME}{_OFFSET}(?P<daylight>{_NAME}(?:{_OFFSET})?(?P<rules>,{_RULE},{_RULE})?)?"


@dataclass(frozen=True, kw_only=True, slots=True)
class OffsetPeriod:
    """A period with one UTC offset of a zone, within one UTC year.

    Attributes:
        start: Its first instant; aware UTC.
        end: The first instant after it; aware UTC.
        offset: Local time minus UTC.
        moved: The clock change at the start: positive if clocks go forward, zero if only a new year starts.
    """

    start: datetime
    end: datetime
    offset: timedelta
    moved: timedelta

    @property
    def local_start(self) -> datetime:
        """The naive local time at the start, after the clock change."""
        return self.to_local(self.start)

    @property
    def local_before(self) -> datetime:
        """The same without the clock change."""
        return self.local_start - self.moved

    def to_local(self, instant: datetime) -> datetime:
        """Return the naive local time of an instant within the period."""
        return (instant + self.offset).replace(tzinfo=None)

    def to_utc(self, local: datetime) -> datetime:
        """Return the instant of a naive local time within the period."""
        return (local - self.offset).replace(tzinfo=UTC)


@lru_cache(maxsize=256)
def load_zone(name: str) -> ZoneInfo:
    """Load a time zone by its IANA name or its POSIX notation; a UsageError if there is none."""
    try:
        if not name.startswith("right/"):  # these count leap seconds, which Python does not
            return ZoneInfo(name)
    # Each kind of wrong name fails differently: a path, a directory, another file, an undecodable name.
    except (LookupError, ValueError, OSError):
        pass
    try:
        return _load_posix(name)
    except ValueError:
        raise _no_zone(name) from None


def _load_posix(text: str) -> ZoneInfo:
    match = re.fullmatch(_ZONE, text, re.ASCII)
    if match is None:
        raise ValueError
    if match["daylight"] and not match["rules"]:
        # C libraries disagree on them.
        raise UsageError(
            f"the time zone {text!r} has no rules for its clock changes; append them: {text},M3.2.0,M11.1.0"
        )
    if match["rules"] and not _are_apart(match["rules"]):
        raise UsageError(
            f"the time zone {text!r} has clock changes within days of each other or a week of the turn of the year, "
            "which runner does not support; name a zone like Europe/Berlin"
        )
    # A zone file (RFC 9636) whose footer describes all instants, behind two blocks without clock changes.
    block = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
    return ZoneInfo.from_file(io.BytesIO(2 * block + f"\n{text}\n".encode()), key=text)


def _are_apart(rules: str) -> bool:
    """Return whether the days of clock changes are apart from each other, and from the turn of the year.

    There zoneinfo differs from the C library, which takes the year by the local time before the change.
    """
    ranges = []
    for rule in rules[1:].split(","):
        day = rule.partition("/")[0]
        if day.startswith("J"):
            first, last = int(day[1:]), int(day[1:])
        else:
            month, week = (int(number) for number in day[1:].split(".")[:2])
            first = (date(2023, month, 1) - date(2022, 12, 31)).days + 7 * (week - 1) - 7 * (week == 5)
            last = first + 6 + 10 * (week == 5)
        ranges.append((first, last))
    (_, end), (start, _) = sorted(ranges)
    return start - end > _PROBE_DAYS and min(ranges)[0] > 7 and max(ranges)[1] < 365 - 7


def _no_zone(text: str) -> UsageError:
    return UsageError(f"there is no time zone {text!r}; name one like Europe/Berlin or UTC, or write JST-9 as in POSIX")


def find_zone(text: str) -> str:
    """Return the name of a zone in the notation of the environment variable TZ, which allows the file of a named zone.

    Raises:
        UsageError: If there is no such zone.
    """
    written = text.removeprefix(":")
    name = _find_name(written) if written.startswith("/") else written
    try:
        load_zone(name)
    except UsageError as error:
        raise UsageError(str(error).replace(repr(name), repr(text))) from None
    return name


def _find_name(path: str) -> str:
    """Return the name of the zone with this file, or with the same contents; empty if there is none."""
    try:
        _, inside, name = os.path.realpath(path).rpartition("/zoneinfo/")
        data = Path(path).read_bytes() if Path(path).is_file() else b""
    except (OSError, ValueError):
        return ""
    # Names without a region, such as Japan, are old.
    known = sorted(zoneinfo.available_timezones(), key=lambda name: ("/" not in name, name))
    files = ((name, Path(directory, name)) for name in ([name] if inside else known) for directory in zoneinfo.TZPATH)
    return next((name for name, file in files if file.is_file() and file.read_bytes() == data), "")


def offset_periods(zone: str, after: datetime) -> Iterator[OffsetPeriod]:
    """Yield the periods of a zone in order, from the one that contains *after* up to the year 9998."""
    for year in range(after.year, 9999):
        yield from (period for period in _periods_of_year(zone, year) if period.end > after)


def clock_changes(zone: str, after: datetime, until: datetime) -> Iterator[OffsetPeriod]:
    """Yield the periods that start with a clock change, after < start <= until."""
    periods = takewhile(lambda period: period.start <= until, offset_periods(zone, after))
    return (period for period in periods if period.moved and period.start > after)


@lru_cache(maxsize=1024)
def _periods_of_year(zone: str, year: int) -> tuple[OffsetPeriod, ...]:
    tz = load_zone(zone)
    first, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    probes = [*(first + timedelta(days=days) for days in range(0, 365, _PROBE_DAYS)), last]
    offsets = {probe: _offset(tz, probe) for probe in probes}
    changes = [_find_change(tz, low, high) for low, high in pairwise(probes) if offsets[low] != offsets[high]]
    edges = [first, *(change for change in changes if change < last), last]
    offsets |= {edge: _offset(tz, edge) for edge in edges}
    return tuple(
        OffsetPeriod(start=a, end=b, offset=offsets[a], moved=offsets[a] - _offset(tz, a - _SECOND))
        for a, b in pairwise(edges)
    )


def _find_change(tz: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """Return the second after *low*, perhaps *high*, at which the offset changes."""
    before = _offset(tz, low)
    seconds = range((high - low) // _SECOND)
    return low + bisect_left(seconds, 1, key=lambda second: _offset(tz, low + second * _SECOND) != before) * _SECOND


def _offset(tz: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(tz).replace(tzinfo=UTC) - instant
