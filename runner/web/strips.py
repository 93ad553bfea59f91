"""Small pictures in the rows of tables: the last runs of a job as bars, and its timings as lines."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median

from markupsafe import Markup, escape

from runner.history.recent import LastRun
from runner.model.runs import Execution, Run, Status
from runner.model.units import format_seconds
from runner.web import svg

# The number of runs in a strip, and its size in pixels.
BARS = 60
_STEP, _HEIGHT = 4, 28
_LINE_STEP, _LINE_HEIGHT = 2, 28
_FAILED = frozenset({Status.FAILED, Status.TIMED_OUT, Status.INTERRUPTED})
# What did not run is an empty box at the bottom.
_BOXED = frozenset({Status.MISSED, Status.SKIPPED})


def strip(job: str, runs: Sequence[LastRun]) -> Markup:
    """Draw the last runs of a job, the newest at the right, each a link to its page.

    A bar of half the height took as long as usual, a full one at least twice as long. Failed runs have a mark above.
    """
    usual_s = median([run.wall_s for run in runs if run.wall_s] or [1.0])
    # Written directly, and in few steps of height and digits that compress well: a page has thousands of them.
    bars = "".join(
        f'<a href="runs/{run.run}" class="{run.status}"><title>{_describe(run)}</title>'
        f'<path d="{_bar(run, _STEP * (BARS - len(runs) + place) + 2, usual_s)}"/></a>'
        for place, run in enumerate(runs)
    )
    label = escape(f"The last {len(runs)} runs of {job}")
    size = f'width="{BARS * _STEP}" height="{_HEIGHT}" viewBox="0 0 {BARS * _STEP} {_HEIGHT}"'
    return svg.drawn(f'<svg class="strip" {size} role="group" aria-label="{label}">{bars}</svg>')


def _describe(run: LastRun) -> str:
    took = "" if run.wall_s is None else f" {format_seconds(float(f'{run.wall_s:.2g}'))}"
    return f"{run.status.replace('_', ' ')}{took}, {run.began_at.astimezone():%d %b %H:%M}"


def _bar(run: LastRun, x: int, usual_s: float) -> str:
    if run.status in _BOXED:
        return f"M{x - 1} 16.5h2v10h-2z"
    height = max(4, 2 * round(6 * min(2.0, (run.wall_s or 0.0) / usual_s)))
    return f"M{x} 28v-{height}" + (f"M{x} 0v4" if run.status in _FAILED else "")


def lines(runs: Sequence[LastRun], walls: Mapping[str, Mapping[int, float]]) -> Markup | str:
    """Draw the wall times of each strategy in the last runs, on one scale; nothing for fewer than two runs."""
    every = [wall_s for own in walls.values() for wall_s in own.values()]
    if len(runs) < 2 or not every:
        return ""
    # Small differences look small, and single long runs don't flatten the rest.
    usual_s = median(every)
    low, high = min(*every, 0.7 * usual_s), max(1.3 * usual_s, min(max(every), 3 * usual_s))
    drawn = [
        svg.element(
            "path", d=_path(list(map(own.get, (run.run for run in runs))), low, high), class_=f"line {strategy}"
        )
        for strategy, own in walls.items()
    ]
    width = _LINE_STEP * (BARS - 1) + 2
    label = f"Wall times of {' and '.join(walls)}, {format_seconds(min(every))} to {format_seconds(max(every))}"
    return svg.picture(width, _LINE_HEIGHT, label, drawn, class_="lines")


def _path(values: Sequence[float | None], low: float, high: float) -> str:
    """Return a line through the values that are known, the newest at the right; values above are cut."""
    scale = (_LINE_HEIGHT - 4) / 2 / ((high - low) or 1.0)
    first = 1 + _LINE_STEP * (BARS - len(values))
    points = [
        (first + _LINE_STEP * place, _LINE_HEIGHT - 2 - 2 * round(scale * (min(value, high) - low)))
        for place, value in enumerate(values)
        if value is not None
    ]
    steps = (f"l{x - last_x} {y - last_y}" for (last_x, last_y), (x, y) in pairwise(points))
    return f"M{points[0][0]} {points[0][1]}h0{''.join(steps)}"


def phases(executions: Iterable[Execution]) -> list[tuple[Execution, Markup]]:
    """Draw the start-up and the scanning of each finished execution, on one scale."""
    timed = [one for one in executions if one.wall_s]
    longest = max((one.wall_s or 0.0 for one in timed), default=0.0)
    return [
        (
            one,
            _bars(
                {
                    "startup": (one.startup_s or 0.0),
                    f"scanning {one.strategy}": (one.wall_s or 0.0) - (one.startup_s or 0.0),
                },
                longest,
            ),
        )
        for one in timed
    ]


def course(run: Run) -> Markup | None:
    """Draw how long a run waited after its fire time, and how long it took; None if that was not measured."""
    if (took_s := run.wall_s) is None:
        return None
    late_s = run.lateness_s or 0.0
    return _bars({"waiting": late_s, f"took {run.status}": took_s}, late_s + took_s)


def _bars(parts: Mapping[str, float], whole: float) -> Markup:
    """Draw durations one after the other, of which any above zero is visible, as wide as the page allows."""
    drawn, x = [], 0.0
    for name, duration_s in parts.items():
        width = max(3.0, 1_000 * duration_s / whole) if duration_s > 0 else 0.0
        drawn.append(svg.element("rect", x=x, width=width, height=12, class_=name))
        x += width
    box = {"viewBox": f"0 0 {max(1_000.0, x):.1f} 12", "preserveAspectRatio": "none", "aria_hidden": "true"}
    return svg.element("svg", *drawn, class_="phases", width="100%", height=12, **box)
