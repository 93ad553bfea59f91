"""Fire times of a schedule: the next one, the coming ones, and how many lie between two instants.

A schedule's nominal times follow from its expression alone. Jitter delays each nominal time by a part of
``jitter_s`` that is a hash of that very time and of the job's key, so that it is the same in every process, never
adds up, and can be computed for any instant without knowing the ones before it. It is shorter than the smallest gap
between nominal times (:func:`smallest_gap`), so that it keeps their order.
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
from runner.schedules.notes import describe_clock_change
from runner.schedules.zones import Stretch, load_zone, stretches

# A firing later than this is missed; fire times repeated by a clock set back by less do not fire again.
LATE = timedelta(seconds=60)
# Smaller steps of the clock are corrections of a wrong clock: schedules that name clock times do not fire again, as
# in Debian's cron.
_CORRECTION = timedelta(hours=3)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No schedule fires after this, which keeps every sum below within the years that Python can count.
_END = datetime(9800, 1, 1, tzinfo=UTC)
_CALENDAR = timedelta(days=28 * 366)


@dataclass(frozen=True, kw_only=True, slots=True)
class FireTime:
    """A coming fire time, as it is displayed.

    Attributes:
        at: The instant; aware UTC.
        local: The same in the schedule's time zone.
        note: What daylight saving changes, in a few words; empty on ordinary days.
    """

    at: datetime
    local: datetime
    note: str = ""


def next_fire_time(schedule: Schedule, key: int, after: datetime) -> datetime | None:
    """Return the first fire time strictly after *after*.

    Args:
        schedule: When the job fires.
        key: The job's number; jobs of different numbers jitter differently.
        after: Aware, in any zone.

    Returns:
        Aware UTC; None if there is no later one.
    """
    return next(fire_times(schedule, key, after), None)


def fire_times(schedule: Schedule, key: int, after: datetime) -> Iterator[datetime]:
    """Return the fire times strictly after *after*, in order; arguments and results as for :func:`next_fire_time`."""
    return (at for _, at in _times(schedule, key, after.astimezone(UTC)))


def last_fire_time(schedule: Schedule, key: int, after: datetime, until: datetime) -> datetime | None:
    """Return the last fire time with after < time <= until, if any, in time independent of the length."""
    after, until = after.astimezone(UTC), until.astimezone(UTC)
    window, low = timedelta(minutes=1), until
    # Looking back twice as far each time, all that is found lies in the half of the window that is new.
    while low > after:
        low = until - min(window, until - after)
        found = list(takewhile(lambda at: at <= until, fire_times(schedule, key, low)))
        if found:
            return found[-1]
        window *= 2
    return None


def count_fire_times(schedule: Schedule, key: int, after: datetime, until: datetime) -> int:
    """Count the fire times with after < time <= until, by arithmetic over days rather than one by one.

    Args:
        schedule: When the job fires.
        key: The job's number.
        after: Aware, in any zone.
        until: The same.
    """
    after, until = after.astimezone(UTC), min(until.astimezone(UTC), _END - TICK)
    if until <= after:
        return 0
    nominal = _count_nominal_times(schedule, after, until)
    return nominal + _count_delayed_past(schedule, key, after) - _count_delayed_past(schedule, key, until)


def fires_once(schedule: Schedule | None, set_back: timedelta) -> bool:
    """Return whether fire times that a clock set back by *set_back* shows a second time do not fire again."""
    if set_back <= LATE or schedule is None or schedule.kind is ScheduleKind.AT:
        return True
    names_times = schedule.kind is ScheduleKind.CRON and load_cron(schedule.expression).follows_clock
    return names_times and set_back < _CORRECTION


def coming(schedule: Schedule, key: int, after: datetime, count: int) -> list[FireTime]:
    """Return the first *count* fire times after *after*, each with a note on daylight saving."""
    after = previous = after.astimezone(UTC)
    zone = load_zone(schedule.timezone)
    shown = []
    for nominal, at in islice(_times(schedule, key, after), count):
        note = describe_clock_change(schedule, nominal, previous=previous)
        shown.append(FireTime(at=at, local=at.astimezone(zone), note=note))
        previous = nominal
    return shown


def describe(schedule: Schedule) -> str:
    """Describe a schedule in a few words: ``cron */5 * * * * (Europe/Berlin), jitter 30s``."""
    zone = f" ({schedule.timezone})" if schedule.kind is ScheduleKind.CRON else ""
    jitter = f", jitter {format_duration(schedule.jitter_s)}" if schedule.jitter_s else ""
    return f"{schedule.kind} {schedule.expression}{zone}{jitter}"


def smallest_gap(schedule: Schedule, after: datetime) -> timedelta:
    """Return the shortest time between two fire times of a schedule, without its jitter.

    For cron it is taken over the 28 years after *after*, in which weekdays and leap days come in all their
    combinations, and includes what changes of clocks do. A schedule that fires once has the longest gap there is.
    """
    if schedule.kind is ScheduleKind.EVERY:
        return _interval(schedule)
    if schedule.kind is ScheduleKind.AT:
        return timedelta.max
    after = after.astimezone(UTC)
    gap = load_cron(schedule.expression).smallest_gap(after.date())
    for stretch in takewhile(lambda stretch: stretch.start < after + _CALENDAR, stretches(schedule.timezone, after)):
        if stretch.moved:
            near = _nominal_times_until(schedule, stretch.start - gap, stretch.start + gap)
            gap = min([gap, *(b - a for a, b in pairwise(near))])
    return gap


def largest_gap(schedule: Schedule, after: datetime) -> timedelta:
    """Return an upper bound of the time between two fire times of a schedule, without its jitter.

    It is taken over the same years as :func:`smallest_gap`; where clocks change, every gap is taken to be as long as a
    change can make it. A schedule that fires once has the longest gap there is.
    """
    if schedule.kind is ScheduleKind.EVERY:
        return _interval(schedule)
    if schedule.kind is ScheduleKind.AT:
        return timedelta.max
    after, cron = after.astimezone(UTC), load_cron(schedule.expression)
    gap = cron.largest_gap(after.date())
    coming = takewhile(lambda stretch: stretch.start < after + _CALENDAR, stretches(schedule.timezone, after))
    moves = {stretch.moved for stretch in coming} - {timedelta()}
    put_back = max(timedelta(), *(-moved for moved in moves)) if moves else timedelta()
    if cron.follows_clock or not moves:
        return gap + put_back
    # A frequent schedule by elapsed time fires in a repeated hour as in any other; a rarer one may fall into a
    # skipped hour.
    as_ever = gap <= timedelta(hours=1) and not any(moved % timedelta(hours=1) for moved in moves)
    return gap if as_ever else 2 * gap + put_back


def _times(schedule: Schedule, key: int, after: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Return each nominal time with the fire time it is delayed to, from the first fire time after *after* on."""
    jitter = timedelta(seconds=schedule.jitter_s)
    for nominal in _nominal_times(schedule, after - jitter):
        at = nominal + _delay(schedule, key, nominal)
        if at >= _END:
            return
        if at > after:
            yield nominal, at


def _delay(schedule: Schedule, key: int, nominal: datetime) -> timedelta:
    """Return the delay of a nominal time: 0 <= delay < jitter, whole microseconds, uniform over keys and times."""
    if not schedule.jitter_s:
        return timedelta()
    text = f"{key} {(nominal - _EPOCH) // TICK}"
    # hash() would differ from process to process.
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return number * schedule.jitter_s * 1_000_000 // 2**64 * TICK


def _count_delayed_past(schedule: Schedule, key: int, instant: datetime) -> int:
    """Count the nominal times up to *instant* whose fire times lie after it."""
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
    """Count the nominal times of an interval up to and including *instant*."""
    return max(0, (instant - schedule.anchor_at) // _interval(schedule))


def move_origin_back(schedule: Schedule, instant: datetime) -> Schedule:
    """Return an interval schedule of the same phase whose origin is not later than an instant."""
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
    """Return the instants at which a cron expression fires in a zone, strictly after *after*.

    Within a stretch of constant offset the matches of a plain calendar are the answer. CronSim's own walk through a
    zone is not used: begun in a repeated hour it can return an instant that is past, and with a star for minute or
    hour it loses matches after a gap at midnight (America/Sao_Paulo) and beside half-hour changes (Lord Howe).
    """
    low = after
    while (stretch := next(stretches(zone, low), None)) is not None:
        deferred, local = _opening(cron, stretch, after)
        if deferred is not None:
            yield deferred
        for match in cron.matches_after(local):
            if match >= stretch.local_end:
                break
            yield stretch.to_utc(match)
        else:
            return
        # Nothing matches before this one, so stretches that end well before it are passed over; the two days leave
        # room for any change of offset in between.
        low = max(stretch.end, stretch.to_utc(match) - timedelta(days=2))


def _count_cron_times(cron: Cron, zone: str, after: datetime, until: datetime) -> int:
    total = 0
    for stretch in takewhile(lambda stretch: stretch.start <= until, stretches(zone, after)):
        deferred, local = _opening(cron, stretch, after)
        last = stretch.to_local(min(until, stretch.end - TICK))
        total += (deferred is not None) + cron.count_matches(local, last)
    return total


def _opening(cron: Cron, stretch: Stretch, after: datetime) -> tuple[datetime | None, datetime]:
    """Return where matching begins in a stretch of constant offset, as Debian's cron handles a change of clocks.

    Returns:
        The start of the stretch if a fire time skipped by clocks put forward fires then, else None; and the
        local time, naive, strictly after which the stretch's own matches count.
    """
    if after >= stretch.start:
        deferred, local = None, stretch.to_local(after)
    else:
        deferred, local = None, stretch.local_start - TICK
        # A match at the start itself replaces the skipped ones.
        if cron.follows_clock and cron.count_matches(stretch.local_before - TICK, local):
            deferred, local = stretch.start, stretch.local_start
    if cron.follows_clock:
        # Local times repeated by clocks put back have fired already.
        local = max(local, stretch.local_before - TICK)
    return deferred, local
