"""The calendar of a job: a year of days, each with the shares of what became of its fire times."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

from markupsafe import Markup

from runner.history import recent
from runner.history.database import View
from runner.model.runs import Status
from runner.web import links, svg

_DAYS, _WEEK = 371, 7
_SLOT = timedelta(hours=1)
# A day in pixels with its margin, and the room for labels.
_STEP, _SIZE, _LEFT, _TOP = 20, 17, 34, 20
# A share that is not zero is at least so high.
_LEAST = 3
_BAD = frozenset({Status.FAILED, Status.TIMED_OUT, Status.INTERRUPTED})
_NOT_RUN = frozenset({Status.MISSED, Status.SKIPPED, Status.CANCELLED})

Days = Mapping[date, Counter[Status]]


def first_day(now: datetime) -> datetime:
    """Return the midnight with which the calendar begins: that of a Monday about a year ago."""
    midnight = now.astimezone().replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    monday = midnight - timedelta(days=midnight.weekday())
    return (monday - timedelta(days=_DAYS - _WEEK)).astimezone()


def count_days(view: View, job_id: int, now: datetime) -> Days:
    """Return the number of rows of a job by local day and status."""
    since = first_day(now)
    days: dict[date, Counter[Status]] = {}
    for mark in recent.list_marks(view, [job_id], since, now + timedelta(days=1), _SLOT):
        if mark.slot >= 0:
            day = (since + mark.slot * _SLOT).astimezone().date()
            days.setdefault(day, Counter())[Status(mark.status)] += mark.runs
    return days


def draw_calendar(days: Days, now: datetime, address: str) -> Markup:
    """Draw a year of days in columns of weeks; months are links.

    Args:
        days: The counts.
        now: The instant whose day is the last.
        address: That of the list of the job's runs, with a query that can be continued.
    """
    start, today = first_day(now).date(), now.astimezone().date()
    every = [start + timedelta(days=number) for number in range((today - start).days + 1)]
    drawn = svg.drawn("".join(_draw_day(day, number, days.get(day, Counter())) for number, day in enumerate(every)))
    names = [
        svg.element("text", f"{start + timedelta(days=number):%a}", x=0, y=_TOP + number * _STEP + 13)
        for number in (0, 2, 4)
    ]
    width, height = _LEFT + _STEP * (len(every) // _WEEK + 1), _TOP + _STEP * _WEEK
    return svg.element(
        *("svg", *_months(every, address), *names, drawn),
        class_="calendar", width=width, height=height, role="group", aria_label="Days of a year", data_runs=address,
    )  # fmt: skip


def _months(every: Sequence[date], address: str) -> Iterator[Markup]:
    for number, day in enumerate(every):
        if day.day == 1 and number // _WEEK < len(every) // _WEEK - 1:
            until = (day + timedelta(days=31)).replace(day=1)
            month = svg.element("text", f"{day:%b}", x=_LEFT + number // _WEEK * _STEP, y=13)
            yield svg.element("a", month, href=f"{address}&{links.query(since=day, until=until)[1:]}")


def _draw_day(day: date, number: int, counts: Counter[Status]) -> str:
    x, y = _LEFT + number // _WEEK * _STEP, _TOP + number % _WEEK * _STEP
    total = counts.total()
    bad, partial, not_run = (
        _height(sum(counts[one] for one in kind), total) for kind in (_BAD, {Status.PARTIAL}, _NOT_RUN)
    )
    parts = (
        ("good" if total else "none", y, _SIZE),
        ("partial", y + _SIZE - bad - partial, partial),
        ("bad", y + _SIZE - bad, bad),
        ("not-run", y, not_run),
    )
    shapes = "".join(
        f'<path class="{kind}" d="M{x} {top}h{_SIZE}v{high}h-{_SIZE}z"/>' for kind, top, high in parts if high
    )
    said = ", ".join(f"{counts[one]:,} {one.value.replace('_', ' ')}" for one in Status if counts[one]) or "no runs"
    return f'<g class="day" data-day="{day}"><title>{day:%a} {day.day} {day:%b}: {said}</title>{shapes}</g>'


def _height(count: int, total: int) -> int:
    return max(_LEAST, round(_SIZE * count / total)) if count else 0
