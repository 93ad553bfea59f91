"""What is said about timings whose truth is known."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from runner.model.timings import Timing
from runner.trends.compare import Verdict
from runner.trends.piecewise import MOST_POINTS
from runner.trends.report import (
    Cause,
    Metric,
    Place,
    compare,
    find_drifts,
    find_events,
    find_regressions,
    newest_series,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def timings(
    runs: int,
    *,
    sequential: Callable[[int], float] = lambda _: 0.5,
    pool: Callable[[int], float] = lambda _: 0.3,
    entries: Callable[[int], int] = lambda _: 1_000,
    every_s: int = 3_600,
    warm: float = 1.0,
    noise: float = 0.05,
    seed: int = 0,
) -> list[Timing]:
    """Return the timings of runs whose strategies take turns at going first; going second saves a part of the time."""
    random = Random(seed)  # noqa: S311  chance, not secrets
    made = []
    for run in range(runs):
        order = ["sequential", "pool"] if run % 2 else ["pool", "sequential"]
        for position, strategy in enumerate(order, start=1):
            wall_s = {"sequential": sequential, "pool": pool}[strategy](run) * math.exp(random.gauss(0, noise))
            made.append(
                Timing(
                    run=run + 1, started_at=START + timedelta(seconds=every_s * run), environment=1, strategy=strategy,
                    position=position, workers=2 if strategy == "pool" else 1,
                    wall_s=wall_s * (warm if position > 1 else 1.0), startup_s=0.01,
                    cpu_s=0.9 if strategy == "pool" else 0.6, max_rss_bytes=1, entries=entries(run), files=10,
                )
            )  # fmt: skip
    return made


def test_strategies_are_compared_at_each_place_by_itself() -> None:
    # Cold, the pool is slower; warm, it is faster. Mixed, neither would show.
    made = [
        timing._replace(wall_s=timing.wall_s * (2.0 if timing.strategy == "pool" and timing.position == 1 else 1.0))
        for timing in timings(60)
    ]
    cold, warm = compare(made)
    assert (Place.AS_FOUND, Verdict.SLOWER, 30) == (cold.place, cold.verdict, cold.runs)
    assert (Place.WARM, Verdict.FASTER, 30) == (warm.place, warm.verdict, warm.runs)
    assert warm.ratio is not None
    assert warm.ratio.low < 0.6 < warm.ratio.high
    assert warm.speed_up == pytest.approx(1 / warm.ratio.estimate)
    assert warm.efficiency == pytest.approx(1 / warm.ratio.estimate / 2)
    assert warm.cpu_inflation == pytest.approx(1.5)


def test_too_few_runs_say_so_and_undecided_ones_how_many_more() -> None:
    few = compare(timings(4))
    assert all(one.verdict is None and one.message and "runs of each" in one.message for one in few)
    undecided = compare(timings(12, pool=lambda _: 0.54, noise=0.2))[0]
    assert Verdict.UNDECIDED is undecided.verdict
    assert undecided.further_runs


def test_another_environment_is_never_mixed_in() -> None:
    old = [timing._replace(environment=7, wall_s=99.0) for timing in timings(20)]
    assert [] == newest_series([])
    assert timings(20) == newest_series(old + timings(20))


@pytest.mark.parametrize("runs", [120, 2 * MOST_POINTS + 40])
def test_a_step_is_found_and_its_cause_told(runs: int) -> None:
    at = runs * 2 // 3
    slower = find_events(timings(runs, sequential=lambda run: 0.5 if run < at else 0.65))
    assert ["sequential"] == [event.strategy for event in slower]
    assert abs(slower[0].run - at) <= 3 + runs // MOST_POINTS
    assert Cause.SPEED is slower[0].cause
    grown = find_events(
        timings(
            runs,
            sequential=lambda run: 0.5 if run < at else 0.65,
            pool=lambda run: 0.3 if run < at else 0.39,
            entries=lambda run: 1_000 if run < at else 1_300,
        )
    )
    assert {("sequential", Cause.TREE), ("pool", Cause.TREE)} == {(event.strategy, event.cause) for event in grown}


def test_taking_turns_at_going_first_is_no_step() -> None:
    assert [] == find_events(timings(120, warm=0.5))


def test_a_regression_is_measured_against_the_best_level_and_ends_with_recovery() -> None:
    def wall(run: int) -> float:
        return 0.5 if run < 40 else 0.8 if run < 80 else 0.64

    [found] = find_regressions(timings(120, sequential=wall), over=0.2)
    assert "sequential" == found.strategy
    assert found.rise == pytest.approx(0.28, abs=0.04)
    assert abs(found.since_run - 81) <= 3
    assert [] == find_regressions(timings(120, sequential=wall), over=0.4)
    recovered = timings(120, sequential=lambda run: wall(run) if run < 80 else 0.5)
    assert [] == find_regressions(recovered, over=0.2)


def test_an_accepted_level_is_what_later_ones_are_measured_against() -> None:
    def wall(run: int) -> float:
        return 0.5 if run < 40 else 0.7 if run < 80 else 1.0

    before = timings(80, sequential=wall)
    assert ["sequential"] == [one.strategy for one in find_regressions(before, over=0.2)]
    assert [] == find_regressions(before, over=0.2, accepted={"sequential": 80})
    [later] = find_regressions(timings(120, sequential=wall), over=0.2, accepted={"sequential": 80})
    assert later.rise == pytest.approx(1.0 / 0.7 - 1, abs=0.05)


def test_a_drift_is_told_per_day_since_the_last_step() -> None:
    made = timings(24 * 14, sequential=lambda run: 0.5 * 1.01 ** (run / 24), noise=0.02)
    drifts = {drift.strategy: drift.per_day for drift in find_drifts(made, [])}
    sequential, pool = drifts["sequential"], drifts["pool"]
    assert sequential is not None
    assert pool is not None
    assert 0.008 < sequential.low <= 0.01 <= sequential.high < 0.012
    assert pool.low < 0 < pool.high
    few = find_drifts(timings(10), [])
    assert all(drift.per_day is None and drift.message for drift in few)


def test_other_metrics_are_followed_too() -> None:
    made = [timing._replace(max_rss_bytes=10**7 if timing.run < 60 else 2 * 10**7) for timing in timings(120)]
    events = find_events(made, Metric.MEMORY)
    assert {"sequential", "pool"} == {event.strategy for event in events}
    assert all(event.cause is None for event in events)
