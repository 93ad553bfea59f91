"""Notes about the effects of daylight saving on fire times."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import takewhile

from runner.model.jobs import Schedule, ScheduleKind
from runner.model.units import TICK, format_duration
from runner.schedules.cron import Cron, load_cron
from runner.schedules.zones import OffsetPeriod, load_zone, offset_periods


def describe_clock_changes(schedule: Schedule, nominal: datetime, *, previous: datetime) -> str:
    """Return the effects of clock changes on a fire time, such as ``02:30 comes twice that day: first``, or nothing.

    Args:
        schedule: The schedule.
        nominal: The fire time before jitter; aware UTC.
        previous: The fire time before it, whose note covers all earlier changes; aware UTC.
    """
    return "; ".join(filter(None, [_note_on_change(schedule, nominal, previous), _note_on_repeat(schedule, nominal)]))


def _note_on_repeat(schedule: Schedule, nominal: datetime) -> str:
    local = nominal.astimezone(load_zone(schedule.timezone))
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return ""
    if schedule.kind is ScheduleKind.CRON and load_cron(schedule.expression).follows_clock:
        which = "fires the first time only"
    else:
        which = "second" if local.fold else "first"
    return f"{_clock(local)} comes twice that day: {which}"


def _note_on_change(schedule: Schedule, nominal: datetime, previous: datetime) -> str:
    note = ""
    if schedule.kind is ScheduleKind.EVERY:
        previous = max(previous, schedule.anchor_at)
    for period in _changes(schedule.timezone, previous, nominal):
        match schedule.kind:
            case ScheduleKind.EVERY:
                note = _describe_change(period, nominal)
            case ScheduleKind.CRON:
                skipped = _describe_skipped(load_cron(schedule.expression), period)
                note = f"{_describe_change(period, nominal)}: {skipped}" if skipped else note
            case ScheduleKind.AT:
                pass
    return note


def _changes(zone: str, after: datetime, until: datetime) -> Iterator[OffsetPeriod]:
    periods = takewhile(lambda period: period.start <= until, offset_periods(zone, after))
    return (period for period in periods if period.start > after and period.moved)


def _describe_change(period: OffsetPeriod, nominal: datetime) -> str:
    way = "forward" if period.moved > timedelta() else "back"
    day = period.local_before.date()
    on = "" if day == period.to_local(nominal).date() else f" on {day}"
    seconds = int(abs(period.moved).total_seconds())
    return f"clocks go {way} {format_duration(seconds)} at {_clock(period.local_before)}{on}"


def _describe_skipped(cron: Cron, period: OffsetPeriod) -> str:
    """Return the fire times that clocks which went forward have skipped."""
    matches = cron.matches_after(period.local_before - TICK)
    match [_clock(local) for local in takewhile(lambda local: local < period.local_start, matches)]:
        case []:
            return ""
        case [only]:
            times = f"{only} does"
        case [first, second]:
            times = f"{first} and {second} do"
        case several:
            times = f"{several[0]} to {several[-1]} do"
    replaced = cron.follows_clock and not cron.count_matches(period.local_start - TICK, period.local_start)
    return f"{times} not exist that day" + (f", so it fires at {_clock(period.local_start)}" if replaced else "")


def _clock(local: datetime) -> str:
    return local.strftime("%H:%M:%S" if local.second else "%H:%M")
