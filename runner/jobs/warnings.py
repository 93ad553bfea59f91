"""Warnings about valid options that have no effect."""

import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace

from runner.jobs.selection_warnings import find_selection_warnings
from runner.model.errors import UsageError
from runner.model.jobs import Catchup, JobSpec, Schedule, ScheduleKind
from runner.model.units import format_duration, parse_duration
from runner.schedules.fire_times import find_gaps
from runner.strategies import load_strategy

# Defaults get no warnings.
_PLAIN = JobSpec(name="plain", root=b"/")


def find_warnings(spec: JobSpec, before: JobSpec | None = None) -> list[str]:
    """Find the options without effect, a line for each; those that are as in the job *before* get no warning."""
    base = before or replace(_PLAIN, name=spec.name, root=spec.root)
    changed = {field.name for field in fields(spec) if getattr(spec, field.name) != getattr(base, field.name)}
    warnings = [({"selection"}, text) for text in find_selection_warnings(spec.selection, spec.root, base.selection)]
    warnings += *_warn_of_schedule(spec), *_warn_of_execution(spec, base)
    return [text for about, text in warnings if changed & about]


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
    else:
        if spec.retries and _longest_gap_s(spec.schedule) <= spec.retry_delay_s:
            forestalled = f"the job fires before the retry delay of {format_duration(spec.retry_delay_s)} is over"
            text = f"retries can never start: {forestalled}; choose a shorter one"
            yield {"retries", "retry_delay_s", "schedule"}, text
        if east_or_west := re.match(r"(?:UTC|GMT)([+-]?)0*[1-9]", spec.schedule.timezone):
            side = "east" if east_or_west[1] == "-" else "west"
            zone = f"the time zone {spec.schedule.timezone!r} is {side} of Greenwich"
            yield {"schedule"}, f"{zone}: POSIX notation counts hours westward"
    if not spec.retries and spec.retry_delay_s != _PLAIN.retry_delay_s:
        yield {"retry_delay_s"}, "a retry delay has no effect without retries; choose how many"


def _longest_gap_s(schedule: Schedule) -> float:
    try:
        _, longest = find_gaps(schedule, schedule.anchor_at)
    except UsageError:  # its time zone is unknown here, which is no reason to refuse a pause
        return math.inf
    # Jitter may move two fire times apart by that much.
    return longest.total_seconds() + schedule.jitter_s


def _warn_of_execution(spec: JobSpec, base: JobSpec) -> Iterator[tuple[set[str], str]]:
    every, schedule = format_duration(spec.full_every_s), spec.schedule
    if spec.workers is not None and not any(load_strategy(name).parallel for name in spec.strategies):
        yield {"workers"}, "a number of workers has no effect without the strategy pool"
    if "incremental" not in spec.strategies:
        if spec.full_every_s != _PLAIN.full_every_s:
            yield {"full_every_s"}, f"reading everything every {every} has no effect without the strategy incremental"
    elif (
        schedule is not None
        and schedule.kind is ScheduleKind.EVERY
        and parse_duration(schedule.expression) >= spec.full_every_s + schedule.jitter_s
    ):
        always = f"every run reads all directories, which is due every {every}"
        yield {"full_every_s", "schedule", "strategies"}, f"{always}; choose a --full-every longer than the interval"
    for notify in spec.notify:
        if notify not in base.notify and shutil.which(notify.command[0]) is None:
            text = f"the program {notify.command[0]!r} for the event {notify.event.value} is not found here"
            yield {"notify"}, f"{text}; install it where the daemon finds it"
