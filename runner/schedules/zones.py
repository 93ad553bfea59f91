"""Time zones as stretches of constant UTC offset, within which local time is a plain calendar."""

import os
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from runner.model.errors import UsageError
from runner.schedules.posix import PosixZone

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
# zoneinfo does not tell when clocks change, so offsets are probed. The nearest two changes in tzdata 2025b are 3.98
# days apart (Africa/Freetown, 1939), and since 1970 6.95 days (Asia/Gaza, 2040).
_PROBE_DAYS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A span of time over which a zone keeps one UTC offset; cut at the turn of each UTC year.

    Attributes:
        start: Its first instant; aware UTC.
        end: The first instant after it; aware UTC.
        offset: What is added to UTC to give local time.
        offset_before: The same just before the start; equal to ``offset`` where only the year turned.
    """

    start: datetime
    end: datetime
    offset: timedelta
    offset_before: timedelta

    @property
    def local_before(self) -> datetime:
        """What local clocks would show at the start had they not been changed; naive."""
        return (self.start + self.offset_before).replace(tzinfo=None)

    @property
    def local_start(self) -> datetime:
        """What local clocks show at the start; naive."""
        return self.to_local(self.start)

    @property
    def local_end(self) -> datetime:
        """What local clocks would show at the end were they not changed then; naive."""
        return self.to_local(self.end)

    @property
    def moved(self) -> timedelta:
        """How far clocks were put forward at the start; negative where they were put back, zero where neither."""
        return self.offset - self.offset_before

    def to_local(self, instant: datetime) -> datetime:
        """Return the naive local time of an instant within the stretch."""
        return (instant + self.offset).replace(tzinfo=None)

    def to_utc(self, local: datetime) -> datetime:
        """Return the instant of a naive local time within the stretch."""
        return (local - self.offset).replace(tzinfo=UTC)


Zone = ZoneInfo | PosixZone


@lru_cache(maxsize=256)
def load_zone(name: str) -> Zone:
    """Load a time zone by its IANA name or from its POSIX notation.

    Raises:
        UsageError: If there is no such zone.
    """
    try:
        if not name.startswith("right/"):  # these count leap seconds, which Python would take for a wrong time
            return ZoneInfo(name)
    # A name that is a path, a folder, no zone file or unprintable fails in as many ways.
    except (LookupError, ValueError, OSError):
        pass
    try:
        return PosixZone(name)
    except ValueError:
        raise _no_zone(name) from None


def _no_zone(text: str) -> UsageError:
    return UsageError(f"there is no time zone {text!r}; name one like Europe/Berlin or UTC, or write JST-9 as in POSIX")


def find_zone(text: str) -> str:
    """Return the name of a time zone that is written as the environment variable TZ allows: also as a file.

    Raises:
        UsageError: If there is no such zone, or the file is not that of a zone which has a name.
    """
    written = text.removeprefix(":")
    name = _find_name(written) if written.startswith("/") else written
    try:
        load_zone(name)
    except UsageError:
        raise _no_zone(text) from None
    return name


def _find_name(path: str) -> str:
    """Return the name of the zone whose file this is or equals; an empty text if there is none."""
    try:
        _, inside, name = os.path.realpath(path).rpartition("/zoneinfo/")
        data = Path(path).read_bytes() if Path(path).is_file() else b""
    except (OSError, ValueError):
        return ""
    # Names of regions first, as others such as Japan are old.
    known = sorted(zoneinfo.available_timezones(), key=lambda name: ("/" not in name, name))
    files = ((name, Path(folder, name)) for name in ([name] if inside else known) for folder in zoneinfo.TZPATH)
    return next((name for name, file in files if file.is_file() and file.read_bytes() == data), "")


def stretches(zone: str, after: datetime) -> Iterator[Stretch]:
    """Return the stretches of a zone in order, the first of them containing *after*, up to the year 9998.

    Args:
        zone: Its name, as :func:`load_zone` reads it.
        after: Aware UTC.
    """
    for year in count(after.year):
        if year >= 9999:
            return
        yield from (stretch for stretch in _stretches_of_year(zone, year) if stretch.end > after)


@lru_cache(maxsize=1024)
def _stretches_of_year(zone: str, year: int) -> tuple[Stretch, ...]:
    tz = load_zone(zone)
    first, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    edges = [first, *(change for change in _find_changes(tz, first, last) if first < change < last)]
    return tuple(
        Stretch(start=start, end=end, offset=_offset(tz, start), offset_before=_offset(tz, start - _SECOND))
        for start, end in zip(edges, [*edges[1:], last], strict=True)
    )


def _find_changes(tz: Zone, first: datetime, last: datetime) -> list[datetime]:
    """Find the instants of a UTC year at which the offset changes, in order."""
    if isinstance(tz, PosixZone):
        changes = sorted({change.replace(tzinfo=UTC) for change in tz.changes(first.year)})
        return [change for change in changes if _offset(tz, change) != _offset(tz, change - _SECOND)]
    probes = [*(first + days * _DAY for days in range(0, 365, _PROBE_DAYS)), last]
    offsets = [_offset(tz, probe) for probe in probes]
    return [
        _find_change(tz, low, high)
        for (low, high), (before, after) in zip(pairwise(probes), pairwise(offsets), strict=True)
        if before != after
    ]


def _find_change(tz: Zone, low: datetime, high: datetime) -> datetime:
    before = _offset(tz, low)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(tz, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(tz: Zone, instant: datetime) -> timedelta:
    return instant.astimezone(tz).replace(tzinfo=UTC) - instant
