"""What a walk has read, in a form that crosses process borders cheaply."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # The fields of a Listing as a plain tuple, which marshal can carry.
    Row: TypeAlias = tuple[bytes, bytes, bytes, int, int, int, int, int]

TYPE_CODE = "q"  # array: signed 64-bit

# Stands for a size or time that could not be read; no file has either.
UNKNOWN = -(2**63)


class Part:
    """What was read of a tree.

    Attributes:
        rows: The fields of a :class:`~runner.scan.snapshot.Listing` for each folder read.
        problems: Path relative to the root, error number and text of what could not be read.
        rest: Paths of the folders that were left for later because the budget was spent.
    """

    __slots__ = ("problems", "rest", "rows")

    def __init__(self, rest: list[str] | None = None) -> None:
        self.rows: list[Row] = []
        self.problems: list[tuple[bytes, int, str]] = []
        self.rest: list[str] = [] if rest is None else rest


def clamp(time_ns: int) -> int:
    """Bring a time within what is stored: file systems keep years that nanoseconds in 64 bits do not reach."""
    return time_ns if UNKNOWN < time_ns < -UNKNOWN else UNKNOWN + 1 if time_ns < 0 else -UNKNOWN - 1
