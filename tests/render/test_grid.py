import pytest
from render_examples import drawn
from rich.text import Text

from runner.render.grid import Cell, Column, Grid


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (16, ["aaaa  bbbb  cccc"]),
        (15, ["aaaa  bbbb", "gone: c"]),
        (9, ["aaaa", "gone: c"]),
        (3, ["aa…", "gon", "e: ", "c"]),
    ],
)
def test_a_grid_shows_the_fullest_layout_that_fits(width: int, lines: list[str]) -> None:
    columns = {key: Column(cells=[Cell(key * 4)]) for key in "abc"}
    grid = Grid(columns=columns, layouts=["abc", "ab", "a"], header=False, instead={"c": Text("gone: c")})
    assert drawn(grid, width=width).splitlines() == lines


def test_a_grid_narrows_only_columns_that_may_be_narrowed() -> None:
    columns = {
        "fixed": Column(cells=[Cell("fixed")]),
        "cut": Column(cells=[Cell("cut me off")], least=4),
        "folded": Column(cells=[Cell("fold me over")], least=4, fold=True),
    }
    grid = Grid(columns=columns, layouts=[tuple(columns)], header=False)
    assert drawn(grid, width=40).splitlines() == ["fixed  cut me off  fold me over"]
    assert drawn(grid, width=27).splitlines() == ["fixed  cut me off  fold me", " " * 19 + "over"]
    assert drawn(grid, width=17).splitlines() == ["fixed  cut…  fold", " " * 13 + "me", " " * 13 + "over"]
