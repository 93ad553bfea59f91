"""The first page: every job as a row."""

from runner.history import jobs, runs
from runner.output import records
from runner.schedules import fire_times
from runner.web.page import Asked, Page, listed


def overview(asked: Asked) -> Page:
    """List the jobs with their health, last runs and next fire times."""
    last = runs.list_last_runs(asked.view)
    rows = []
    for job in jobs.list_jobs(asked.view):
        schedule = job.spec.schedule
        coming = None
        if schedule is not None and not job.spec.paused:
            coming = fire_times.next_fire_time(schedule, job.job_id, asked.now)
        rows.append((job, coming, last.get(job.job_id)))
    return Page(template="overview.html", values={"rows": rows}, json=listed(records.job_record(*row) for row in rows))
