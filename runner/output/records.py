"""The stable contract with scripts: each record of the model as a plain dictionary, keys and order fixed.

A path is given exactly where it is UTF-8. Where it is not, it is given as :func:`~runner.output.text.printable` shows
it, and its bytes stand in a second key, ``path_base64`` or ``root_base64``, which is null for exact paths.
"""

import base64
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.model.jobs import Job
from runner.model.notifications import Notification
from runner.model.runs import Change, Difference, Environment, Execution, FoundFile, Problem, Run
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
JOB_KEYS = (
    *("number", "name", "root", "schedule", "timezone", "paused", "next_at", "last_run", "last_status"),
    *("last_finished_at", "patterns", "excludes", "ignore_case", "track", "one_file_system", "strategies", "workers"),
    *("timeout_s", "catchup", "jitter_s", "created_at", "root_base64", "full_every_s", "retries"),
    *("retry_delay_s", "notify"),
)


def run_record(run: Run, retry_at: datetime | None = None) -> Record:
    """Give one run as ``history`` lists it; ``problems`` and ``differences`` are counts.

    Args:
        run: The run.
        retry_at: When its next attempt is due; None for none.
    """
    root, root_base64 = exact(run.root)
    return {
        "run": run.run_id,
        "job": run.job,
        "root": root,
        "cause": run.cause.value,
        "status": run.status.value,
        "scheduled_at": _instant(run.scheduled_at),
        "started_at": _instant(run.started_at),
        "finished_at": _instant(run.finished_at),
        "wall_s": run.wall_s,
        "files": run.files,
        "directories": run.directories,
        "added": run.added,
        "removed": run.removed,
        "modified": run.modified,
        "problems": run.problems,
        "message": run.message,
        "executions": [execution_record(execution) for execution in run.executions],
        "missed": run.missed,
        "differences": run.differences,
        "root_base64": root_base64,
        "attempt": run.attempt,
        "lateness_s": run.lateness_s,
        "retry_at": _instant(retry_at),
    }


def show_record(
    run: Run,
    changes: Iterable[Change] = (),
    problems: Iterable[Problem] = (),
    differences: Iterable[Difference] = (),
    notifications: Iterable[Notification] = (),
    retry_at: datetime | None = None,
) -> Record:
    """Give one run whole, as ``show`` does: :func:`run_record` with the lists in place of their counts, and more.

    ``problems`` and ``differences`` become lists where they stand; ``changes``, ``environment`` and ``notifications``
    follow at the end.
    """
    return {
        **run_record(run, retry_at),
        "problems": [problem_record(problem) for problem in problems],
        "differences": [difference_record(difference) for difference in differences],
        "changes": [change_record(change) for change in changes],
        "environment": None if run.environment is None else environment_record(run.environment),
        "notifications": [notification_record(notification) for notification in notifications],
    }


def execution_record(execution: Execution) -> Record:
    """Give one execution; a value that was not measured is null."""
    values = {key: getattr(execution, key) for key in EXECUTION_KEYS}
    return values | {"status": execution.status.value, "cache": execution.cache and execution.cache.value}


def environment_record(environment: Environment) -> Record:
    """Give where a run ran."""
    return asdict(environment)


def file_record(file: FoundFile) -> Record:
    """Give one found file; ``modified_at`` is ``mtime_ns`` to the microsecond, null beyond the calendar."""
    path, path_base64 = exact(file.path)
    return {
        "path": path,
        "size_bytes": file.size_bytes,
        "modified_at": _instant(modified_at(file.mtime_ns)),
        "mtime_ns": file.mtime_ns,
        "first_run": file.first_run,
        "path_base64": path_base64,
        "unknown": file.unknown,
    }


def change_record(change: Change) -> Record:
    """Give one file that was added, removed or modified."""
    path, path_base64 = exact(change.path)
    return {
        "kind": change.kind.value,
        "path": path,
        "old_size_bytes": change.old_size_bytes,
        "new_size_bytes": change.new_size_bytes,
        "path_base64": path_base64,
    }


def problem_record(problem: Problem) -> Record:
    """Give one path that could not be read; the root itself is the empty path."""
    path, path_base64 = exact(problem.path)
    return {"path": path, "errno": problem.errno, "text": problem.text, "path_base64": path_base64}


def difference_record(difference: Difference) -> Record:
    """Give one path on which the strategies disagree."""
    path, path_base64 = exact(difference.path)
    return {"path": path, "found_by": list(difference.found_by), "path_base64": path_base64}


def notification_record(notification: Notification) -> Record:
    """Give one command that was told of an event; ``exit_code`` is negative for a signal, null if it was not told."""
    return {
        "event": notification.event.value,
        "command": list(notification.command),
        "started_at": _instant(notification.started_at),
        "wall_s": notification.wall_s,
        "exit_code": notification.exit_code,
        "message": notification.message,
    }


def job_record(job: Job, next_at: datetime | None = None, last_run: Run | None = None) -> Record:
    """Give one job with what a person chose, when it fires next, and how its last run ended."""
    spec, selection = job.spec, job.spec.selection
    root, root_base64 = exact(spec.root)
    return {
        "number": job.job_id,
        "name": spec.name,
        "root": root,
        "schedule": spec.schedule and f"{spec.schedule.kind.value} {spec.schedule.expression}",
        "timezone": spec.schedule and spec.schedule.timezone,
        "paused": spec.paused,
        "next_at": _instant(next_at),
        "last_run": last_run and last_run.run_id,
        "last_status": last_run and last_run.status.value,
        "last_finished_at": last_run and _instant(last_run.finished_at),
        "patterns": list(selection.patterns),
        "excludes": list(selection.excludes),
        "ignore_case": selection.ignore_case,
        "track": selection.track.value,
        "one_file_system": selection.one_file_system,
        "strategies": list(spec.strategies),
        "workers": spec.workers,
        "timeout_s": spec.timeout_s,
        "catchup": spec.catchup.value,
        "jitter_s": 0 if spec.schedule is None else spec.schedule.jitter_s,
        "created_at": _instant(job.created_at),
        "root_base64": root_base64,
        "full_every_s": spec.full_every_s,
        "retries": spec.retries,
        "retry_delay_s": spec.retry_delay_s,
        "notify": [{"event": one.event.value, "command": list(one.command)} for one in spec.notify],
    }


def modified_at(mtime_ns: int | None) -> datetime | None:
    """Give a modification time to the microsecond; None if unknown or beyond the calendar (any is allowed)."""
    if mtime_ns is None:
        return None
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return None


def exact(path: bytes) -> tuple[str, str | None]:
    """Give a path as text and, only where that text is not exactly the path, its bytes in base64."""
    try:
        return path.decode("utf-8"), None
    except UnicodeDecodeError:
        return printable(path), base64.b64encode(path).decode("ascii")


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else format_instant(instant)
