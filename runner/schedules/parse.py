"""Parsing of schedules: --every, --cron or --at, a time zone and a jitter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from runner.model.errors import UsageError
from runner.model.jobs import Schedule, ScheduleKind
from runner.model.units import LONGEST_DURATION_S, format_duration, format_instant, parse_duration
from runner.schedules.cron import load_cron
from runner.schedules.fire_times import find_gaps
from runner.schedules.instants import local_zone_name, parse_instant
from runner.schedules.zones import find_zone

# Words for intervals.
_INTERVALS = {"hourly": "1h", "daily": "1d", "weekly": "1w"}


def parse_schedule(*, now: datetime, **texts: str | None) -> Schedule:
    """Parse a schedule, and bring its expression into normal form.

    Args:
        now: The origin of an interval; aware.
        texts: ``every``, a duration or ``hourly``, ``daily``, ``weekly``; ``cron``, five fields or a name such as
            ``@hourly``; or ``at``, an instant in the future, perhaps in local time; ``timezone``, an IANA name or POSIX
            notation, by default the machine's; ``jitter``, a duration shorter than any gap between two fire times, or
            ``none``.

    Raises:
        UsageError: If not exactly one of every, cron and at is given, or a text is wrong.
    """
    schedule = parse_kept_schedule(now=now, **texts)
    if schedule.kind is ScheduleKind.AT and datetime.fromisoformat(schedule.expression) <= now:
        raise UsageError(f"{texts['at']!r} is past, it was {schedule.expression}; give an instant still to come")
    return schedule


def parse_kept_schedule(*, now: datetime, **texts: str | None) -> Schedule:
    """Parse a schedule as :func:`parse_schedule`, but accept an *at* in the past."""
    kind, text = _choose_one({kind: texts.get(kind.value) for kind in ScheduleKind})
    zone, jitter = texts.get("timezone"), texts.get("jitter")
    zone = find_zone(zone) if zone is not None else local_zone_name()
    if kind is ScheduleKind.EVERY:
        expression = format_duration(parse_duration(_INTERVALS.get(text.strip(), text)))
    elif kind is ScheduleKind.CRON:
        expression = " ".join(text.split())
        load_cron(expression)
    else:
        expression = format_instant(_parse_at(text, zone, now))
    jitter_s = 0 if jitter in {None, "none"} else parse_duration(jitter)
    interval_origin = now.astimezone(UTC)
    schedule = Schedule(
        kind=kind, expression=expression, timezone=zone, interval_origin=interval_origin, jitter_s=jitter_s
    )
    if jitter_s and timedelta(seconds=jitter_s) >= (gap := find_gaps(schedule, interval_origin)[0]):
        raise UsageError(
            f"a jitter of {format_duration(jitter_s)} could swap fire times that are only "
            f"{format_duration(int(gap.total_seconds()))} apart; choose a shorter jitter"
        )
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


def _parse_at(text: str, zone: str, now: datetime) -> datetime:
    try:
        instant = parse_instant(text, now=now, zone=zone, ahead=True)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not an instant; write it like 2026-11-22T10:00Z, 'tomorrow 10:00' or 'in 2h'"
        ) from None
    if (instant - now).total_seconds() > LONGEST_DURATION_S:
        raise UsageError(f"{text!r} lies more than a century ahead; give an earlier instant")
    return instant


def update_schedule(old: Schedule | None, *, now: datetime, **texts: str | None) -> Schedule | None:
    """Return a schedule with some parts replaced; the others, and the origin of an interval, are kept.

    *every* may be ``none`` for no schedule.

    Raises:
        UsageError: As for :func:`parse_schedule`.
    """
    given = {key: text for key, text in texts.items() if text is not None}
    if given.get("every") == "none":
        if len(given) > 1:
            raise UsageError("--every none removes the schedule; leave out its other options")
        return None
    if old is None or not given:
        return parse_schedule(now=now, **given) if given else old
    kept = {"timezone": old.timezone} | ({"jitter": format_duration(old.jitter_s)} if old.jitter_s else {})
    if given.keys() & set(ScheduleKind):
        new = parse_schedule(now=now, **kept | given)
    else:  # whose instant may be past
        new = parse_kept_schedule(now=now, **kept | given | {old.kind.value: old.expression})
    same = (old.kind, old.expression) == (new.kind, new.expression)
    return replace(new, interval_origin=old.interval_origin) if same else new
