"""The stable contract with scripts: each record of the model as a dictionary with fixed keys in fixed order.

A path that is UTF-8 is its own text. Another path is shown by :func:`~runner.output.text.printable`, and its bytes are
in a second key, ``path_base64`` or ``root_base64``, which is null for the former.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

from runner.jobs.options import OPTIONS
from runner.model.jobs import Job
from runner.model.notifications import Notification
from runner.model.runs import Change, Difference, Execution, FoundFile, Problem, Run
from runner.model.units import format_instant
from runner.output.text import printable

if TYPE_CHECKING:
    from runner.trends.compare import Interval

Record = dict[str, Any]


@cache
def keys_of(kind: type) -> tuple[str, ...]:
    """Return the keys of the records of a dataclass: its fields, then ``path_base64`` for a ``path`` of bytes."""
    return (
        *(field.name for field in fields(kind)),
        *(f"{field.name}_base64" for field in fields(kind) if field.type is bytes),
    )


EXECUTION_KEYS = keys_of(Execution)
RUN_KEYS = (
    *("run", "job", "root", "cause", "status", "scheduled_at", "started_at", "finished_at", "wall_s", "files"),
    *("directories", "added", "removed", "modified", "problems", "message", "executions", "missed", "differences"),
    *("root_base64", "attempt", "lateness_s", "retry_at"),
)
FILE_KEYS = ("path", "size_bytes", "modified_at", "mtime_ns", "first_run", "path_base64", "unknown")
CHANGE_KEYS = keys_of(Change)
_FIRST_JOB_KEYS = (
    *("number", "name", "root", "schedule", "timezone", "paused", "next_at", "last_run", "last_status"),
    *("last_finished_at", "patterns", "excludes", "ignore_case", "track", "one_file_system", "strategies", "workers"),
    *("timeout_s", "catchup", "jitter_s", "created_at", "root_base64"),
)
JOB_KEYS = tuple(dict.fromkeys((*_FIRST_JOB_KEYS, *(option.attribute for option in OPTIONS))))
_PATHS = {"path_base64": "path", "root_base64": "root"}
_EPOCH = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)
_PLAIN = frozenset({str, int, float, bool, type(None), dict})  # dictionaries are records


def encode(record: Any, keys: Sequence[str] = (), **values: Any) -> Record:
    """Return a record of the model as JSON has it.

    Args:
        record: A dataclass or named tuple.
        keys: The keys in their order; none for all fields. ``path_base64`` belongs to the field ``path``.
        values: The values of keys that are not fields.
    """
    encoded: Record = {}
    for key in keys or keys_of(record.__class__):
        if key in values:
            value = values[key]
        elif key in _PATHS:
            value = exact(getattr(record, _PATHS[key]))[1]
        else:
            value = getattr(record, key)
        encoded[key] = value if type(value) in _PLAIN else plain(value)
    return encoded


def change_record(change: Change) -> Record:
    """Return one changed file, as quickly as :func:`file_record`."""
    path, path_base64 = exact(change.path)
    return {
        "kind": change.kind.value,
        "path": path,
        "old_size_bytes": change.old_size_bytes,
        "new_size_bytes": change.new_size_bytes,
        "path_base64": path_base64,
    }


def plain(value: Any) -> Any:
    """Return a value as JSON has it: instants in ISO 8601, enums by value, paths as text, records as dictionaries."""
    if type(value) in _PLAIN:
        return value
    match value:
        case Enum():
            return value.value
        case datetime():
            return format_instant(value)
        case bytes():
            return exact(value)[0]
        case list() | tuple():
            return [plain(part) for part in value]
        case _:
            return encode(value)


def run_record(run: Run, retry_at: datetime | None = None) -> Record:
    """Return one run as ``history`` lists it, with the instant of its next attempt; problems are a count."""
    return encode(run, RUN_KEYS, run=run.run_id, retry_at=retry_at)


def show_record(
    run: Run,
    changes: Iterable[Change] = (),
    problems: Sequence[Problem] = (),
    differences: Sequence[Difference] = (),
    notifications: Sequence[Notification] = (),
    retry_at: datetime | None = None,
) -> Record:
    """Return one run as ``show`` does: :func:`run_record` with lists in place of their counts, and more lists.

    Changes may be an iterator, and are one then.
    """
    changed = map(change_record, changes)
    return run_record(run, retry_at) | {
        "problems": plain(problems),
        "differences": plain(differences),
        "changes": changed if isinstance(changes, Iterator) else list(changed),
        "environment": plain(run.environment),
        "notifications": plain(notifications),
    }


def file_record(file: FoundFile) -> Record:
    """Return one found file; ``modified_at`` is ``mtime_ns`` to the microsecond, null beyond the calendar."""
    # Without encode(), which takes 1.5 times as long: a listing may have a million files.
    path, path_base64 = exact(file.path)
    instant = _modified_at(file.mtime_ns)
    return {
        "path": path,
        "size_bytes": file.size_bytes,
        "modified_at": instant and f"{instant.isoformat()}Z",
        "mtime_ns": file.mtime_ns,
        "first_run": file.first_run,
        "path_base64": path_base64,
        "unknown": file.unknown,
    }


def job_record(job: Job, next_at: datetime | None = None, last_run: Run | None = None) -> Record:
    """Return one job with its options, its next fire time, and the end of its last run."""
    spec, schedule = job.spec, job.spec.schedule
    return encode(
        spec,
        JOB_KEYS,
        **{option.attribute: option.get(spec) for option in OPTIONS},
        number=job.job_id,
        schedule=schedule and f"{schedule.kind} {schedule.expression}",
        timezone=schedule and schedule.timezone,
        next_at=next_at,
        last_run=last_run and last_run.run_id,
        last_status=last_run and last_run.status,
        last_finished_at=last_run and last_run.finished_at,
        jitter_s=schedule.jitter_s if schedule else 0,
        created_at=job.created_at,
    )


def modified_at(mtime_ns: int | None) -> datetime | None:
    """Return a modification time to the microsecond; None if unknown or beyond the calendar."""
    instant = _modified_at(mtime_ns)
    return instant and instant.replace(tzinfo=UTC)


def _modified_at(mtime_ns: int | None) -> datetime | None:
    # In UTC without saying so, which is quicker to add to and to format.
    if mtime_ns is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return None


def exact(path: bytes) -> tuple[str, str | None]:
    """Return a path as text and, if that text is not exactly the path, its bytes in base64."""
    try:
        return path.decode("utf-8"), None
    except UnicodeDecodeError:
        return printable(path), base64.b64encode(path).decode("ascii")


def bounds(interval: "Interval | None") -> list[float] | None:
    """Return an interval as the list of its two bounds."""
    return None if interval is None else [interval.low, interval.high]
