"""Scales, ticks, and long series reduced to what a screen can show."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from runner.web import svg

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.31, 0.58, [0.35, 0.4, 0.45, 0.5, 0.55]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)
def test_linear_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert expected == pytest.approx(svg.nice_ticks(svg.Scale(low, high, 0, 100)))


def test_logarithmic_ticks_are_decades() -> None:
    assert [0.01, 0.1, 1, 10] == pytest.approx(svg.nice_ticks(svg.Scale(0.005, 20, 0, 100, logarithmic=True)))


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [1e-9, 1e9], [-5.0, -5.0]])
@pytest.mark.parametrize("logarithmic", [True, False])
def test_a_fitted_scale_shows_all_values(values: list[float], *, logarithmic: bool) -> None:
    scale = svg.fit_scale(values, 100, 0, logarithmic=logarithmic)
    assert all(0 <= scale(value) <= 100 for value in values)
    assert len(svg.nice_ticks(scale)) <= 8


@pytest.mark.parametrize(
    ("span", "first", "count"),
    [
        (timedelta(minutes=7), "11:53", 8),
        (timedelta(days=6), "Nov 24", 6),
        (timedelta(days=200), "Jun 2026", 6),
        (timedelta(days=3_000), "Jan 2020", 4),
    ],
)
def test_ticks_of_time_are_round(span: timedelta, first: str, count: int) -> None:
    ticks = svg.time_ticks(NOW - span, NOW)
    assert (first, count) == (ticks[0][1], len(ticks))


def test_a_day_of_a_clock_change_begins_at_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        ticks = svg.time_ticks(datetime(2026, 3, 27, 12, tzinfo=UTC), datetime(2026, 4, 1, 12, tzinfo=UTC))
    time.tzset()
    assert ["23:00", "23:00", "22:00", "22:00", "22:00"] == [f"{at.astimezone(UTC):%H:%M}" for at, _ in ticks]


def test_a_column_of_pixels_keeps_its_extremes() -> None:
    points = [(number / 100, float(number % 50)) for number in range(1_000)]
    reduced = svg.thin(points)
    assert list(range(11)) == [column for column, _, _ in reduced]
    assert (5, 0.0, 49.0) == reduced[5]


def test_text_is_escaped() -> None:
    drawn = svg.plot("a <b>", [], [(0, "<i>")], [(0, '"&')], names=[(1, "<script>", 'x" onload="')])
    assert "<b>" not in drawn
    assert "<script>" not in drawn
    assert 'class="name x&#34; onload=&#34;"' in drawn
