"""The stable contract with scripts: each record of the model as a dictionary with fixed keys in fixed order.

A path that is UTF-8 is its own text. Another path is shown by :func:`~runner.output.text.printable`, and its bytes are
in a second key, ``path_base64`` or ``root_base64``, which is null for the former.
"""

import base64
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from runner.jobs.options import OPTIONS
from runner.model.jobs import Job
from runner.model.notifications import Notification
from runner.model.runs import Change, Difference, FoundFile, Problem, Run
from runner.model.units import format_instant
from runner.output.text import printable

Record = dict[str, Any]

EXECUTION_KEYS = (
    *("strategy", "position", "workers", "start_method", "wall_s", "startup_s", "user_s", "system_s"),
    *("max_rss_bytes", "cache", "files", "directories", "status", "entries", "message"),
)
RUN_KEYS = (
    *("run", "job", "root", "cause", "status", "scheduled_at", "started_at", "finished_at", "wall_s", "files"),
    *("directories", "added", "removed", "modified", "problems", "message", "executions", "missed", "differences"),
    *("root_base64", "attempt", "lateness_s", "retry_at"),
)
FILE_KEYS = ("path", "size_bytes", "modified_at", "mtime_ns", "first_run", "path_base64", "unknown")
CHANGE_KEYS = ("kind", "path", "old_size_bytes", "new_size_bytes", "path_base64")
PROBLEM_KEYS = ("path", "errno", "text", "path_base64")
DIFFERENCE_KEYS = ("path", "found_by", "path_base64")
NOTIFICATION_KEYS = ("event", "command", "started_at", "wall_s", "exit_code", "message")
_FIRST_JOB_KEYS = (
    *("number", "name", "root", "schedule", "timezone", "paused", "next_at", "last_run", "last_status"),
    *("last_finished_at", "patterns", "excludes", "ignore_case", "track", "one_file_system", "strategies", "workers"),
    *("timeout_s", "catchup", "jitter_s", "created_at", "root_base64"),
)
_OPTION_KEYS = tuple(option.attribute for option in OPTIONS)
JOB_KEYS = (*_FIRST_JOB_KEYS, *(key for key in _OPTION_KEYS if key not in _FIRST_JOB_KEYS))
_PATHS = {"path_base64": "path", "root_base64": "root"}
_PLAIN = frozenset({str, int, float, bool, type(None), dict})  # dictionaries are records


def encode(record: Any, keys: Iterable[str], **values: Any) -> Record:
    """Return the attributes of a record by key, as JSON has them; ``path_base64`` belongs to the attribute ``path``.

    Args:
        record: A record of the model.
        keys: The keys in their order.
        values: The values of keys that are not attributes of the record.
    """
    encoded: Record = {}
    for key in keys:
        if key in _PATHS and key not in values:
            value = exact(getattr(record, _PATHS[key]))[1]
        else:
            value = values[key] if key in values else getattr(record, key)
        encoded[key] = value if type(value) in _PLAIN else plain(value)
    return encoded


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
            return {field.name: plain(getattr(value, field.name)) for field in fields(value)}


def run_record(run: Run, retry_at: datetime | None = None) -> Record:
    """Return one run as ``history`` lists it; ``problems`` and ``differences`` are counts.

    Args:
        run: The run.
        retry_at: The instant of its next attempt, if there is one.
    """
    executions = [encode(execution, EXECUTION_KEYS) for execution in run.executions]
    return encode(run, RUN_KEYS, run=run.run_id, executions=executions, retry_at=retry_at)


def show_record(
    run: Run,
    changes: Iterable[Change] = (),
    problems: Iterable[Problem] = (),
    differences: Iterable[Difference] = (),
    notifications: Iterable[Notification] = (),
    retry_at: datetime | None = None,
) -> Record:
    """Return one run as ``show`` does: :func:`run_record` with lists in place of their counts, and more lists."""
    return {
        **run_record(run, retry_at),
        "problems": [encode(problem, PROBLEM_KEYS) for problem in problems],
        "differences": [encode(difference, DIFFERENCE_KEYS) for difference in differences],
        "changes": [change_record(change) for change in changes],
        "environment": plain(run.environment),
        "notifications": [encode(notification, NOTIFICATION_KEYS) for notification in notifications],
    }


def file_record(file: FoundFile) -> Record:
    """Return one found file; ``modified_at`` is ``mtime_ns`` to the microsecond, null beyond the calendar."""
    # Without encode(), which takes 1.5 times as long: a listing may have a million files.
    path, path_base64 = exact(file.path)
    return {
        "path": path,
        "size_bytes": file.size_bytes,
        "modified_at": plain(modified_at(file.mtime_ns)),
        "mtime_ns": file.mtime_ns,
        "first_run": file.first_run,
        "path_base64": path_base64,
        "unknown": file.unknown,
    }


def change_record(change: Change) -> Record:
    """Return one file that was added, removed or modified."""
    return encode(change, CHANGE_KEYS)


def job_record(job: Job, next_at: datetime | None = None, last_run: Run | None = None) -> Record:
    """Return one job with its options, its next fire time, and the end of its last run."""
    spec, schedule = job.spec, job.spec.schedule
    return encode(
        spec,
        JOB_KEYS,
        **{option.attribute: option.get(spec) for option in OPTIONS},
        number=job.job_id,
        schedule=schedule and f"{schedule.kind.value} {schedule.expression}",
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
    if mtime_ns is None:
        return None
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return None


def exact(path: bytes) -> tuple[str, str | None]:
    """Return a path as text and, if that text is not exactly the path, its bytes in base64."""
    try:
        return path.decode("utf-8"), None
    except UnicodeDecodeError:
        return printable(path), base64.b64encode(path).decode("ascii")
