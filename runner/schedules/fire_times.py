"""Fire times of a schedule: the next one, a list of them, and their number between two instants.

The nominal times follow from the schedule's expression. Jitter delays each by a part of ``jitter_s`` that is a hash of
the nominal time and the job's number (*key*). So it is the same in every process, does not accumulate, and can be
computed for any instant alone. It is shorter than the smallest gap between nominal times, so that it keeps their order.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile

from runner.model.jobs import Schedule, ScheduleKind
from runner.model.units import TICK, format_duration, format_instant, parse_duration
from runner.schedules.cron import Cron, load_cron
from runner.schedules.zones import OffsetPeriod, clock_changes, load_zone

# A later fire time is missed. If the clock is set back by less than this, no fire time is repeated.
LATE = timedelta(seconds=60)
# Smaller steps of the clock are corrections, after which a schedule of clock times does not repeat its fire times, as
# in Debian's cron.
_CORRECTION = timedelta(hours=3)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Nothing fires after this, so that all sums stay within the range of datetime.
_END = datetime(9800, 1, 1, tzinfo=UTC)
_CALENDAR = timedelta(days=28 * 366)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class FireTime:
    """A future fire time in UTC and in the schedule's time zone, and the effect of daylight saving on it, if any."""

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
        found = list(_until(until, fire_times(schedule, key, low)))
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


@lru_cache(maxsize=4_096)
def count_by_hour(schedule: Schedule, key: int, start: datetime, hours: int) -> tuple[int, ...]:
    """Count the fire times in each of the hours from *start* on, the start of each included."""
    until = start + hours * _HOUR
    counts = [0] * hours
    if count_fire_times(schedule, key, start - TICK, until - TICK) > 4 * hours:
        ends = (start + (hour + 1) * _HOUR - TICK for hour in range(hours))
        return tuple(count_fire_times(schedule, key, end - _HOUR, end) for end in ends)
    for at in _until(until - TICK, fire_times(schedule, key, start - TICK)):
        counts[(at - start) // _HOUR] += 1
    return tuple(counts)


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
        note = _describe_clock_changes(schedule, nominal, previous=previous)
        result.append(FireTime(at=at, local=at.astimezone(zone), note=note))
        previous = nominal
    return result


def describe(schedule: Schedule) -> str:
    """Format a schedule: ``cron */5 * * * * (Europe/Berlin), jitter 30s``."""
    zone = f" ({schedule.timezone})" if schedule.kind is ScheduleKind.CRON else ""
    jitter = f", jitter {format_duration(schedule.jitter_s)}" if schedule.jitter_s else ""
    return f"{schedule.kind} {schedule.expression}{zone}{jitter}"


def describe_in_words(schedule: Schedule) -> str:
    """Format a schedule in words: ``at 02:30 on Monday through Friday in Europe/Berlin``."""
    jitter = f", each time delayed by a fixed part of {format_duration(schedule.jitter_s)}" if schedule.jitter_s else ""
    match schedule.kind:
        case ScheduleKind.EVERY:
            origin = format_instant(schedule.interval_origin.replace(microsecond=0))
            return f"every {schedule.expression}, counted from {origin}{jitter}"
        case ScheduleKind.AT:
            return f"once, at {schedule.expression}{jitter}"
        case ScheduleKind.CRON:
            words = load_cron(schedule.expression).in_words
            return f"{words[:1].lower()}{words[1:]} in {schedule.timezone}{jitter}"


def find_gaps(schedule: Schedule, after: datetime) -> tuple[timedelta, timedelta]:
    """Find the shortest time between two fire times without jitter, and an upper bound of the longest.

    For cron this covers the 28 years after *after*, with all combinations of weekdays and leap days, and their clock
    changes. A schedule that fires once has the longest possible gap.
    """
    if schedule.kind is not ScheduleKind.CRON:
        gap = _ticks(schedule).step * TICK
        return gap, gap
    cron = load_cron(schedule.expression)
    shortest, longest = cron.gaps(after.astimezone(UTC).date())
    moves = {timedelta()}
    for change in clock_changes(schedule.timezone, after, after + _CALENDAR):
        near = _until(change.start + shortest, _nominal_times(schedule, change.start - shortest))
        shortest = min([shortest, *(b - a for a, b in pairwise(near))])
        moves.add(change.moved)
    moved_back = -min(moves)
    if cron.follows_clock:
        return shortest, longest + moved_back
    # A schedule that follows elapsed time fires in a repeated hour as in any other, but one with longer gaps may lose
    # fire times in a skipped hour.
    unaffected = len(moves) == 1 or (longest <= _HOUR and not any(moved % _HOUR for moved in moves))
    return shortest, longest if unaffected else 2 * longest + moved_back


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
    text = f"{key} {_tick(nominal)}"
    # hash() differs between processes.
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return number * schedule.jitter_s * 1_000_000 // 2**64 * TICK


def _count_delayed_past(schedule: Schedule, key: int, instant: datetime) -> int:
    """Return the number of nominal times up to *instant* whose fire times are after it."""
    near = _until(instant, _nominal_times(schedule, instant - timedelta(seconds=schedule.jitter_s)))
    return sum(at + _delay(schedule, key, at) > instant for at in near)


def _nominal_times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    if schedule.kind is ScheduleKind.CRON:
        return load_cron(schedule.expression).times_in(schedule.timezone, after)
    ticks = _ticks(schedule)
    return (_EPOCH + tick * TICK for tick in ticks[_passed(ticks, after) :])


def _until(until: datetime, times: Iterable[datetime]) -> Iterator[datetime]:
    return takewhile(lambda at: at <= until, times)


def _count_nominal_times(schedule: Schedule, after: datetime, until: datetime) -> int:
    if schedule.kind is ScheduleKind.CRON:
        return load_cron(schedule.expression).count_in(schedule.timezone, after, until)
    ticks = _ticks(schedule)
    return _passed(ticks, until) - _passed(ticks, after)


def _ticks(schedule: Schedule) -> range:
    """Return the nominal times of an interval or an instant, in microseconds since 1970."""
    if schedule.kind is ScheduleKind.AT:
        at = _tick(datetime.fromisoformat(schedule.expression))
        return range(at, at + 1, timedelta.max // TICK)
    interval = _interval(schedule)
    return range(_tick(schedule.interval_origin + interval), _tick(_END), interval // TICK)


def _passed(ticks: range, instant: datetime) -> int:
    return min(max(0, (_tick(instant) - ticks.start) // ticks.step + 1), len(ticks))


def _tick(instant: datetime) -> int:
    return (instant - _EPOCH) // TICK


def _interval(schedule: Schedule) -> timedelta:
    return timedelta(seconds=parse_duration(schedule.expression))


def move_origin_back(schedule: Schedule, instant: datetime) -> Schedule:
    """Return the schedule with an interval origin of the same phase that is not after an instant."""
    if schedule.kind is not ScheduleKind.EVERY or schedule.interval_origin <= instant:
        return schedule
    interval = _interval(schedule)
    return replace(
        schedule, interval_origin=schedule.interval_origin + (instant - schedule.interval_origin) // interval * interval
    )


def _describe_clock_changes(schedule: Schedule, nominal: datetime, *, previous: datetime) -> str:
    """Return the effects of clock changes on a fire time, such as ``02:30 comes twice that day: first``, or nothing.

    *nominal* is the time before jitter in UTC; the note of the one *previous* to it covers all earlier changes.
    """
    cron = load_cron(schedule.expression) if schedule.kind is ScheduleKind.CRON else None
    notes = [""]
    if schedule.kind is ScheduleKind.EVERY:
        previous = max(previous, schedule.interval_origin)
    for period in clock_changes(schedule.timezone, previous, nominal):
        change = _describe_change(period, nominal)
        if schedule.kind is ScheduleKind.EVERY:
            notes.append(change)
        elif cron is not None and (skipped := _describe_skipped(cron, period)):
            notes.append(f"{change}: {skipped}")
    repeat = _describe_repeat(nominal.astimezone(load_zone(schedule.timezone)), cron)
    return "; ".join(filter(None, [notes[-1], repeat]))


def _describe_repeat(local: datetime, cron: Cron | None) -> str:
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return ""
    if cron is not None and cron.follows_clock:
        which = "fires the first time only"
    else:
        which = "second" if local.fold else "first"
    return f"{_clock(local)} comes twice that day: {which}"


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
