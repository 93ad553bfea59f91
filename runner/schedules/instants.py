"""Parsing of instants, in the time zone of the machine or of ``TZ``."""

import os
import re
from datetime import UTC, datetime, time, timedelta

from runner.model.errors import UsageError
from runner.model.units import format_instant, is_duration, parse_duration
from runner.schedules.zones import find_zone, load_zone

_NEAR = {"yesterday": -1, "today": 0, "tomorrow": 1}
_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAYS = {text: number for number, name in enumerate(_NAMES) for text in (name, name[:3])}
_WORDS = re.compile(
    rf"(?:(last|next) )?(?:({'|'.join((*_NEAR, *_WEEKDAYS))})(?:(?:,? at|,)? |$))?(\d\d?:\d\d(?::\d\d)?)?", re.ASCII
)
# Python alone also reads texts without a separator, or with too many digits.
_ISO = re.compile(
    r"(?:\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(?:-?\d)?)(?:[Tt ]\d\d(?::?\d\d){0,2}(?:[.,]\d+)?(?:Z|[+-].+)?)?", re.ASCII
)
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


def parse_instant(text: str, *, now: datetime, zone: str | None = None, ahead: bool = False) -> datetime:
    """Parse an instant into UTC: ISO 8601, a duration before *now* (``7d``, ``2 hours ago``), or ``monday 09:00``.

    Args:
        text: As the user writes it; without an offset in local time. A repeated local time is the first one, a skipped
            one is read without the clock change.
        now: The present instant; aware.
        zone: The time zone of local times, by default the machine's.
        ahead: Whether a weekday is the coming one, and not the last one.

    Raises:
        ValueError, OverflowError: If it is none, or outside the range of datetime.
    """
    read = _read(text, now, zone, ahead=ahead)
    return read.astimezone(UTC) if read.tzinfo else _resolve(read, zone or local_zone_name(), fold=0)


def parse_past(text: str, *, now: datetime) -> datetime:
    """Parse an instant as :func:`parse_instant`; a UsageError if the text is none."""
    try:
        return parse_instant(text, now=now)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not an instant; write it like 2026-11-22T10:00, 'monday 18:00' or, counted back from now, 7d"
        ) from None


def _read(text: str, now: datetime, zone: str | None, *, ahead: bool) -> datetime:
    """Return an aware instant, or a naive local time."""
    words = " ".join(text.split())
    ago = words.removesuffix(" ago")
    if is_duration(ago) and (ago != words or not ahead):
        return now - timedelta(seconds=parse_duration(ago))
    if words.startswith("in ") and is_duration(words[3:]):
        return now + timedelta(seconds=parse_duration(words[3:]))
    if words.lower() == "now":
        return now
    match = _WORDS.fullmatch(words.lower())
    if match is None:
        if _ISO.fullmatch(words) is None:
            raise ValueError(words)
        return datetime.fromisoformat(words)
    local = now.astimezone(load_zone(zone or local_zone_name())).replace(tzinfo=None)
    return _find_day(match, local, ahead=ahead)


def _find_day(words: re.Match[str], local: datetime, *, ahead: bool) -> datetime:
    """Return the local time that words for a day mean: without a clock time its start."""
    which, day, clock = words.groups()
    if not words[0] or (which and day not in _WEEKDAYS):
        raise ValueError(words[0])
    at = time.fromisoformat((clock or "00:00").rjust(5 if (clock or "").count(":") < 2 else 8, "0"))
    if day not in _WEEKDAYS:
        return datetime.combine(local.date() + timedelta(_NEAR[day or "today"]), at)
    forward = which == "next" or (ahead and which is None)
    days = (_WEEKDAYS[day] - local.weekday()) % 7
    on = datetime.combine(local.date() + timedelta(days), at)  # the coming one, perhaps today
    if forward:
        again = days == 0 if which else on <= local
        return on + timedelta(weeks=again)
    passed = days == 0 and which is None and on <= local
    return on - timedelta(weeks=not passed)


def _resolve(local: datetime, zone: str, *, fold: int) -> datetime:
    return local.replace(tzinfo=load_zone(zone), fold=fold).astimezone(UTC)


def find_reading(text: str, zone: str | None = None, *, now: datetime, ahead: bool = False) -> str | None:
    """Return how words for a day are read; None for other texts."""
    if _WORDS.fullmatch(" ".join(text.lower().split())) is None:
        return None
    try:
        at = parse_instant(text, now=now, zone=zone, ahead=ahead)
    except (ValueError, OverflowError):
        return None
    return f"{text!r} is read as {at.astimezone(load_zone(zone or local_zone_name())):%a %Y-%m-%d %H:%M:%S %Z}"


def find_clock_warning(text: str, zone: str | None = None, *, now: datetime, ahead: bool = False) -> str | None:
    """Return a warning if a text for :func:`parse_instant` is a repeated or skipped local time."""
    try:
        local = _read(text, now, zone, ahead=ahead)
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
