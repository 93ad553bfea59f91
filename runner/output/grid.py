"""A table that fits the terminal: it drops the columns of the lowest priority until the others have room.

Rich's own table shrinks all columns at once and takes 0.1 ms per cell; this one drops whole columns first, cuts or
folds only those that may be, and is fast enough for a hundred thousand files.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from runner.output import cells
from runner.output.cells import Cell, Column
from runner.output.text import harmless

_GAP = "  "


class _Filled(NamedTuple):
    """A column with its cells, the heading first, and its least and full width."""

    column: Column
    cells: list[Cell]
    least: int
    full: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table."""

    rows: Sequence[Any]
    columns: Sequence[Column]
    header: bool = True  # whether the headings are shown
    split: bool = False  # whether columns without room follow in tables of their own, each with the first column
    empty: str | None = None  # what is shown instead of a table without rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the largest layout that fits the width."""
        if not self.rows and self.empty is not None:
            yield Text(self.empty, style="dim")
            return
        fill = cache(self._fill)
        layout: list[_Filled] = []
        for columns in self._layouts():
            layout = list(map(fill, columns))
            if _room_left(layout, options.max_width) >= 0:
                break
        for number, part in enumerate(_parts(layout, options.max_width) if self.split else [layout]):
            if number:
                yield Segment("\n")
            yield from _draw(part, console, options.max_width)
        shown = {one.column for one in layout}
        for column in self.columns:
            if column.below and column not in shown:
                first = self.columns[0]
                names = (f"{first.header} {first.cell(row).text}" for row in self.rows)
                texts = (column.cell(row) for row in self.rows)
                yield key_values((name, text) for name, text in zip(names, texts, strict=True) if text.text)

    def _layouts(self) -> Iterator[list[Column]]:
        """Yield ever narrower lists of columns."""
        layout = list(self.columns)
        yield layout
        substitutes = (column.substitute for column in self.columns)
        for priority in sorted({column.priority for column in (*layout, *substitutes) if column is not None} - {0}):
            kept = (column if column.priority != priority else column.substitute for column in layout)
            layout = [column for column in kept if column is not None]
            yield layout

    def _fill(self, column: Column) -> _Filled:
        cells = [Cell(column.header, "bold")] if self.header else []
        cells += map(column.cell, self.rows)
        cells = [cell if cell.text.isprintable() else Cell(harmless(cell.text), cell.style) for cell in cells]
        full = max((cell_len(cell.text) for cell in cells), default=0)
        full = max(full, column.width)
        return _Filled(column, cells, full if column.least is None else min(full, column.least), full)


def key_values(pairs: Iterable[tuple[str, Any]]) -> Grid:
    """Render names and values, one pair per line; long values continue below."""
    columns = [
        Column("", lambda pair: Cell(pair[0], "dim")),
        Column("", lambda pair: cells.to_cell(pair[1]), least=20, fold=True),
    ]
    return Grid(rows=list(pairs), columns=columns, header=False)


def titled(title: str, *views: RenderableType) -> list[RenderableType]:
    """Return views below a title."""
    return [Text(f"\n{title}", style="bold"), *views]


def _room_left(layout: Sequence[_Filled], width: int) -> int:
    return width - len(_GAP) * (len(layout) - 1) - sum(one.least for one in layout)


def _parts(layout: Sequence[_Filled], width: int) -> list[list[_Filled]]:
    """Split columns into tables that fit, each with the first column and at least one more."""
    first, *others = layout
    parts = [[first]]
    for one in others:
        if len(parts[-1]) > 1 and _room_left([*parts[-1], one], width) < 0:
            parts.append([first])
        parts[-1].append(one)
    return parts


def _widths(layout: Sequence[_Filled], width: int) -> list[int]:
    """Compute the widths: extra room goes to the first columns; without room the widest pliable ones shrink first."""
    room = _room_left(layout, width)
    widths = []
    for one in layout:
        extra = max(0, min(one.full - one.least, room))
        room -= extra
        widths.append(one.least + extra)
    for _ in range(-room):
        wide = [number for number, width in enumerate(widths) if width > 1]
        if not wide:
            break
        widths[max(wide, key=lambda number: (layout[number].column.least is not None, widths[number]))] -= 1
    return widths


def _draw(layout: Sequence[_Filled], console: Console, width: int) -> RenderResult:
    widths = _widths(layout, width)
    for row in zip(*(one.cells for one in layout), strict=True):
        folded = [_lines(cell, one.column, room, console) for cell, one, room in zip(row, layout, widths, strict=True)]
        for number in range(max(map(len, folded))):
            line = [
                Cell(lines[number] if number < len(lines) else "", cell.style)
                for lines, cell in zip(folded, row, strict=True)
            ]
            yield from _segments(line, layout, widths, console)


def _lines(cell: Cell, column: Column, width: int, console: Console) -> list[str]:
    if cell_len(cell.text) <= width:
        return [cell.text]
    if column.fold or column.least is None:
        # Rich breaks at spaces where it can, and leaves them at the ends of lines.
        return [line.plain.rstrip(" ") for line in Text(cell.text).wrap(console, width, overflow="fold")]
    return [set_cell_size(cell.text, width - 1) + "…"]


def _segments(
    line: Sequence[Cell], layout: Sequence[_Filled], widths: Sequence[int], console: Console
) -> Iterator[Segment]:
    last = max((number for number, cell in enumerate(line) if cell.text), default=-1)
    plain = ""
    for number, (cell, one, width) in enumerate(zip(line[: last + 1], layout, widths, strict=False)):
        padding = " " * (width - cell_len(cell.text))
        before, after = (padding, "") if one.column.right else ("", padding if number < last else "")
        plain += (_GAP if number else "") + before
        if cell.style:
            yield Segment(plain)
            yield Segment(cell.text, console.get_style(cell.style))
            plain = after
        else:
            plain += cell.text + after
    # Few segments make long tables quick.
    yield Segment(plain + "\n")
