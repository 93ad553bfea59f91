"""Parsing of instants, in the time zone of the machine or of ``TZ``."""

import os
from datetime import UTC, datetime, timedelta

from runner.model.errors import UsageError
from runner.model.units import format_instant, is_duration, parse_duration
from runner.schedules.zones import find_zone, load_zone

# The machine's zone for the C library.
LOCALTIME = "/etc/localtime"


def local_zone_name() -> str:
    """Return the time zone that the C library uses in this process; a UsageError if it is unknown."""
    value = os.environ.get("TZ")
    if value is None:
        name, named_by = LOCALTIME if os.path.exists(LOCALTIME) else "", f"the machine's zone is {LOCALTIME}"  # noqa: PTH110
    else:
        name, named_by = value.removeprefix(":"), f"the environment variable TZ is {value!r}"
    if not name:
        return "UTC"
    directory = os.environ.get("TZDIR")
    if directory and os.path.isfile(path := os.path.join(directory, name)):  # noqa: PTH113
        name = path
    try:
        return find_zone(name)
    except UsageError as error:
        raise UsageError(f"{named_by}: {error}") from None


def parse_instant(text: str, *, now: datetime) -> datetime:
    """Parse an instant, ISO 8601 or a duration before *now* (``7d``), into UTC; a UsageError if the text is neither."""
    if is_duration(text):
        return now.astimezone(UTC) - timedelta(seconds=parse_duration(text))
    try:
        return parse_iso(text)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not an instant; write it like 2026-11-22T10:00 or, counted back from now, 7d"
        ) from None


def parse_iso(text: str, zone: str | None = None) -> datetime:
    """Parse an ISO 8601 instant, without an offset in local time of *zone* or the machine's zone, into UTC.

    A repeated local time is the first one, a skipped one is read without the clock change.

    Raises:
        ValueError, OverflowError: If it is none, or outside the range of datetime.
    """
    written = datetime.fromisoformat(text.strip())
    return written.astimezone(UTC) if written.tzinfo else _resolve(written, zone or local_zone_name(), fold=0)


def _resolve(local: datetime, zone: str, *, fold: int) -> datetime:
    return local.replace(tzinfo=load_zone(zone), fold=fold).astimezone(UTC)


def find_clock_warning(text: str, zone: str | None = None) -> str | None:
    """Return a warning if a text for :func:`parse_iso` is a repeated or skipped local time."""
    try:
        local = datetime.fromisoformat(text.strip())
        if local.tzinfo is not None:
            return None
        zone = zone or local_zone_name()
        first, second = (_resolve(local, zone, fold=fold) for fold in (0, 1))
    except (ValueError, OverflowError):  # a duration, or no instant
        return None
    if first == second:
        return None
    written = local.isoformat(" ", "auto" if local.second or local.microsecond else "minutes")
    if first < second:
        both = f"at {format_instant(first)} and at {format_instant(second)}"
        later = second.astimezone(load_zone(zone)).isoformat()
        return f"{written} occurs twice in {zone}, {both}; the first is used, write {later} for the second"
    shown = first.astimezone(load_zone(zone)).isoformat()
    return f"{written} does not exist in {zone}, as clocks go forward; it is read as {shown}, {format_instant(first)}"
