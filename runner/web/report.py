"""The report: one HTML file with everything about some jobs, which needs no server and makes no request."""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files

from markupsafe import Markup

from runner.history import recent, runs
from runner.history.database import View
from runner.model.jobs import Job
from runner.model.runs import Run, Status
from runner.model.secrets import scrub
from runner.model.timings import Counts
from runner.output import tables
from runner.output.trends import count_sentence
from runner.schedules import fire_times
from runner.web import rendering
from runner.web.trends import TrendsShown, show_trends

_LAST_RUNS, _NOT_RUN = 30, 20
# Changes are summed by day in a shorter time, else by month.
_SHORT = timedelta(days=62)
_STYLES, _SCRIPTS = ("base.css", "plot.css", "report.css"), ("plot.js",)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_UNSUCCESSFUL = tuple(status for status in Status if status not in {Status.SUCCEEDED, Status.RUNNING})


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """The changes of a tree in a day or a month.

    Attributes:
        name: The day or month.
        runs: The number of saved runs.
        added: Files, in all of them.
        removed: Likewise.
        modified: Likewise.
        files: Their number in the last run.
    """

    name: str
    runs: int
    added: int
    removed: int
    modified: int
    files: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """The part of a report about one job."""

    job: Job
    schedule: str
    counts: Sequence[tuple[Status, int]]
    shown: TrendsShown
    files: str | None
    periods: Sequence[Period]
    unsuccessful: Sequence[Run]
    runs: Sequence[Run]
    strategies: Sequence[str]


def render_report(view: View, jobs: Sequence[Job], now: datetime, since: datetime | None = None) -> str:
    """Return a report as HTML, the same text for the same state of the database and the same instant.

    Args:
        view: The history.
        jobs: What it is about, in this order.
        now: When it is made.
        since: Only runs from this instant on; None for all.
    """
    style, script = _join(_STYLES), _join(_SCRIPTS)
    counts = recent.count_statuses(view, [job.job_id for job in jobs], since or _BEGINNING)
    return rendering.render(
        "report.html",
        sections=[_make_section(view, job, since, counts.get(job.job_id, Counter())) for job in jobs],
        execution_of=tables.execution_of,
        since=since,
        now=now,
        database=scrub(str(view.location)),
        style=style,
        script=script,
        policy="; ".join(
            (
                "default-src 'none'",
                f"style-src {_hash(style)}",
                f"script-src {_hash(script)}",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
    )


def _join(names: Sequence[str]) -> Markup:
    parts = ((files("runner.web") / "static" / name).read_text("utf-8") for name in names)
    return Markup("").join(map(Markup, parts))


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _make_section(view: View, job: Job, since: datetime | None, counts: Counter[Status]) -> Section:
    shown = show_trends(view, job.job_id, since=since)
    last = runs.list_runs(view, job=job, since=since, limit=_LAST_RUNS)
    saved = shown.trends.counts
    return Section(
        job=job,
        schedule=fire_times.describe(job.spec.schedule) if job.spec.schedule else "by hand",
        counts=[(status, counts[status]) for status in Status if counts[status]],
        shown=shown,
        files=count_sentence(saved) if saved else None,
        periods=_sum_changes(saved),
        unsuccessful=runs.list_runs(view, job=job, since=since, statuses=_UNSUCCESSFUL, limit=_NOT_RUN),
        runs=last,
        strategies=tables.strategies_of(last),
    )


def _sum_changes(counts: Sequence[Counts]) -> list[Period]:
    """Return the changes by day or month, newest first; without those of the first run, which found everything new."""
    if len(counts) < 2:
        return []
    pattern = "%Y-%m-%d" if counts[-1].started_at - counts[0].started_at < _SHORT else "%Y-%m"
    by_period: dict[str, list[Counts]] = {}
    for one in counts[1:]:
        by_period.setdefault(f"{one.started_at.astimezone():{pattern}}", []).append(one)
    return [
        Period(
            name=name,
            runs=len(own),
            added=sum(one.added for one in own),
            removed=sum(one.removed for one in own),
            modified=sum(one.modified for one in own),
            files=own[-1].files,
        )
        for name, own in reversed(by_period.items())
    ]
