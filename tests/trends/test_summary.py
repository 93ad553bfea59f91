from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from runner.model.timings import Timing
from runner.trends.piecewise import Rising
from runner.trends.report import Metric
from runner.trends.summary import summarise


def series(*walls: float) -> list[Timing]:
    """Return the timings of one strategy, with a noise of 2 %."""
    random = Random(1)  # noqa: S311  chance, not secrets
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Timing(
            run=run, started_at=start + timedelta(hours=run), environment=1, strategy="pool", position=1, workers=2,
            wall_s=wall * random.lognormvariate(0, 0.02), startup_s=0.01, cpu_s=0.9, max_rss_bytes=1, entries=1_000,
            files=10,
        )
        for run, wall in enumerate(walls, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("walls", "level", "change", "since"),
    [
        ((1.0,) * 20 + (1.5,) * 20, 1.5, 0.5, 21),
        ((1.5,) * 20 + (1.0,) * 20, 1.0, -1 / 3, 21),
        ((1.0,) * 40, 1.0, None, None),
        ((1.0, 1.0, 3.0), 1.0, None, None),
    ],
)
def test_a_summary_has_the_last_level_and_its_change(
    walls: tuple[float, ...], level: float, change: float | None, since: int | None
) -> None:
    (found,) = summarise(series(*walls), Metric.WALL)
    assert (len(walls), since, change and Rising.STEP) == (found.runs, found.since_run, found.shape)
    assert level == pytest.approx(found.level, rel=0.05)
    assert change == (None if found.change is None else pytest.approx(found.change, rel=0.1))
    assert found.verdict is None


def test_no_timings_have_no_summary() -> None:
    assert [] == summarise([], Metric.WALL)
