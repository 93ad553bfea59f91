from runner.output.tables import sparkline


def test_a_sparkline_rises_with_its_values_and_leaves_gaps() -> None:
    assert "▁▂▃▄▅▆▇█" == sparkline([float(number) for number in range(8)])
    assert "▁ █" == sparkline([1.0, None, 2.0])
    assert "▁▁▁" == sparkline([5.0, 5.0, 5.0])
    assert ("", " ") == (sparkline([]), sparkline([None]))


def test_a_long_series_is_drawn_by_medians_within_the_width() -> None:
    drawn = sparkline([1.0, 1.0, 9.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0], width=4)
    assert ("▁▅██", 4) == (drawn, len(drawn))
