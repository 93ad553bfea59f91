from operator import itemgetter

import pytest
from render_examples import drawn

from runner.output.cells import Cell, Column
from runner.output.grid import Grid


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (16, ["aaaa  bbbb  cccc"]),
        (15, ["aaaa  bbbb", " aaaa  cccc"]),
        (9, ["aaaa  b", " aaaa  cc", "       cc"]),
    ],
)
def test_a_grid_drops_the_lowest_priority_first(width: int, lines: list[str]) -> None:
    short = Column("", lambda _: Cell("b"), priority=3)
    columns = [
        Column("", lambda _: Cell("aaaa")),
        Column("", lambda _: Cell("bbbb"), priority=2, substitute=short),
        Column("", lambda _: Cell("cccc"), priority=1, below=True),
    ]
    assert drawn(Grid(rows=[1], columns=columns, header=False), width=width).splitlines() == lines


def test_a_grid_narrows_only_columns_that_may_be_narrowed() -> None:
    columns = [
        Column("", lambda _: Cell("fixed")),
        Column("", lambda _: Cell("cut me off"), least=4),
        Column("", lambda _: Cell("fold me over"), least=4, fold=True),
    ]
    grid = Grid(rows=[1], columns=columns, header=False)
    assert drawn(grid, width=40).splitlines() == ["fixed  cut me off  fold me over"]
    assert drawn(grid, width=27).splitlines() == ["fixed  cut me off  fold me", " " * 19 + "over"]
    assert drawn(grid, width=17).splitlines() == ["fixed  cut…  fold", " " * 13 + "me", " " * 13 + "over"]


def test_a_number_and_its_unit_are_never_cut() -> None:
    columns = [
        Column("", lambda _: Cell("a rather long name"), least=6),
        Column("", lambda _: Cell("12.3 ms"), right=True),
    ]
    grid = Grid(rows=[1], columns=columns, header=False)
    assert drawn(grid, width=15).splitlines() == ["a rat…  12.3 ms"]
    assert drawn(grid, width=12).splitlines() == ["a …  12.3 ms"]
    assert drawn(grid, width=9).splitlines() == ["…    12.3", "       ms"]


def test_columns_without_room_follow_below_where_they_may() -> None:
    columns = [Column(key, itemgetter(key), priority=int(key == "d")) for key in "abcd"]
    grid = Grid(rows=[{key: Cell(key * 4) for key in "abcd"}], columns=columns, split=True)
    assert drawn(grid, width=22).splitlines() == ["a     b     c     d", "aaaa  bbbb  cccc  dddd"]
    assert drawn(grid, width=16).splitlines() == ["a     b     c", "aaaa  bbbb  cccc"]
    assert drawn(grid, width=15).splitlines() == ["a     b", "aaaa  bbbb", "", "a     c", "aaaa  cccc"]
    assert drawn(grid, width=10).splitlines()[3:] == ["a     c", "aaaa  cccc"]
    assert all(len(line) <= 7 for line in drawn(grid, width=7).splitlines())
