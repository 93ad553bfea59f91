"""Parsing of instants, in the time zone of the machine or of ``TZ``."""

import os
from datetime import UTC, datetime, timedelta

from runner.model.errors import UsageError
from runner.model.units import format_instant, is_duration, parse_duration
from runner.schedules.zones import find_zone, load_zone

# The machine's zone for the C library.
LOCALTIME = "/etc/localtime"


def local_zone_name() -> str:
    """Return the time zone that the C library uses in this process.

    Raises:
        UsageError: If the zone of the environment variable TZ or of the machine is unknown.
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
    """Parse an instant: ISO 8601, without an offset in local time, or a duration before *now* (``7d``).

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
    """Return the instant of a naive local time: the first of a repeated one, a skipped one without the clock change.

    Raises:
        OverflowError: If it is outside the range of datetime.
    """
    return local.replace(tzinfo=load_zone(zone), fold=0).astimezone(UTC)


def find_clock_warning(text: str, zone: str | None = None) -> str | None:
    """Find a warning about a text for :func:`parse_instant` that is a repeated or skipped local time.

    Args:
        text: The text.
        zone: The name of the zone; None for the local one.
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
