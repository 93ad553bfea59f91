import pytest

from runner.output.bars import parts_bar, sparkline


def test_a_sparkline_rises_with_its_values_and_leaves_gaps() -> None:
    assert "▁▂▃▄▅▆▇█" == sparkline([float(number) for number in range(8)])
    assert "▁ █" == sparkline([1.0, None, 2.0])
    assert "▁▁▁" == sparkline([5.0, 5.0, 5.0])
    assert "" == sparkline([]) == sparkline([None])


def test_a_long_series_is_drawn_by_medians_within_the_width() -> None:
    drawn = sparkline([1.0, 1.0, 9.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0], width=4)
    assert ("▁▅██", 4) == (drawn, len(drawn))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [([0, 10], "██████████"), ([5, 5], "▒▒▒▒▒█████"), ([0.001, 5], "▒█████"), ([0, 0.001], "█"), ([0, 0], "")],
)
def test_a_bar_shows_its_parts_to_scale_and_hides_none(parts: list[float], expected: str) -> None:
    assert expected == parts_bar(parts, 10, width=10)
