"""The rows of the timeline: what a job did on a time axis, one mark for what begins within the same pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from markupsafe import Markup, escape

from runner.history.recent import Mark
from runner.model.jobs import Job
from runner.model.runs import Status
from runner.model.units import format_count, format_instant, format_seconds
from runner.web import links, svg

NOT_RUN = frozenset({Status.MISSED, Status.SKIPPED})
_WIDTH, _HEIGHT, _BUSY_HEIGHT = 960, 20, 40
# A mark of this width is at least two pixels wide where the axis is narrowest.
_LEAST = 3
# With more marks, those of a job and status are one shape without links: else the page is too large to be usable.
_MOST_LINKED = 4_000
_HOUR = timedelta(hours=1)
# What is drawn above others.
_ORDER: list[str] = [Status.MISSED, Status.SKIPPED, Status.SUCCEEDED, Status.CANCELLED, Status.PARTIAL]
# The upper edge and the height of marks; failures are taller.
_SHAPES: dict[str, tuple[int, int]] = {
    Status.SUCCEEDED: (5, 10),
    Status.PARTIAL: (9, 8),
    Status.CANCELLED: (8, 4),
    Status.RUNNING: (3, 14),
    Status.MISSED: (6, 8),
    Status.SKIPPED: (6, 8),
}
_TALL = (2, 16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """The time from *start* to *end*, both aware and local; *now* may lie outside."""

    start: datetime
    end: datetime
    now: datetime

    @property
    def slot(self) -> timedelta:
        """The time that one unit of the axis shows."""
        return (self.end.astimezone(UTC) - self.start.astimezone(UTC)) / _WIDTH

    def place(self, at_s: float) -> float:
        """Return where an instant, in seconds since 1970, is drawn; instants outside are drawn at the ends."""
        share = (at_s - self.start.timestamp()) / (self.end.timestamp() - self.start.timestamp())
        return _WIDTH * min(1.0, max(0.0, share))

    def hours(self) -> list[datetime]:
        """Return the local beginnings of its hours."""
        start = self.start.astimezone(UTC)
        return [(start + hour * _HOUR).astimezone() for hour in range((self.end.astimezone(UTC) - start) // _HOUR)]

    def labels(self, span: str) -> list[str]:
        """Return the text at each hour, or each day."""
        if span == "week":
            return [f"{hour:%a %d}" for hour in self.hours() if hour.hour == 0 and not hour.fold]
        return ["" if hour.hour % 3 else f"{hour:%H}" for hour in self.hours()]


def draw_rows(jobs: Sequence[Job], marks: Sequence[Mark], axis: Axis) -> list[tuple[Job, Markup]]:
    """Return the jobs with what they did; *marks* are ordered by job."""
    by_job = {job_id: list(own) for job_id, own in groupby(marks, key=lambda mark: mark.job)}
    draw = _link if len(marks) <= _MOST_LINKED else _shape
    grid = _grid(axis)
    return [(job, _track(_HEIGHT, grid, draw(by_job.get(job.job_id, []), axis))) for job in jobs]


def _track(height: int, *drawn: str) -> Markup:
    box = f'viewBox="0 0 {_WIDTH} {height}" height="{height}" preserveAspectRatio="none"'
    return svg.drawn(f'<svg class="track" {box}>{"".join(drawn)}</svg>')


def _grid(axis: Axis) -> str:
    """Draw a line at every third hour, or every day, and one at the present."""
    hours = axis.hours()[1:]
    every = 3 if len(hours) < 30 else 24
    lines = "".join(f"M{axis.place(at.timestamp()):.0f} 0v99" for at in hours if at.hour % every == 0)
    is_now = axis.start <= axis.now < axis.end
    now = f'<path class="present" d="M{axis.place(axis.now.timestamp()):.1f} 0v99"/>' if is_now else ""
    return f'<path class="grid" d="{lines}"/>{now}'


def _ordered(marks: Sequence[Mark]) -> list[Mark]:
    return sorted(marks, key=lambda mark: _ORDER.index(mark.status) if mark.status in _ORDER else len(_ORDER))


def _rectangle(mark: Mark, axis: Axis) -> str:
    ended_s = axis.now.timestamp() if mark.ended_s is None else mark.ended_s
    x = axis.place(mark.began_s)
    width = max(_LEAST, axis.place(ended_s) - x)
    x = min(x, _WIDTH - width)
    top, height = _SHAPES.get(mark.status, _TALL)
    return f"M{x:.0f} {top}h{width:.0f}v{height}h-{width:.0f}z"


def sample(status: Status) -> str:
    """Return the shape of a mark for the legend."""
    top, height = _SHAPES.get(status, _TALL)
    return f"M2 {top}h10v{height}h-10z"


def _link(marks: Sequence[Mark], axis: Axis) -> str:
    """Draw each mark with its link and its tooltip."""
    return "".join(
        f'<a href="{escape(_address(mark, axis))}" class="{mark.status}"><title>{_describe(mark)}</title>'
        f'<path d="{_rectangle(mark, axis)}"/></a>'
        for mark in _ordered(marks)
    )


def _shape(marks: Sequence[Mark], axis: Axis) -> str:
    return "".join(
        f'<path class="{status}" d="{"".join(_rectangle(mark, axis) for mark in own)}"/>'
        for status, own in groupby(_ordered(marks), key=lambda mark: mark.status)
    )


def _address(mark: Mark, axis: Axis) -> str:
    if mark.runs == 1:
        return f"runs/{mark.first_run}"
    since = axis.start.astimezone(UTC) + mark.slot * axis.slot
    until = since + axis.slot
    return f"runs{links.query(job=mark.job, since=format_instant(since), until=format_instant(until))}"


def _describe(mark: Mark) -> str:
    began = f"{datetime.fromtimestamp(mark.began_s).astimezone():%d %b %H:%M}"
    status = mark.status.replace("_", " ")
    if mark.status in NOT_RUN:
        times = max(mark.missed, mark.runs)
        return f"{format_count(times, 'fire time')} {status}, from {began}" if times > 1 else f"{status}, {began}"
    if mark.runs > 1:
        return f"{mark.runs:,} runs {status}, {began}"
    took = "" if mark.ended_s is None else f" {format_seconds(mark.ended_s - mark.began_s)}"
    return f"{status}{took}, {began}"


def draw_busy_hours(marks: Sequence[Mark], axis: Axis) -> tuple[Markup, str]:
    """Draw how many runs began in each hour; return also the busiest in words, empty if nothing ran."""
    hours = axis.hours()
    counts = [0] * len(hours)
    for mark in marks:
        hour = int(mark.began_s - axis.start.timestamp()) // 3_600
        if mark.status not in NOT_RUN and 0 <= hour < len(hours):
            counts[hour] += mark.runs
    most = max(counts, default=0)
    if not most:
        return Markup(), ""
    width, scale = _WIDTH / len(hours), _BUSY_HEIGHT / most
    drawn = [
        svg.element("rect", x=hour * width + 1, width=width - 2, y=_BUSY_HEIGHT - count * scale, height=count * scale)
        for hour, count in enumerate(counts)
        if count
    ]
    busiest = hours[counts.index(most)]
    return _track(_BUSY_HEIGHT, *drawn), f"busiest: {busiest:%a %H:%M} with {format_count(most, 'run')}"
