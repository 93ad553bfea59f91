"""Parsing of schedules: --every, --cron or --at, a time zone and a jitter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from runner.model.errors import UsageError
from runner.model.jobs import Schedule, ScheduleKind
from runner.model.units import LONGEST_DURATION_S, format_duration, format_instant, parse_duration
from runner.schedules.cron import load_cron
from runner.schedules.fire_times import smallest_gap
from runner.schedules.instants import local_zone_name, resolve
from runner.schedules.zones import find_zone


def parse_schedule(
    *,
    every: str | None = None,
    cron: str | None = None,
    at: str | None = None,
    timezone: str | None = None,
    jitter: str | None = None,
    now: datetime,
) -> Schedule:
    """Parse the options of a schedule.

    Args:
        every: A duration, ``1h30m``.
        cron: Five cron fields or a name such as ``@hourly``.
        at: An ISO 8601 instant in the future; without an offset it is local time in *timezone*.
        timezone: An IANA name or POSIX notation; None for the machine's zone.
        jitter: A duration shorter than any gap between two fire times, or ``none``.
        now: The instant from which the schedule counts; aware.

    Returns:
        The schedule, its expression in normal form.

    Raises:
        UsageError: If not exactly one of *every*, *cron* and *at* is given, or anything given is wrong.
    """
    schedule = parse_kept_schedule(every=every, cron=cron, at=at, timezone=timezone, jitter=jitter, now=now)
    if at is not None and datetime.fromisoformat(schedule.expression) <= now:
        raise UsageError(f"{at!r} is past, it was {schedule.expression}; give an instant still to come")
    return schedule


def parse_kept_schedule(
    *,
    every: str | None = None,
    cron: str | None = None,
    at: str | None = None,
    timezone: str | None = None,
    jitter: str | None = None,
    now: datetime,
) -> Schedule:
    """Parse a schedule like :func:`parse_schedule`, but allow *at* to be in the past."""
    kind, text = _choose_one({ScheduleKind.EVERY: every, ScheduleKind.CRON: cron, ScheduleKind.AT: at})
    zone = find_zone(timezone) if timezone is not None else local_zone_name()
    match kind:
        case ScheduleKind.EVERY:
            expression = format_duration(parse_duration(text))
        case ScheduleKind.CRON:
            expression = _normal_cron(text)
        case _:
            expression = format_instant(_parse_at(text, zone, now))
    jitter_s = _parse_jitter(jitter) if jitter is not None else 0
    schedule = Schedule(
        kind=kind, expression=expression, timezone=zone, anchor_at=now.astimezone(UTC), jitter_s=jitter_s
    )
    if jitter_s:
        _check_jitter(schedule)
    return schedule


def _choose_one(given: dict[ScheduleKind, str | None]) -> tuple[ScheduleKind, str]:
    match [(kind, text) for kind, text in given.items() if text is not None]:
        case [only]:
            return only
        case []:
            raise UsageError("nothing says when to fire; give one of --every, --cron or --at")
        case several:
            options = " and ".join(f"--{kind}" for kind, _ in several)
            raise UsageError(f"{options} exclude each other; give only one of --every, --cron or --at")


def _normal_cron(text: str) -> str:
    expression = " ".join(text.split())
    load_cron(expression)
    return expression


def _parse_at(text: str, zone: str, now: datetime) -> datetime:
    try:
        written = datetime.fromisoformat(text.strip())
        instant = written.astimezone(UTC) if written.tzinfo else resolve(written, zone)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not an instant; write it like 2026-11-22T10:00 or 2026-11-22T10:00Z") from None
    if (instant - now).total_seconds() > LONGEST_DURATION_S:
        raise UsageError(f"{text!r} lies more than a century ahead; give an earlier instant")
    return instant


def _parse_jitter(text: str) -> int:
    return 0 if text == "none" else parse_duration(text)


def _check_jitter(schedule: Schedule) -> None:
    gap = smallest_gap(schedule, schedule.anchor_at)
    if timedelta(seconds=schedule.jitter_s) >= gap:
        raise UsageError(
            f"a jitter of {format_duration(schedule.jitter_s)} could swap fire times that are only "
            f"{format_duration(int(gap.total_seconds()))} apart; choose a shorter jitter"
        )


def update_schedule(
    old: Schedule | None,
    *,
    every: str | None = None,
    cron: str | None = None,
    at: str | None = None,
    timezone: str | None = None,
    jitter: str | None = None,
    now: datetime,
) -> Schedule | None:
    """Return a schedule with some options replaced; the others and its phase stay.

    Returns:
        The schedule; None if there was none and no option is given.

    Raises:
        UsageError: As :func:`parse_schedule` does, and if there is no schedule to change.
    """
    if every is cron is at is timezone is jitter is None:
        return old
    if old is None or not every is cron is at is None:
        if old is not None:
            timezone = old.timezone if timezone is None else timezone
            jitter = format_duration(old.jitter_s) if jitter is None and old.jitter_s else jitter
        new = parse_schedule(every=every, cron=cron, at=at, timezone=timezone, jitter=jitter, now=now)
        if old is not None and (old.kind, old.expression) == (new.kind, new.expression):
            return replace(new, anchor_at=old.anchor_at)
        return new
    changed = replace(
        old,
        timezone=old.timezone if timezone is None else find_zone(timezone),
        jitter_s=old.jitter_s if jitter is None else _parse_jitter(jitter),
    )
    if changed.jitter_s:
        _check_jitter(changed)
    return changed
