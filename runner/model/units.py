"""Units in text: durations, instants and byte counts, read from people and shown to them."""

import math
import re
from datetime import UTC, datetime, timedelta

from runner.model.errors import UsageError

# Instants are whole microseconds.
TICK = timedelta(microseconds=1)

_SECONDS = {"w": 7 * 86_400, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WORDS = ("w(?:eeks?)?", "d(?:ays?)?", "h(?:ours?)?", "m(?:in(?:ute)?s?)?", "s(?:ec(?:ond)?s?)?")
_DURATION = re.compile("".join(rf"(?:(\d{{1,12}}|an?(?= )) ?{word}(?:,? |\b|(?=\d)))?" for word in _WORDS), re.ASCII)
# The longest duration that still fits the calendar when added to today's date.
LONGEST_DURATION_S = 100 * 365 * 86_400


def parse_duration(text: str) -> int:
    """Read a duration such as ``90s``, ``1h30m``, ``2d`` or ``1 hour 30 minutes``, the largest unit first.

    Returns:
        Seconds, 1 <= result <= 100 years.

    Raises:
        UsageError: If the text is no such duration, or its length is zero or beyond a century.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not match.group(0):
        raise UsageError(f"{text!r} is not a duration; write it like 90s, 15m, 1h30m or 2d")
    parts = zip(match.groups(), _SECONDS.values(), strict=True)
    seconds = sum((1 if number in {"a", "an"} else int(number)) * unit for number, unit in parts if number)
    if seconds == 0:
        raise UsageError(f"the duration {text!r} is zero; the shortest is 1s")
    if seconds > LONGEST_DURATION_S:
        raise UsageError(f"the duration {text!r} is longer than a century; choose a shorter one")
    return seconds


def is_duration(text: str) -> bool:
    """Return whether a text has the form that :func:`parse_duration` reads."""
    return bool(text.strip()) and _DURATION.fullmatch(text.strip()) is not None


def format_duration(seconds: int) -> str:
    """Write whole seconds as :func:`parse_duration` reads them: 5400 becomes ``1h30m``."""
    text = ""
    for unit, size in list(_SECONDS.items())[1:]:  # days are the largest unit
        number, seconds = divmod(seconds, size)
        text += f"{number}{unit}" if number else ""
    return text or "0s"


def format_seconds(seconds: float | None) -> str:
    """Show a measured time to three significant figures with a fitting unit: ``1.23 s``, ``45.6 ms``, ``2m5s``."""
    if seconds is None:
        return "–"
    if seconds >= 60:
        return format_duration(round(seconds))
    scale, unit = (1, "s") if seconds >= 1 or seconds == 0 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "µs")
    value = seconds * scale
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{digits}f} {unit}"


def format_bytes(count: int, beside: int | None = None) -> str:
    """Show a byte count in binary units: ``512 B``, ``1.5 KiB``, ``30.0 MiB``; exact if *beside* looks equal."""
    if beside not in {None, count} and format_bytes(count) == format_bytes(beside or 0):
        return f"{count:,} B"
    if abs(count) < 1024:
        return f"{count} B"
    units = ("KiB", "MiB", "GiB", "TiB")
    power = next((power for power in range(1, 4) if abs(count) < 1024 ** (power + 1)), 4)
    return f"{count / 1024**power:.1f} {units[power - 1]}"


def format_count(number: int, one: str, many: str | None = None) -> str:
    """Show how many there are of something: ``1 run``, ``2,345 runs``; *many* where it is not *one* with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def format_instant(instant: datetime) -> str:
    """Write an instant as ISO 8601 in UTC with a ``Z``, without a zero fraction."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
