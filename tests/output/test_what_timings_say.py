"""The sentences above the plots of ``trends``."""

from datetime import UTC, datetime

import pytest
from render_examples import drawn

from runner.model.timings import Timing
from runner.output.trends import trends_view
from runner.trends.compare import Interval, Verdict
from runner.trends.job_trends import Trends
from runner.trends.report import Cause, Comparison, Event, Metric, Place
from runner.trends.steps import Step

TIMING = Timing(
    run=7, started_at=datetime(2026, 1, 1, tzinfo=UTC), environment=1, strategy="pool", position=1, workers=2,
    wall_s=1.0, startup_s=0.01, cpu_s=0.9, max_rss_bytes=1, entries=1_000, files=10,
)  # fmt: skip


def told(*, comparisons: list[Comparison], events: list[Event]) -> str:
    view = trends_view(Trends([TIMING], [], comparisons, events, [], [], Metric.WALL), 200)
    return drawn(view, width=200)


@pytest.mark.parametrize(
    ("ratio", "cause", "said"),
    [
        (6.9, Cause.SPEED, "+590% since run 7 (95 % interval +490% to +690%): each entry takes longer"),
        (0.5, Cause.SPEED, "-50% since run 7 (95 % interval -150% to +50%): each entry takes less time"),
        (1.5, Cause.TREE, "+50% since run 7 (95 % interval -50% to +150%): the tree grew"),
        (0.5, Cause.TREE, "-50% since run 7 (95 % interval -150% to +50%): the tree shrank"),
    ],
)
def test_which_way_a_step_went_is_said_of_its_cause_too(ratio: float, cause: Cause, said: str) -> None:
    step = Step(index=0, before=0, after=1, ratio=Interval(estimate=ratio, low=ratio - 1, high=ratio + 1), gain=20.0)
    event = Event(strategy="pool", metric=Metric.WALL, run=7, step=step, cause=cause)
    assert f"pool, wall time: {said}\n" in told(comparisons=[], events=[event])


def test_the_strategies_are_compared_by_how_long_they_take() -> None:
    ratio = Interval(estimate=7.4, low=7.1, high=7.7)
    slower = Comparison(
        baseline="sequential", other="pool", place=Place.WARM, runs=9, ratio=ratio, verdict=Verdict.SLOWER
    )
    said = "pool is 7.40× slower than sequential (95 % interval 7.10–7.70, cache warm).\n"
    assert said in told(comparisons=[slower], events=[])


def test_a_start_up_of_zero_is_plotted() -> None:
    timings = [TIMING._replace(strategy="sequential", startup_s=0.0), TIMING]
    view = trends_view(Trends(timings, [], [], [], [], [], Metric.STARTUP), 80)
    assert "start-up: no lasting step\n" in drawn(view)
