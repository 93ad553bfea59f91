"""The job file: a TOML table ``[jobs.NAME]`` for each job, with the options of ``runner schedule`` as keys.

An absent key means its default, whatever the job had before, so that one file always makes the same jobs. The only
exception is the origin of an interval: without ``anchor``, an existing job keeps its own.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from runner.history.jobs import absolute_root
from runner.jobs.options import OPTIONS, SCHEDULE_OPTIONS, job_entries
from runner.jobs.validation import check_spec
from runner.model.errors import UsageError, reason_of
from runner.model.jobs import JobSpec, Schedule, ScheduleKind
from runner.model.toml import Table, is_utf8, parse_toml, read_bounded, read_text, write_comment, write_key, write_value
from runner.schedules.instants import find_clock_warning
from runner.schedules.parse import parse_kept_schedule
from runner.schedules.zones import find_zone

_HEADER = """\
# The jobs of runner, written by `runner jobs export` and applied by `runner jobs apply`.
# An absent key has the default of `runner schedule`; an interval (every) is counted from its anchor.
"""
# Room is left on both sides for a century's interval and a fire time.
_FIRST_ANCHOR, _LAST_ANCHOR = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_ANCHOR = "an instant from 1970 to 2099 with its offset and without quotes, such as 2026-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A job of a file; unless it is *anchored* there, the anchor in *spec* is for a new job only."""

    spec: JobSpec
    anchored: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class JobsFile:
    """A job file that has been read; *has_table* if it has a table of jobs, perhaps an empty one."""

    name: str
    jobs: tuple[Wanted, ...]
    has_table: bool


def write_jobs(specs: Iterable[JobSpec]) -> str:
    """Write a job file, ordered by name, so that the same jobs always make the same file.

    It has no defaults, but the time zone, which depends on the machine, and the anchor, which keeps the fire times.
    """
    blocks = [_HEADER]
    for spec in sorted(specs, key=lambda spec: spec.name):
        defaults = job_entries(JobSpec(name=spec.name, root=b""))
        lines = [f"[jobs.{write_key(spec.name)}]"]
        for key, value in job_entries(spec).items():
            if value != defaults[key]:
                comment = f"  {write_comment(value)}" if key == "root" and not is_utf8(value) else ""
                lines.append(f"{key} = {write_value(value)}{comment}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks if len(blocks) > 1 else [_HEADER, "[jobs]\n"])


def load_jobs(file: str, now: datetime) -> JobsFile:
    """Load a job file; relative roots are relative to its directory. It raises the errors of :func:`read_jobs`."""
    if not file:  # abspath would make it the working directory
        raise UsageError("the file's name is empty; name a file, or write - for standard input")
    path = os.path.abspath(os.fsencode(file))  # noqa: PTH100
    try:
        with open(path, "rb") as opened:  # noqa: PTH123
            data = read_bounded(opened, f"the file {file!r}")
    except OSError as error:
        raise UsageError(f"the file {file!r} can't be read: {reason_of(error)}; check its path") from None
    return read_jobs(file, data, os.path.dirname(path), now)  # noqa: PTH120


def read_jobs(name: str, data: bytes, directory: bytes, now: datetime) -> JobsFile:
    """Read a job file; roots, perhaps relative to a directory, are not accessed, and new schedules count from *now*.

    Raises:
        UsageError: If it is invalid; begins with the name of the file and the key path.
    """
    where = f"{name}: "
    table = Table(where, parse_toml(name, data))
    has_table = "jobs" in table.entries
    jobs = table.take("jobs", {})
    table.finish()
    if not isinstance(jobs, dict):
        raise table.error("jobs are tables; write [jobs.NAME] above the keys of each")
    wanted = tuple(_read_job(where, job, entries, directory, now) for job, entries in jobs.items())
    return JobsFile(name=name, jobs=wanted, has_table=has_table)


def _read_job(where: str, name: str, entries: object, directory: bytes, now: datetime) -> Wanted:
    table = Table(where, entries if isinstance(entries, Mapping) else {}, ("jobs", name))
    if not isinstance(entries, Mapping):
        raise table.error("a job is a table; write [jobs.NAME] above its keys")
    with _named(table):
        spec = check_spec(JobSpec(name=name, root=b"/"))
        if "root" not in entries:
            raise UsageError("the key root is missing; add it")
    root = _take(table, "root", "the path of a directory, . for the file's own", partial(_to_root, directory))
    schedule, warnings = _read_schedule(table, now)
    spec = replace(spec, root=root, schedule=schedule)
    for option in OPTIONS:
        value = _take(table, option.key, option.kind.expected, option.kind.read)
        if option.key in entries:
            with _named(table, option.key):
                # The options before have been checked, so that an error is about this one.
                spec = check_spec(option.set(spec, value))
    table.finish()
    return Wanted(spec=spec, anchored="anchor" in entries, warnings=warnings)


def _take(table: Table, key: str, expected: str, read: Callable[[Any], Any]) -> Any:
    """Return and remove the converted value of a key; None if it is absent."""
    value = table.take(key)
    if value is None:
        return None
    with _named(table, key):
        try:
            return read(value)
        except (TypeError, ValueError):
            raise table.wrong(key, expected, value) from None


def _to_root(directory: bytes, value: object) -> bytes:
    text = read_text(value)
    if not text or "\0" in text:
        raise ValueError
    path = os.path.expanduser(text.encode("utf-8", "surrogateescape"))  # noqa: PTH111
    return absolute_root(os.path.join(directory, path))


def _to_anchor(value: object) -> datetime:
    if not isinstance(value, datetime) or not _FIRST_ANCHOR <= value < _LAST_ANCHOR:  # a TypeError without its offset
        raise TypeError
    return value.astimezone(UTC)


def _read_schedule(table: Table, now: datetime) -> tuple[Schedule | None, tuple[str, ...]]:
    """Return the schedule, and how a local time that occurs twice or not at all is read."""
    kinds = [key for key in table.entries if key in set(ScheduleKind)]
    if len(kinds) > 1:
        raise table.error(f"{' and '.join(kinds)} exclude each other; keep one of them")
    texts = {
        option.key: _take(table, option.key, option.kind.expected, option.kind.read) for option in SCHEDULE_OPTIONS
    }
    anchor = _take(table, "anchor", _ANCHOR, _to_anchor)
    for key, value in {"timezone": texts["timezone"], "jitter": texts["jitter"], "anchor": anchor}.items():
        if value is not None and (not kinds or (key == "anchor" and kinds != ["every"])):
            needed = "every" if key == "anchor" else "every, cron or at"
            raise table.error(f"{key} has no effect without {needed}; remove it, or add that", key)
    if not kinds:
        return None, ()
    if texts["timezone"] is not None:
        with _named(table, "timezone"):
            find_zone(texts["timezone"])
    with _named(table, kinds[0]):  # without the jitter, so that an error is about the kind
        parse_kept_schedule(**texts | {"jitter": None}, now=anchor or now)
    with _named(table, "jitter"):
        schedule = parse_kept_schedule(**texts, now=anchor or now)
    warning = find_clock_warning(texts["at"], schedule.timezone, now=now) if texts["at"] is not None else None
    return schedule, () if warning is None else (warning,)


@contextmanager
def _named(table: Table, *keys: str) -> Iterator[None]:
    """Add the file and the path of a key to an error."""
    try:
        yield
    except UsageError as error:
        raise error if str(error).startswith(table.where) else table.error(error, *keys) from None
