"""The runs, one run, and what did not run."""

import shlex
from collections.abc import Iterator, Sequence
from itertools import islice

from runner.history import contents, jobs, notifications, recent, retries, time_range
from runner.history import runs as stored_runs
from runner.model.errors import UsageError
from runner.model.runs import Change, Run, Status
from runner.output import cells, records, show, tables
from runner.web import links, strips
from runner.web.page import Asked, Page, document, listed

_ROWS = 100
# How many changes, problems and differences a page shows, and how many changes are read and sorted for it.
_ITEMS, _MOST_SORTED = 200, 5_000
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
        "before": before,
        "older": found[-1].run_id if more else None,
        "filtered": lambda older=None: links.query(
            job=job and job.job_id, status=status, since=asked.text("since"), until=asked.text("until"), before=older
        ),
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
    problems = contents.list_problems(asked.view, found)
    differences = stored_runs.list_differences(asked.view, found)
    sent = notifications.list_notifications(asked.view, found)
    retry_at = attempts.again_at.get(found.run_id)
    # The counts of a first run of a large tree say enough.
    n_changes = sum(count or 0 for count in (found.added, found.removed, found.modified))
    job = jobs.get_job_numbered(asked.view, found.job_id)
    saved_before = stored_runs.find_saved_before(asked.view, job, found)
    values = {
        "run": found,
        "beside": recent.find_neighbours(asked.view, found),
        "saved_before": saved_before and saved_before.run_id,
        "course": strips.course(found),
        "phases": strips.phases(found.executions),
        "cold_note": tables.cold_note(found.executions),
        "lines": show.execution_lines(found),
        "environment": list(show.environment_lines(found.environment)) if found.environment else (),
        "n_changes": n_changes,
        "changes": list(islice(_list_changes(asked, found), _ITEMS)) if n_changes <= _MOST_SORTED else (),
        "problems": problems[:_ITEMS],
        "differences": differences[:_ITEMS],
        "notifications": [(one, show.sent(one), shlex.join(one.command)) for one in sent],
        "attempt": cells.attempt(found, attempts),
        "retry_at": retry_at,
        "cell_of": cells.to_cell,
    }
    return Page(
        template="run.html",
        values=values,
        json=document(
            lambda: records.show_record(found, _list_changes(asked, found), problems, differences, sent, retry_at)
        ),
    )


def _list_changes(asked: Asked, found: Run) -> Iterator[Change]:
    if found.files is None:  # perhaps it is being saved
        return iter(())
    return contents.list_changes(asked.view, found.job_id, found.run_id - 1, found.run_id)
