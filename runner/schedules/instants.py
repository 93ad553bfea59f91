"""Parsing of instants, in the time zone of the machine or of ``TZ``."""

import os
from datetime import UTC, datetime, timedelta

from runner.model.errors import UsageError
from runner.model.units import format_instant, is_duration, parse_duration
from runner.schedules.zones import find_zone, load_zone

# Where the C library looks for the machine's zone.
LOCALTIME = "/etc/localtime"


def local_zone_name() -> str:
    """Return the time zone that the C library uses in this process.

    Raises:
        UsageError: If the environment variable TZ, or the machine, has a zone that is not known.
    """
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
    except UsageError:
        raise UsageError(f"{named_by}, which is no known time zone; set TZ to one like Europe/Berlin") from None


def parse_instant(text: str, *, now: datetime) -> datetime:
    """Parse an instant: ISO 8601, or a duration that lies that far back (``7d``).

    Args:
        text: ISO 8601; without an offset it is local time.
        now: The instant that durations count back from; aware.

    Returns:
        An aware instant in UTC.

    Raises:
        UsageError: If the text is neither.
    """
    if is_duration(text):
        return now.astimezone(UTC) - timedelta(seconds=parse_duration(text))
    try:
        written = datetime.fromisoformat(text)
        return written.astimezone(UTC) if written.tzinfo else resolve(written, local_zone_name())
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not an instant; write it like 2026-11-22T10:00 or, counted back from now, 7d"
        ) from None


def resolve(local: datetime, zone: str) -> datetime:
    """Return the instant of a naive local time: of a repeated one the first, of a skipped one as if clocks stood.

    Raises:
        OverflowError: If it lies outside the calendar.
    """
    return local.replace(tzinfo=load_zone(zone), fold=0).astimezone(UTC)


def find_clock_warning(text: str, zone: str | None = None) -> str | None:
    """Return a warning if an instant is a local time that occurs twice or not at all.

    Args:
        text: As :func:`parse_instant` reads it.
        zone: The zone in which it is read; None for the local one.
    """
    try:
        local = datetime.fromisoformat(text.strip())
        if local.tzinfo is not None:
            return None
        zone = local_zone_name() if zone is None else zone
        first = resolve(local, zone)
        second = local.replace(tzinfo=load_zone(zone), fold=1).astimezone(UTC)
    except (ValueError, OverflowError):  # a duration, or no instant
        return None
    written = local.isoformat(" ", "auto" if local.second or local.microsecond else "minutes")
    if first == second:
        return None
    if first < second:
        both = f"at {format_instant(first)} and at {format_instant(second)}"
        later = second.astimezone(load_zone(zone)).isoformat()
        return f"{written} occurs twice in {zone}, {both}; the first is used, write {later} for the second"
    shown = first.astimezone(load_zone(zone)).isoformat()
    return f"{written} does not exist in {zone}, as clocks go forward; it is read as {shown}, {format_instant(first)}"
