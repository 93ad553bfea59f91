"""What a scan is asked for, as light as what carries it out.

A trial imports no dataclasses, enums, regular expressions or typing: together they take four times as long to import
as the interpreter to start, and as much CPU time as scanning a hundred thousand files. A running daemon pays that for
every execution, so the modules on the trial's side use plain classes, and names for types are imported for the type
checker alone.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Selecting(Protocol):
        """Anything that says what to find, such as :class:`~runner.model.jobs.Selection`, whose meanings these are."""

        @property
        def patterns(self) -> tuple[str, ...]:
            """Shell patterns on names."""

        @property
        def excludes(self) -> tuple[str, ...]:
            """Shell patterns on what is left out."""

        @property
        def ignore_case(self) -> bool:
            """Whether case is ignored."""

        @property
        def track(self) -> str:
            """``names`` or ``stat``."""

        @property
        def one_file_system(self) -> bool:
            """Whether other file systems are left out."""


class Query:
    """A selection on its way into a trial.

    Args:
        selection: Where its values are taken from.
    """

    __slots__ = ("excludes", "ignore_case", "one_file_system", "patterns", "track")

    def __init__(self, selection: Selecting) -> None:
        self.patterns = tuple(selection.patterns)
        self.excludes = tuple(selection.excludes)
        self.ignore_case = bool(selection.ignore_case)
        self.track = "".join(selection.track)  # text, not a member of an enum
        self.one_file_system = bool(selection.one_file_system)
