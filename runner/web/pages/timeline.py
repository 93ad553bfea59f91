"""A day or a week of all jobs on one time axis, and the coming fire times."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta

from runner.history import jobs, recent, retries, runs
from runner.model.errors import UsageError
from runner.model.jobs import Job
from runner.output import records
from runner.schedules import fire_times
from runner.web import tracks
from runner.web.page import Asked, Page, listed

_SPANS = {"day": 1, "week": 7}
_HOUR = timedelta(hours=1)


def timeline(asked: Asked) -> Page:
    """Show what ran and what did not, a page of jobs from the job ``after``."""
    span = asked.choice("span", tuple(_SPANS)) or "day"
    today = asked.now.astimezone().date()
    day = _parse_day(asked.text("day"), today)
    first = day - timedelta(days=day.weekday()) if span == "week" else day
    length = timedelta(days=_SPANS[span])
    axis = tracks.Axis(start=_midnight(first), end=_midnight(first + length), now=asked.now)
    name = asked.text("job")
    job = jobs.get_job(asked.view, name, removed=True) if name is not None else None
    found = [job] if job is not None else jobs.list_jobs(asked.view)
    shown, next_after = asked.choose_page(found)
    marks = recent.list_marks(asked.view, [one.job_id for one in shown], axis.start, axis.end, axis.slot)
    coming = _coming(shown, asked.now)
    values = {
        "axis": axis,
        "span": span,
        "day": day,
        "today": today,
        "earlier": first - length,
        "later": first + length,
        "last": first + length - timedelta(days=1),
        "job": job,
        "jobs": found if job is None else [job],
        "rows": tracks.draw_rows(shown, marks, axis),
        "labels": axis.labels(span),
        "busy": tracks.draw_busy_hours(marks, axis),
        "n_runs": sum(mark.runs for mark in marks if mark.status not in tracks.NOT_RUN),
        "coming": coming,
        "most_coming": max(count or 0 for _, hours in coming for count in hours),
        "short": _short,
        "sample": tracks.sample,
        "next_after": next_after,
        "all_shown": len(shown) == len(found),
    }
    return Page(template="timeline.html", values=values, json=listed(_records(asked, job, axis)))


def _records(asked: Asked, job: Job | None, axis: tracks.Axis) -> Iterator[records.Record]:
    found = runs.list_runs(asked.view, job=job, since=axis.start, until=axis.end)
    attempts = retries.find_attempts(asked.view, found, asked.now)
    for run in found:
        yield records.run_record(run, attempts.again_at.get(run.run_id))


def _parse_day(text: str | None, today: date) -> date:
    if text is None:
        return today
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"day is not a date such as {today}: {text[:40]!r}") from None
    if not 1970 < day.year < 9000:
        raise UsageError(f"there are no runs in the year {day.year}; choose another day")
    return day


def _midnight(day: date) -> datetime:
    """Return the first instant of a day in the time zone of the machine."""
    return datetime.combine(day, time()).astimezone()


def _coming(shown: Sequence[Job], now: datetime) -> list[tuple[date, list[int | None]]]:
    """Count the fire times of jobs in each hour of seven days from this hour on; None for hours that have passed."""
    start = now.replace(minute=0, second=0, microsecond=0)
    today = now.astimezone().date()
    hours = (_midnight(today + timedelta(days=7)) - start) // _HOUR
    counts: Counter[tuple[date, int]] = Counter()
    places = [(local.date(), local.hour) for local in ((start + hour * _HOUR).astimezone() for hour in range(hours))]
    for job in shown:
        if job.spec.schedule is not None and not job.spec.paused and job.removed_at is None:
            with suppress(UsageError):  # its time zone is not known on this machine
                # Without jitter, jobs with the same schedule have the same fire times.
                key = job.job_id if job.spec.schedule.jitter_s else 0
                of_job = fire_times.count_by_hour(job.spec.schedule, key, start, hours)
                for place, count in zip(places, of_job, strict=True):  # a repeated hour has one place
                    counts[place] += count
    known = set(places)
    days = [today + timedelta(days=ahead) for ahead in range(7)]
    return [(day, [counts[day, hour] if (day, hour) in known else None for hour in range(24)]) for day in days]


def _short(count: int | None) -> str:
    """Format a count in three characters."""
    return "" if count is None else str(count) if count < 1_000 else f"{count // 1_000}k"
