"""Charts of characters: a sparkline, and a bar of parts."""

from collections.abc import Sequence
from statistics import median

_LEVELS = "▁▂▃▄▅▆▇█"
_PARTS = "▒█"


def sparkline(values: Sequence[float | None], width: int = 60) -> str:
    """Draw a series, lowest to highest, as one character for each value; None leaves a gap.

    Args:
        values: In the order to draw; any unit.
        width: The maximum number of characters; more values are grouped, each group drawn by its median.
    """
    group = -(-len(values) // width) or 1
    grouped = [
        [value for value in values[start : start + group] if value is not None]
        for start in range(0, len(values), group)
    ]
    points = [median(each) if each else None for each in grouped]
    known = [point for point in points if point is not None]
    if not known:
        return ""
    low, reach = min(known), (max(known) - min(known)) or 1
    return "".join(
        " " if point is None else _LEVELS[min(len(_LEVELS) - 1, int((point - low) / reach * len(_LEVELS)))]
        for point in points
    )


def parts_bar(parts: Sequence[float], whole: float, width: int = 40) -> str:
    """Draw a bar of parts of a whole, each in its own shade; a part above zero is always visible.

    Args:
        parts: At most two, in the order to draw, in the unit of *whole*.
        whole: The value of the full width; above zero.
        width: Characters of the full width.
    """
    return "".join(
        shade * max(1 if part > 0 else 0, round(part / whole * width))
        for shade, part in zip(_PARTS, parts, strict=False)
    )
