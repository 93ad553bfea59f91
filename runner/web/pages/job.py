"""One job."""

from collections import Counter
from datetime import datetime, timedelta

from runner.history import daemons, retries, runs, timings
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.model.runs import Status
from runner.output import records, tables
from runner.output.explain import Explanation, explain_job
from runner.schedules import fire_times
from runner.web import calendar, links, plots
from runner.web.page import Asked, Page, document

_ROWS, _FIRE_TIMES, _COUNTS = 20, 5, 10_000
_YEAR = timedelta(days=365)


def job(asked: Asked) -> Page:
    """Show a job: a year of days, its schedule, its options, its last runs and the size of its tree."""
    found = asked.job()
    view, now = asked.view, asked.now
    coming, problem = _list_fire_times(found, now)
    alive = daemons.is_any_alive(view, now)
    last = runs.list_runs(view, job=found, limit=_ROWS)
    days = calendar.count_days(view, found.job_id, now)
    values = {
        "job": found,
        "sentences": list(explain_job(Explanation(job=found, fires=coming[0] if coming else None, alive=alive))),
        "coming": coming,
        "problem": problem,
        "describe": fire_times.describe,
        "runs": last,
        "strategies": tables.strategies_of(last),
        "execution_of": tables.execution_of,
        "attempts": retries.find_attempts(view, last, now),
        "calendar": calendar.draw_calendar(days, now, f"../runs{links.query(job=found.job_id)}"),
        "counts": _sum(days),
        "files": plots.files_chart(timings.list_counts(view, found.job_id, since=now - _YEAR, last=_COUNTS)),
    }
    next_at = coming[0].at if coming else None
    return Page(
        template="job.html",
        values=values,
        json=document(lambda: records.job_record(found, next_at, runs.list_last_runs(view).get(found.job_id))),
    )


def _list_fire_times(found: Job, now: datetime) -> tuple[list[fire_times.FireTime], str | None]:
    """List the next fire times of a job, or return why there are none."""
    schedule = found.spec.schedule
    if schedule is None or found.spec.paused or found.removed_at is not None:
        return [], None
    try:
        return fire_times.list_fire_times(schedule, found.job_id, now, _FIRE_TIMES), None
    except UsageError as error:
        return [], str(error)


def _sum(days: calendar.Days) -> list[tuple[Status, int]]:
    total = sum(days.values(), Counter[Status]())
    return [(status, total[status]) for status in Status if total[status]]
