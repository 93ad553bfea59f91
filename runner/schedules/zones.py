"""Time zones as stretches of constant UTC offset, within which local time is a plain calendar."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count, pairwise
from zoneinfo import ZoneInfo

from runner.model.errors import UsageError

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
        """Give the naive local time of an instant within the stretch."""
        return (instant + self.offset).replace(tzinfo=None)

    def to_utc(self, local: datetime) -> datetime:
        """Give the instant of a naive local time within the stretch."""
        return (local - self.offset).replace(tzinfo=UTC)


def load_zone(name: str) -> ZoneInfo:
    """Load a time zone by its IANA name.

    Raises:
        UsageError: If there is no such zone.
    """
    try:
        return ZoneInfo(name)
    # A name that is a path, a folder, no zone file or unprintable fails in as many ways.
    except (LookupError, ValueError, OSError):
        raise UsageError(f"there is no time zone {name!r}; name one like Europe/Berlin, or UTC") from None


def stretches(zone: str, after: datetime) -> Iterator[Stretch]:
    """Give the stretches of a zone in order, the first of them containing *after*, up to the year 9998.

    Args:
        zone: Its IANA name.
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
    probes = [*(first + days * _DAY for days in range(0, 365, _PROBE_DAYS)), last]
    offsets = [_offset(tz, probe) for probe in probes]
    changes = [
        _find_change(tz, low, high)
        for (low, high), (before, after) in zip(pairwise(probes), pairwise(offsets), strict=True)
        if before != after
    ]
    edges = [first, *(change for change in changes if change < last)]
    return tuple(
        Stretch(start=start, end=end, offset=_offset(tz, start), offset_before=_offset(tz, start - _SECOND))
        for start, end in zip(edges, [*edges[1:], last], strict=True)
    )


def _find_change(tz: ZoneInfo, low: datetime, high: datetime) -> datetime:
    before = _offset(tz, low)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(tz, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(tz: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(tz).replace(tzinfo=UTC) - instant
