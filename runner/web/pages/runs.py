"""The runs, one run, and what did not run."""

from collections.abc import Sequence

from runner.history import contents, jobs, notifications, retries, time_range
from runner.history import runs as stored_runs
from runner.model.errors import UsageError
from runner.model.runs import Run, Status
from runner.output import records, tables
from runner.web.page import Asked, Page, document, listed

_ROWS = 100
_NOT_RUN = (Status.MISSED, Status.SKIPPED)


def runs(asked: Asked) -> Page:
    """List runs, newest first, a page from the run ``before``."""
    return _list(asked, "runs.html", tuple(Status))


def missed(asked: Asked) -> Page:
    """List what did not run, with the reasons."""
    return _list(asked, "missed.html", _NOT_RUN)


def _list(asked: Asked, template: str, statuses: Sequence[Status]) -> Page:
    name = asked.text("job")
    job = jobs.get_job(asked.view, name, removed=True) if name is not None else None
    status = asked.choice("status", statuses)
    before = asked.number("before")
    since, until = time_range.parse_time_range(asked.text("since"), asked.text("until"), asked.now)
    wanted = [Status(status)] if status is not None else [] if len(statuses) == len(Status) else list(statuses)
    limit = asked.number("limit") or _ROWS
    if limit > 10 * _ROWS:
        raise UsageError(f"a page lists at most {10 * _ROWS} runs; follow the link to the older ones")
    found = stored_runs.list_runs(
        asked.view, job=job, statuses=wanted, since=since, until=until, before=before, limit=limit + 1
    )
    more, found = len(found) > limit, found[:limit]
    attempts = retries.find_attempts(asked.view, found, asked.now)
    values = {
        "runs": found,
        "job": job,
        "jobs": jobs.list_jobs(asked.view),
        "status": status,
        "statuses": statuses,
        "strategies": tables.strategies_of(found),
        "execution_of": tables.execution_of,
        "attempts": attempts,
        "older": found[-1].run_id if more else None,
    }
    rows = (records.run_record(run, attempts.again_at.get(run.run_id)) for run in found)
    return Page(template=template, values=values, json=listed(rows))


def run(asked: Asked) -> Page:
    """Show one run whole."""
    text = asked.parameters["run"]
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{text[:40]!r} is not the number of a run")
    found: Run = stored_runs.get_run(asked.view, int(text[:20]))
    attempts = retries.find_attempts(asked.view, [found], asked.now)
    changes = contents.list_changes(asked.view, found.job_id, found.run_id - 1, found.run_id)
    problems = contents.list_problems(asked.view, found)
    differences = stored_runs.list_differences(asked.view, found)
    sent = notifications.list_notifications(asked.view, found)
    retry_at = attempts.again_at.get(found.run_id)
    values = {
        "run": found,
        "changes": changes,
        "problems": problems,
        "differences": differences,
        "notifications": sent,
        "attempts": attempts,
        "retry_at": retry_at,
        "execution_of": tables.execution_of,
    }
    return Page(
        template="run.html",
        values=values,
        json=document(lambda: records.show_record(found, changes, problems, differences, sent, retry_at)),
    )
