import pytest
from render_examples import drawn
from rich.text import Text

from runner.output.grid import Cell, Column, Grid


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (16, ["aaaa  bbbb  cccc"]),
        (15, ["aaaa  bbbb", "gone: c"]),
        (9, ["aaaa", "gone: c"]),
        (3, ["aaa", "a", "gon", "e: ", "c"]),
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


def test_a_number_and_its_unit_are_never_cut() -> None:
    columns = {
        "name": Column(cells=[Cell("a rather long name")], least=6),
        "wall": Column(cells=[Cell("12.3 ms")], right=True),
    }
    grid = Grid(columns=columns, layouts=[tuple(columns)], header=False)
    assert drawn(grid, width=15).splitlines() == ["a rat…  12.3 ms"]
    assert drawn(grid, width=12).splitlines() == ["a …  12.3 ms"]
    assert drawn(grid, width=9).splitlines() == ["…    12.3", "       ms"]


def test_columns_without_room_follow_below_where_they_may() -> None:
    columns = {key: Column(header=key, cells=[Cell(key * 4)]) for key in "abcd"}
    grid = Grid(columns=columns, layouts=["abcd", "abc"], split=True)
    assert drawn(grid, width=22).splitlines() == ["a     b     c     d", "aaaa  bbbb  cccc  dddd"]
    assert drawn(grid, width=16).splitlines() == ["a     b     c", "aaaa  bbbb  cccc"]
    assert drawn(grid, width=15).splitlines() == ["a     b", "aaaa  bbbb", "", "a     c", "aaaa  cccc"]
    assert drawn(grid, width=10).splitlines()[3:] == ["a     c", "aaaa  cccc"]
    assert all(len(line) <= 7 for line in drawn(grid, width=7).splitlines())
