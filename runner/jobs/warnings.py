"""What is chosen for a job and comes to nothing, though nothing about it is wrong."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from runner.jobs.selection_warnings import find_selection_warnings
from runner.model.errors import UsageError
from runner.model.jobs import Catchup, JobSpec, Schedule, ScheduleKind
from runner.model.units import format_duration, parse_duration
from runner.schedules.fire_times import largest_gap
from runner.strategies import load_strategy

# What is as it is by default was hardly chosen for its effect.
_PLAIN = JobSpec(name="plain", root=b"/")
# What a doubt can be about.
_CHOICES = (
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
    """Find what has no effect, a line for each.

    Args:
        spec: What is chosen for a job.
        before: What was; None for a new job. What is as it was is not told again.
    """
    base = before or replace(_PLAIN, name=spec.name, root=spec.root)
    changed = {name for name in _CHOICES if getattr(spec, name) != getattr(base, name)}
    doubts = *_doubts_on_finding(spec, base), *_doubts_on_firing(spec), *_doubts_on_running(spec, base)
    return [text for about, text in doubts if changed & about]


def _doubts_on_finding(spec: JobSpec, base: JobSpec) -> Iterator[tuple[set[str], str]]:
    for text in find_selection_warnings(spec.selection, spec.root, base.selection):
        yield {"selection"}, text
    old = {*base.selection.patterns, *base.selection.excludes}
    for pattern in (*spec.selection.patterns, *spec.selection.excludes):
        if pattern not in old and _is_several(pattern):
            yield {"selection"}, f"{pattern!r} is one pattern, which hardly any name matches; give several one by one"


def _is_several(pattern: str) -> bool:
    """Whether a person is likely to mean several patterns: ``*.md, *.txt`` or ``*.{md,txt}``."""
    pieces = re.split(r"[,\s]+", pattern)
    return "," in pattern.partition("{")[2].rpartition("}")[0] or (
        len(pieces) > 1 and all(piece.startswith("*") for piece in pieces)
    )


def _doubts_on_firing(spec: JobSpec) -> Iterator[tuple[set[str], str]]:
    """Give each doubt with the choices of which one has to be new."""
    by_hand = "no effect on a job without a schedule"
    if spec.schedule is None:
        if spec.retries:
            yield {"retries", "schedule"}, f"retries have {by_hand}: what is run by hand is not tried again"
        if spec.catchup is not Catchup.ONCE:
            yield {"catchup", "schedule"}, f"catchup has {by_hand}, which misses nothing"
        if spec.paused:
            yield {"paused", "schedule"}, f"being paused has {by_hand}, which does not fire"
    elif spec.retries and _always_fires_within(spec.schedule, spec.retry_delay_s):
        forestalled = f"the job fires before the retry delay of {format_duration(spec.retry_delay_s)} is over"
        yield (
            {"retries", "retry_delay_s", "schedule"},
            f"no run will be tried again: {forestalled}; choose a shorter one",
        )
    if spec.schedule is not None and (east_or_west := re.match(r"(?:UTC|GMT)([+-]?)0*[1-9]", spec.schedule.timezone)):
        side = "east" if east_or_west[1] == "-" else "west"
        zone = f"the time zone {spec.schedule.timezone!r} is {side} of Greenwich"
        yield {"schedule"}, f"{zone}: POSIX notation counts hours westward"
    if not spec.retries and spec.retry_delay_s != _PLAIN.retry_delay_s:
        yield {"retry_delay_s"}, "a retry delay has no effect without retries; choose how many"


def _always_fires_within(schedule: Schedule, seconds: int) -> bool:
    """Whether a fire time is always followed by the next one within so many seconds, as far as is known."""
    if schedule.kind is ScheduleKind.AT:
        return False
    try:
        # Jitter may move two fire times apart by that much.
        longest = largest_gap(schedule, schedule.anchor_at) + timedelta(seconds=schedule.jitter_s)
    except UsageError:  # its zone is not known on this machine, and whoever pauses the job need not hear of it
        return False
    return longest <= timedelta(seconds=seconds)


def _never_fires_within(schedule: Schedule | None, seconds: int) -> bool:
    """Whether so many seconds always pass between two fire times, as far as is known without looking at each."""
    return (
        schedule is not None
        and schedule.kind is ScheduleKind.EVERY
        and parse_duration(schedule.expression) >= seconds + schedule.jitter_s
    )


def _doubts_on_running(spec: JobSpec, base: JobSpec) -> Iterator[tuple[set[str], str]]:
    if spec.workers is not None and not any(load_strategy(name).parallel for name in spec.strategies):
        yield {"workers"}, "a number of workers has no effect without the strategy pool"
    if spec.full_every_s != _PLAIN.full_every_s and "incremental" not in spec.strategies:
        every = format_duration(spec.full_every_s)
        yield {"full_every_s"}, f"reading everything every {every} has no effect without the strategy incremental"
    elif "incremental" in spec.strategies and _never_fires_within(spec.schedule, spec.full_every_s):
        always = f"every firing reads everything, which is due every {format_duration(spec.full_every_s)}"
        yield {"full_every_s", "schedule", "strategies"}, f"{always}; let it be due less often than the job fires"
    for notify in spec.notify:
        if notify not in base.notify and shutil.which(notify.command[0]) is None:
            text = f"the program {notify.command[0]!r}, which is to be told of {notify.event.value}, is not found here"
            yield {"notify"}, f"{text}; install it where the daemon finds it"
