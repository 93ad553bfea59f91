"""A table that fits the terminal: it drops the columns of the lowest priority until the others have room.

Rich's own table shrinks all columns at once and takes 0.1 ms per cell; this one drops whole columns first, cuts or
folds only those that may be, and is fast enough for a hundred thousand files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from runner.output.text import harmless

_GAP = "  "


class Cell(NamedTuple):
    """The plain text of a cell, never markup, and the name of a Rich style."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column.

    Attributes:
        header: Its heading.
        value: Returns the cell of a row.
        right: Whether its cells are aligned to the right.
        width: Its minimum width in characters.
        least: The width to which it may be narrowed; None for never, such as for a number with its unit.
        fold: Whether a long cell continues below instead of being cut with an ellipsis. A column that may not be
            narrowed folds if there is no other way.
        priority: Columns of the lowest priority are dropped first, those of one priority together; 0 is never dropped.
        substitute: The column that takes its place when it is dropped.
        note: What follows the table when it is dropped.
    """

    header: str
    value: Callable[[Any], Cell]
    _: KW_ONLY
    right: bool = False
    width: int = 0
    least: int | None = None
    fold: bool = False
    priority: int = 0
    substitute: "Column | None" = None
    note: RenderableType | None = None


_Cells = dict[Column, list[Cell]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table.

    Attributes:
        rows: In the order to show.
        columns: In the order to show.
        header: Whether the headings are shown.
        split: Whether columns without room follow in tables of their own, each with the first column.
    """

    rows: Sequence[Any]
    columns: Sequence[Column]
    header: bool = True
    split: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the largest layout that fits the width."""
        cells: _Cells = {}
        layout: list[Column] = []
        for layout in self._layouts():
            for column in layout:
                if column not in cells:
                    cells[column] = [column.value(row) for row in self.rows]
            if _room_left(self._sizes(layout, cells), options.max_width) >= 0:
                break
        for number, part in enumerate(self._parts(layout, cells, options.max_width) if self.split else [layout]):
            if number:
                yield Segment("\n")
            yield from self._table(part, cells, console, options)
        for column in self.columns:
            if column.note is not None and column not in layout:
                yield column.note

    def _layouts(self) -> Iterator[list[Column]]:
        """Yield ever narrower lists of columns."""
        layout = list(self.columns)
        yield layout
        last = 0
        while later := [column.priority for column in layout if column.priority > last]:
            last = min(later)
            kept = (column if column.priority != last else column.substitute for column in layout)
            layout = [column for column in kept if column is not None]
            yield layout

    def _parts(self, layout: Sequence[Column], cells: _Cells, width: int) -> list[list[Column]]:
        """Split columns into tables that fit, each with the first column and at least one more."""
        first, *others = layout
        parts = [[first]]
        for column in others:
            if len(parts[-1]) > 1 and _room_left(self._sizes([*parts[-1], column], cells), width) < 0:
                parts.append([first])
            parts[-1].append(column)
        return parts

    def _table(
        self, columns: Sequence[Column], cells: _Cells, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        pliable = [column.least is not None for column in columns]
        widths = _widths(self._sizes(columns, cells), pliable, options.max_width)
        styles: dict[str, Style] = {}
        rows = zip(*(cells[column] for column in columns), strict=True)
        titles = (tuple(Cell(column.header, "bold") for column in columns),) if self.header else ()
        for row in (*titles, *rows):
            for cell in row:
                if cell.style not in styles:
                    styles[cell.style] = console.get_style(cell.style) if cell.style else Style.null()
            folded = [_lines(*parts, console) for parts in zip(row, columns, widths, strict=True)]
            for number in range(max(map(len, folded))):
                line = [lines[number] if number < len(lines) else "" for lines in folded]
                yield from _segments(line, columns, widths, [styles[cell.style] for cell in row])

    def _sizes(self, columns: Sequence[Column], cells: _Cells) -> list[tuple[int, int]]:
        """Return for each column the least and the full width."""
        sizes = []
        for column in columns:
            texts = [column.header] if self.header else []
            widths = (cell_len(harmless(text)) for text in (*texts, *(cell.text for cell in cells[column])))
            full = max(max(widths, default=0), column.width)
            sizes.append((full if column.least is None else min(full, column.least), full))
        return sizes


def _room_left(sizes: Sequence[tuple[int, int]], width: int) -> int:
    return width - len(_GAP) * (len(sizes) - 1) - sum(least for least, _ in sizes)


def _widths(sizes: Sequence[tuple[int, int]], pliable: Sequence[bool], width: int) -> list[int]:
    """Compute the widths: extra room goes to the first columns; without room the widest pliable ones shrink first."""
    room = _room_left(sizes, width)
    widths = []
    for least, full in sizes:
        extra = max(0, min(full - least, room))
        room -= extra
        widths.append(least + extra)
    for _ in range(-room):
        wide = [number for number, width in enumerate(widths) if width > 1]
        if not wide:
            break
        widths[max(wide, key=lambda number: (pliable[number], widths[number]))] -= 1
    return widths


def _lines(cell: Cell, column: Column, width: int, console: Console) -> list[str]:
    text = harmless(cell.text)
    if cell_len(text) <= width:
        return [text]
    if column.fold or column.least is None:
        # Rich breaks at spaces where it can, and leaves them at the ends of lines.
        return [line.plain.rstrip(" ") for line in Text(text).wrap(console, width, overflow="fold")]
    return [set_cell_size(text, width - 1) + "…"]


def _segments(
    line: Sequence[str], columns: Sequence[Column], widths: Sequence[int], styles: Sequence[Style]
) -> RenderResult:
    last = max((number for number, text in enumerate(line) if text), default=-1)
    plain = ""
    for number, (text, column, width) in enumerate(zip(line[: last + 1], columns, widths, strict=False)):
        padding = " " * (width - cell_len(text))
        before, after = (padding, "") if column.right else ("", padding if number < last else "")
        plain += (_GAP if number else "") + before
        if styles[number]:
            yield Segment(plain)
            yield Segment(text, styles[number])
            plain = after
        else:
            plain += text + after
    # Few segments make long tables quick.
    yield Segment(plain + "\n")
