"""The one place where a Rich console is made."""

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Wider than any line runner writes, so that nothing is cut on its way into a pipe or a file.
_UNLIMITED_WIDTH = 1_000_000


def make_console(*, stderr: bool = False) -> "Console":
    """Make the console for tables (stdout) or for messages and progress (stderr).

    Colour appears only on a terminal and never with ``NO_COLOR``. The width is the terminal's; elsewhere it is that of
    ``COLUMNS`` for tables, and unlimited otherwise. No text is read as markup, emoji code or something to highlight.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        # Where the locale's encoding lacks a character, show its escape instead of failing on someone's file name.
        stream.reconfigure(errors="backslashreplace")
    bounded = stream.isatty() or (not stderr and os.environ.get("COLUMNS", "").isdigit())
    wide = None if bounded else _UNLIMITED_WIDTH
    return Console(stderr=stderr, width=wide, highlight=False, markup=False, emoji=False)
