"""Notes on what daylight saving changes at a fire time."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import takewhile

from runner.model.jobs import Schedule, ScheduleKind
from runner.model.units import TICK, format_duration
from runner.schedules.cron import Cron, load_cron
from runner.schedules.zones import Stretch, load_zone, stretches


def describe_clock_change(schedule: Schedule, nominal: datetime, *, previous: datetime) -> str:
    """Describe what changes of clocks do to a fire time; an empty text on ordinary days.

    Args:
        schedule: Whose fire time it is.
        nominal: The fire time before jitter; aware UTC.
        previous: The one shown before it, whose note has dealt with all earlier changes; aware UTC.

    Returns:
        A phrase such as ``02:30 comes twice that day: first``, or an empty text.
    """
    return "; ".join(filter(None, [_note_on_shift(schedule, nominal, previous), _note_on_repeat(schedule, nominal)]))


def _note_on_repeat(schedule: Schedule, nominal: datetime) -> str:
    local = nominal.astimezone(load_zone(schedule.timezone))
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return ""
    if schedule.kind is ScheduleKind.CRON and load_cron(schedule.expression).follows_clock:
        which = "fires the first time only"
    else:
        which = "second" if local.fold else "first"
    return f"{_clock(local)} comes twice that day: {which}"


def _note_on_shift(schedule: Schedule, nominal: datetime, previous: datetime) -> str:
    note = ""
    if schedule.kind is ScheduleKind.EVERY:
        previous = max(previous, schedule.anchor_at)
    for stretch in _changes(schedule.timezone, previous, nominal):
        match schedule.kind:
            case ScheduleKind.EVERY:
                note = _describe_shift(stretch, nominal)
            case ScheduleKind.CRON:
                skipped = _describe_skipped(load_cron(schedule.expression), stretch)
                note = f"{_describe_shift(stretch, nominal)}: {skipped}" if skipped else note
            case ScheduleKind.AT:
                pass
    return note


def _changes(zone: str, after: datetime, until: datetime) -> Iterator[Stretch]:
    coming = takewhile(lambda stretch: stretch.start <= until, stretches(zone, after))
    return (stretch for stretch in coming if stretch.start > after and stretch.moved)


def _describe_shift(stretch: Stretch, nominal: datetime) -> str:
    way = "forward" if stretch.moved > timedelta() else "back"
    day = stretch.local_before.date()
    on = "" if day == stretch.to_local(nominal).date() else f" on {day}"
    seconds = int(abs(stretch.moved).total_seconds())
    return f"clocks go {way} {format_duration(seconds)} at {_clock(stretch.local_before)}{on}"


def _describe_skipped(cron: Cron, stretch: Stretch) -> str:
    """Describe the fire times that clocks put forward skip."""
    matches = cron.matches_after(stretch.local_before - TICK)
    match [_clock(local) for local in takewhile(lambda local: local < stretch.local_start, matches)]:
        case []:
            return ""
        case [only]:
            times = f"{only} does"
        case [first, second]:
            times = f"{first} and {second} do"
        case several:
            times = f"{several[0]} to {several[-1]} do"
    made_good = cron.follows_clock and not cron.count_matches(stretch.local_start - TICK, stretch.local_start)
    return f"{times} not exist that day" + (f", so it fires at {_clock(stretch.local_start)}" if made_good else "")


def _clock(local: datetime) -> str:
    return local.strftime("%H:%M:%S" if local.second else "%H:%M")
