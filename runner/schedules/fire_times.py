"""Fire times of a schedule: the next one, a list of them, and their number between two instants.

The nominal times follow from the schedule's expression. Jitter delays each by a part of ``jitter_s`` that is a hash of
the nominal time and the job's number (*key*). So it is the same in every process, does not accumulate, and can be
computed for any instant alone. It is shorter than the smallest gap between nominal times, so that it keeps their order.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile

from runner.model.jobs import Schedule, ScheduleKind
from runner.model.units import TICK, format_duration, parse_duration
from runner.schedules.cron import Cron, load_cron
from runner.schedules.notes import describe_clock_changes
from runner.schedules.zones import OffsetPeriod, load_zone, offset_periods

# A later fire time is missed. If the clock is set back by less than this, no fire time is repeated.
LATE = timedelta(seconds=60)
# Smaller steps of the clock are corrections, after which a schedule of clock times does not repeat its fire times, as
# in Debian's cron.
_CORRECTION = timedelta(hours=3)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Nothing fires after this, so that all sums stay within the range of datetime.
_END = datetime(9800, 1, 1, tzinfo=UTC)
_CALENDAR = timedelta(days=28 * 366)


@dataclass(frozen=True, kw_only=True, slots=True)
class FireTime:
    """A future fire time, to be displayed.

    Attributes:
        at: The instant; aware UTC.
        local: The same in the schedule's time zone.
        note: The effect of daylight saving on it; empty on ordinary days.
    """

    at: datetime
    local: datetime
    note: str = ""


def next_fire_time(schedule: Schedule, key: int, after: datetime) -> datetime | None:
    """Return the first fire time strictly after *after* in UTC; None if there is none."""
    return next(fire_times(schedule, key, after), None)


def fire_times(schedule: Schedule, key: int, after: datetime) -> Iterator[datetime]:
    """Yield the fire times strictly after *after* in UTC, in order."""
    return (at for _, at in _times(schedule, key, after.astimezone(UTC)))


def last_fire_time(schedule: Schedule, key: int, after: datetime, until: datetime) -> datetime | None:
    """Return the last fire time with after < time <= until, without computing all before it; None if there is none."""
    after, until = after.astimezone(UTC), until.astimezone(UTC)
    window, low = timedelta(minutes=1), until
    # The window doubles, so all that is found is in its new half.
    while low > after:
        low = until - min(window, until - after)
        found = list(takewhile(lambda at: at <= until, fire_times(schedule, key, low)))
        if found:
            return found[-1]
        window *= 2
    return None


def count_fire_times(schedule: Schedule, key: int, after: datetime, until: datetime) -> int:
    """Return the number of fire times with after < time <= until, computed by days instead of one by one."""
    after, until = after.astimezone(UTC), min(until.astimezone(UTC), _END - TICK)
    if until <= after:
        return 0
    nominal = _count_nominal_times(schedule, after, until)
    return nominal + _count_delayed_past(schedule, key, after) - _count_delayed_past(schedule, key, until)


def fires_only_once(schedule: Schedule | None, step: timedelta) -> bool:
    """Return whether fire times are not repeated after the clock was set back by *step*."""
    if step <= LATE or schedule is None or schedule.kind is ScheduleKind.AT:
        return True
    follows_clock = schedule.kind is ScheduleKind.CRON and load_cron(schedule.expression).follows_clock
    return follows_clock and step < _CORRECTION


def list_fire_times(schedule: Schedule, key: int, after: datetime, count: int) -> list[FireTime]:
    """Return the first *count* fire times after *after*, with the effects of daylight saving."""
    after = previous = after.astimezone(UTC)
    zone = load_zone(schedule.timezone)
    result = []
    for nominal, at in islice(_times(schedule, key, after), count):
        note = describe_clock_changes(schedule, nominal, previous=previous)
        result.append(FireTime(at=at, local=at.astimezone(zone), note=note))
        previous = nominal
    return result


def describe(schedule: Schedule) -> str:
    """Format a schedule: ``cron */5 * * * * (Europe/Berlin), jitter 30s``."""
    zone = f" ({schedule.timezone})" if schedule.kind is ScheduleKind.CRON else ""
    jitter = f", jitter {format_duration(schedule.jitter_s)}" if schedule.jitter_s else ""
    return f"{schedule.kind} {schedule.expression}{zone}{jitter}"


def smallest_gap(schedule: Schedule, after: datetime) -> timedelta:
    """Return the shortest time between two fire times of a schedule without its jitter.

    For cron this covers the 28 years after *after*, with all combinations of weekdays and leap days, and their clock
    changes. A schedule that fires once has the longest possible gap.
    """
    if schedule.kind is not ScheduleKind.CRON:
        return _interval(schedule) if schedule.kind is ScheduleKind.EVERY else timedelta.max
    after = after.astimezone(UTC)
    gap = load_cron(schedule.expression).smallest_gap(after.date())
    for change in _clock_changes(schedule, after):
        near = _nominal_times_until(schedule, change.start - gap, change.start + gap)
        gap = min([gap, *(b - a for a, b in pairwise(near))])
    return gap


def largest_gap(schedule: Schedule, after: datetime) -> timedelta:
    """Return an upper bound of the time between two fire times of a schedule without its jitter.

    It covers the same years as :func:`smallest_gap`; with clock changes it assumes the longest gap that a change can
    cause. A schedule that fires once has the longest possible gap.
    """
    if schedule.kind is not ScheduleKind.CRON:
        return _interval(schedule) if schedule.kind is ScheduleKind.EVERY else timedelta.max
    after, cron = after.astimezone(UTC), load_cron(schedule.expression)
    gap = cron.largest_gap(after.date())
    moves = {change.moved for change in _clock_changes(schedule, after)}
    moved_back = max(timedelta(), *(-moved for moved in moves)) if moves else timedelta()
    if cron.follows_clock or not moves:
        return gap + moved_back
    # A schedule that follows elapsed time fires in a repeated hour as in any other, but one with longer gaps may lose
    # fire times in a skipped hour.
    unaffected = gap <= timedelta(hours=1) and not any(moved % timedelta(hours=1) for moved in moves)
    return gap if unaffected else 2 * gap + moved_back


def _clock_changes(schedule: Schedule, after: datetime) -> Iterator[OffsetPeriod]:
    periods = takewhile(lambda period: period.start < after + _CALENDAR, offset_periods(schedule.timezone, after))
    return (period for period in periods if period.moved)


def _times(schedule: Schedule, key: int, after: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield each nominal time with its fire time, from the first fire time after *after* on."""
    jitter = timedelta(seconds=schedule.jitter_s)
    for nominal in _nominal_times(schedule, after - jitter):
        at = nominal + _delay(schedule, key, nominal)
        if at >= _END:
            return
        if at > after:
            yield nominal, at


def _delay(schedule: Schedule, key: int, nominal: datetime) -> timedelta:
    """Return the delay of a nominal time: 0 <= delay < jitter, in microseconds, uniform over keys and times."""
    if not schedule.jitter_s:
        return timedelta()
    text = f"{key} {(nominal - _EPOCH) // TICK}"
    # hash() differs between processes.
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return number * schedule.jitter_s * 1_000_000 // 2**64 * TICK


def _count_delayed_past(schedule: Schedule, key: int, instant: datetime) -> int:
    """Return the number of nominal times up to *instant* whose fire times are after it."""
    near = _nominal_times_until(schedule, instant - timedelta(seconds=schedule.jitter_s), instant)
    return sum(at + _delay(schedule, key, at) > instant for at in near)


def _nominal_times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    match schedule.kind:
        case ScheduleKind.EVERY:
            yield from _every_times(schedule, after)
        case ScheduleKind.CRON:
            yield from _cron_times(load_cron(schedule.expression), schedule.timezone, after)
        case ScheduleKind.AT:
            yield from (at for at in [_at_time(schedule)] if at > after)


def _nominal_times_until(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    return takewhile(lambda at: at <= until, _nominal_times(schedule, after))


def _count_nominal_times(schedule: Schedule, after: datetime, until: datetime) -> int:
    match schedule.kind:
        case ScheduleKind.EVERY:
            return _every_number(schedule, until) - _every_number(schedule, after)
        case ScheduleKind.CRON:
            return _count_cron_times(load_cron(schedule.expression), schedule.timezone, after, until)
        case ScheduleKind.AT:
            return int(after < _at_time(schedule) <= until)


def _at_time(schedule: Schedule) -> datetime:
    return datetime.fromisoformat(schedule.expression)


def _every_number(schedule: Schedule, instant: datetime) -> int:
    """Return the number of nominal times of an interval up to and including *instant*."""
    return max(0, (instant - schedule.anchor_at) // _interval(schedule))


def move_origin_back(schedule: Schedule, instant: datetime) -> Schedule:
    """Return the schedule with an interval origin of the same phase that is not after an instant."""
    if schedule.kind is not ScheduleKind.EVERY or schedule.anchor_at <= instant:
        return schedule
    interval = _interval(schedule)
    intervals = math.ceil((schedule.anchor_at - instant) / interval)
    return replace(schedule, anchor_at=schedule.anchor_at - intervals * interval)


def _every_times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    interval = _interval(schedule)
    at = schedule.anchor_at.astimezone(UTC) + _every_number(schedule, after) * interval
    while at < _END:
        at += interval
        yield at


def _interval(schedule: Schedule) -> timedelta:
    return timedelta(seconds=parse_duration(schedule.expression))


def _cron_times(cron: Cron, zone: str, after: datetime) -> Iterator[datetime]:
    """Yield the instants at which a cron expression fires in a zone, strictly after *after*.

    Within a period of constant offset these are the matches of a plain calendar. CronSim's own walk through a zone is
    not used: started in a repeated hour it can return an instant in the past, and with a star for minute or hour it
    loses matches after a gap at midnight (America/Sao_Paulo) and at half-hour changes (Lord Howe).
    """
    low = after
    while (period := next(offset_periods(zone, low), None)) is not None:
        replacement, local = _enter_period(cron, period, after)
        if replacement is not None:
            yield replacement
        for match in cron.matches_after(local):
            if match >= period.local_end:
                break
            yield period.to_utc(match)
        else:
            return
        # Nothing matches before this, so earlier periods are skipped; two days exceed any change of offset.
        low = max(period.end, period.to_utc(match) - timedelta(days=2))


def _count_cron_times(cron: Cron, zone: str, after: datetime, until: datetime) -> int:
    total = 0
    for period in takewhile(lambda period: period.start <= until, offset_periods(zone, after)):
        replacement, local = _enter_period(cron, period, after)
        last = period.to_local(min(until, period.end - TICK))
        total += (replacement is not None) + cron.count_matches(local, last)
    return total


def _enter_period(cron: Cron, period: OffsetPeriod, after: datetime) -> tuple[datetime | None, datetime]:
    """Return how a cron expression starts a period of constant offset, with Debian's rules for clock changes.

    Returns:
        The start of the period if it replaces fire times skipped by clocks that went forward, else None; and the naive
        local time strictly after which the period's own matches count.
    """
    replacement = None
    if after >= period.start:
        local = period.to_local(after)
    else:
        local = period.local_start - TICK
        # A match at the start itself replaces the skipped ones too.
        if cron.follows_clock and cron.count_matches(period.local_before - TICK, local):
            replacement, local = period.start, period.local_start
    if cron.follows_clock:
        # Repeated clock times have fired already.
        local = max(local, period.local_before - TICK)
    return replacement, local


def newest_fire_times(schedule: Schedule, key: int, after: datetime, until: datetime, most: int) -> list[datetime]:
    """Return the newest *most* fire times with after < time <= until, oldest first, without visiting earlier ones."""
    if most < 1:
        return []
    low, high = after, until
    while count_fire_times(schedule, key, low, until) > most:
        middle = low + (high - low) / 2
        if count_fire_times(schedule, key, middle, until) < most:
            high = middle
        else:
            low = middle
    return list(takewhile(lambda at: at <= until, fire_times(schedule, key, low)))
