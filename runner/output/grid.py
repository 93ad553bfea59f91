"""A table that fits: the most telling of several sets of columns that the terminal has room for.

Rich's own table shrinks all columns at once and takes 0.1 ms for each cell; this one drops whole columns first, cuts
or folds only those that may be, and is quick enough for a list of a hundred thousand files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from runner.output.text import harmless

_GAP = "  "


class Cell(NamedTuple):
    """What stands in one place of a table: plain text, never markup, and the name of a Rich style."""

    text: str
    style: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column.

    Attributes:
        cells: From the top.
        header: Its title.
        right: Whether its cells are aligned to the right.
        width: It is at least so wide, characters.
        least: It may be narrowed to this many characters where room is short; None if never, as nothing of a number or
            its unit may be missing.
        fold: Whether a cell too long continues below instead of being cut with an ellipsis; in a column that may not be
            narrowed it does in any case, where nothing else is left to be done.
    """

    cells: Sequence[Cell]
    header: str = ""
    right: bool = False
    width: int = 0
    least: int | None = None
    fold: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table of columns, all of one length.

    Attributes:
        columns: By key.
        layouts: Sets of keys, the fullest first; the first that fits is shown, else the last one, narrowed.
        header: Whether the titles are shown.
        instead: What follows the table where the layout shown lacks that column.
        split: Whether columns that have no room in the last layout either follow in tables of their own, each behind
            the first column.
    """

    columns: Mapping[str, Column]
    layouts: Sequence[Sequence[str]]
    header: bool = True
    instead: Mapping[str, RenderableType] = field(default_factory=dict)
    split: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the fullest layout that fits the width."""
        fitting = (keys for keys in self.layouts if _room_left(self._natural(keys), options.max_width) >= 0)
        layout = next(fitting, self.layouts[-1])
        for number, part in enumerate(self._parts(layout, options.max_width) if self.split else [layout]):
            if number:
                yield Segment("\n")
            yield from self._table(part, console, options)
        for key, renderable in self.instead.items():
            if key not in layout:
                yield renderable

    def _parts(self, layout: Sequence[str], width: int) -> list[Sequence[str]]:
        """Share columns out to tables that fit, each with at least one of them behind the first column."""
        first, *others = layout
        parts: list[list[str]] = [[first]]
        for key in others:
            if len(parts[-1]) > 1 and _room_left(self._natural([*parts[-1], key]), width) < 0:
                parts.append([first])
            parts[-1].append(key)
        return list(parts)

    def _table(self, layout: Sequence[str], console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [self.columns[key] for key in layout]
        pliable = [column.least is not None for column in columns]
        widths = _widths(self._natural(layout), pliable, options.max_width)
        styles: dict[str, Style] = {}
        rows = zip(*(column.cells for column in columns), strict=True)
        titles = (tuple(Cell(column.header, "bold") for column in columns),) if self.header else ()
        for row in (*titles, *rows):
            for cell in row:
                if cell.style not in styles:
                    styles[cell.style] = console.get_style(cell.style) if cell.style else Style.null()
            folded = [_lines(*parts, console) for parts in zip(row, columns, widths, strict=True)]
            for number in range(max(map(len, folded))):
                line = [lines[number] if number < len(lines) else "" for lines in folded]
                yield from _segments(line, columns, widths, [styles[cell.style] for cell in row])

    def _natural(self, keys: Sequence[str]) -> list[tuple[int, int]]:
        """Give for each column the least and the full width."""
        sizes = []
        for key in keys:
            column = self.columns[key]
            texts = [column.header] if self.header else []
            full = max(
                (cell_len(harmless(text)) for text in (*texts, *(cell.text for cell in column.cells))), default=0
            )
            full = max(full, column.width)
            sizes.append((full if column.least is None else min(full, column.least), full))
        return sizes


def _room_left(sizes: Sequence[tuple[int, int]], width: int) -> int:
    return width - len(_GAP) * (len(sizes) - 1) - sum(least for least, _ in sizes)


def _widths(sizes: Sequence[tuple[int, int]], pliable: Sequence[bool], width: int) -> list[int]:
    """Share the room out, the first columns first; where it does not suffice, narrow the widest, pliable ones first."""
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
