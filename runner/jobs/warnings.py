"""Warnings about valid options that have no effect."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from runner.jobs.selection_warnings import find_selection_warnings
from runner.model.errors import UsageError
from runner.model.jobs import Catchup, JobSpec, Schedule, ScheduleKind
from runner.model.units import format_duration, parse_duration
from runner.schedules.fire_times import find_gaps
from runner.strategies import load_strategy

# Defaults get no warnings.
_PLAIN = JobSpec(name="plain", root=b"/")
# The fields that a warning can be about.
_FIELDS = (
    "selection",
    "strategies",
    "retries",
    "retry_delay_s",
    "schedule",
    "catchup",
    "paused",
    "workers",
    "full_every_s",
    "notify",
)


def find_warnings(spec: JobSpec, before: JobSpec | None = None) -> list[str]:
    """Find the options without effect, a line for each.

    Args:
        spec: The job.
        before: The job before; None for a new one. Unchanged options get no warning.
    """
    base = before or replace(_PLAIN, name=spec.name, root=spec.root)
    changed = {name for name in _FIELDS if getattr(spec, name) != getattr(base, name)}
    warnings = *_warn_of_patterns(spec, base), *_warn_of_schedule(spec), *_warn_of_execution(spec, base)
    return [text for fields, text in warnings if changed & fields]


def _warn_of_patterns(spec: JobSpec, base: JobSpec) -> Iterator[tuple[set[str], str]]:
    for text in find_selection_warnings(spec.selection, spec.root, base.selection):
        yield {"selection"}, text
    old = {*base.selection.patterns, *base.selection.excludes}
    for pattern in (*spec.selection.patterns, *spec.selection.excludes):
        if pattern not in old and _is_several(pattern):
            yield {"selection"}, f"{pattern!r} is one pattern, which hardly any name matches; give several one by one"


def _is_several(pattern: str) -> bool:
    """Return whether several patterns are probably meant: ``*.md, *.txt`` or ``*.{md,txt}``."""
    pieces = re.split(r"[,\s]+", pattern)
    return "," in pattern.partition("{")[2].rpartition("}")[0] or (
        len(pieces) > 1 and all(piece.startswith("*") for piece in pieces)
    )


def _warn_of_schedule(spec: JobSpec) -> Iterator[tuple[set[str], str]]:
    """Yield each warning with the fields of which one must be new."""
    by_hand = "no effect on a job without a schedule"
    if spec.schedule is None:
        if spec.retries:
            yield {"retries", "schedule"}, f"retries have {by_hand}: manual runs are not retried"
        if spec.catchup is not Catchup.ONCE:
            yield {"catchup", "schedule"}, f"catchup has {by_hand}, which misses nothing"
        if spec.paused:
            yield {"paused", "schedule"}, f"being paused has {by_hand}, which does not fire"
    elif spec.retries and _always_fires_within(spec.schedule, spec.retry_delay_s):
        forestalled = f"the job fires before the retry delay of {format_duration(spec.retry_delay_s)} is over"
        yield (
            {"retries", "retry_delay_s", "schedule"},
            f"retries can never start: {forestalled}; choose a shorter one",
        )
    if spec.schedule is not None and (east_or_west := re.match(r"(?:UTC|GMT)([+-]?)0*[1-9]", spec.schedule.timezone)):
        side = "east" if east_or_west[1] == "-" else "west"
        zone = f"the time zone {spec.schedule.timezone!r} is {side} of Greenwich"
        yield {"schedule"}, f"{zone}: POSIX notation counts hours westward"
    if not spec.retries and spec.retry_delay_s != _PLAIN.retry_delay_s:
        yield {"retry_delay_s"}, "a retry delay has no effect without retries; choose how many"


def _always_fires_within(schedule: Schedule, seconds: int) -> bool:
    """Return whether each fire time is followed by the next within a number of seconds, as far as is known."""
    if schedule.kind is ScheduleKind.AT:
        return False
    try:
        _, longest = find_gaps(schedule, schedule.anchor_at)
    except UsageError:  # its time zone is unknown here, which is no reason to refuse a pause
        return False
    # Jitter may move two fire times apart by that much. The longest gap of an instant has no room for it.
    return longest <= timedelta(seconds=seconds - schedule.jitter_s)


def _never_fires_within(schedule: Schedule | None, seconds: int) -> bool:
    """Return whether a number of seconds always passes between two fire times of an interval."""
    return (
        schedule is not None
        and schedule.kind is ScheduleKind.EVERY
        and parse_duration(schedule.expression) >= seconds + schedule.jitter_s
    )


def _warn_of_execution(spec: JobSpec, base: JobSpec) -> Iterator[tuple[set[str], str]]:
    if spec.workers is not None and not any(load_strategy(name).parallel for name in spec.strategies):
        yield {"workers"}, "a number of workers has no effect without the strategy pool"
    if spec.full_every_s != _PLAIN.full_every_s and "incremental" not in spec.strategies:
        every = format_duration(spec.full_every_s)
        yield {"full_every_s"}, f"reading everything every {every} has no effect without the strategy incremental"
    elif "incremental" in spec.strategies and _never_fires_within(spec.schedule, spec.full_every_s):
        always = f"every run reads all directories, which is due every {format_duration(spec.full_every_s)}"
        yield {"full_every_s", "schedule", "strategies"}, f"{always}; choose a --full-every longer than the interval"
    for notify in spec.notify:
        if notify not in base.notify and shutil.which(notify.command[0]) is None:
            text = f"the program {notify.command[0]!r} for the event {notify.event.value} is not found here"
            yield {"notify"}, f"{text}; install it where the daemon finds it"
