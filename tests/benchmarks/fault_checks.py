"""What must not be, and how it is found: waiting with a limit, and how processes end."""

import time
from collections.abc import Callable, Collection
from typing import TypeVar

T = TypeVar("T")


class Wrong(Exception):
    """Something that must not be: of what kind, which is one of the table's columns, and what, in one line."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(column, what)
        self.column = column
        self.what = what


class Hang(Wrong):
    """Something that has to happen did not happen in time."""

    def __init__(self, what: str) -> None:
        super().__init__("hangs", what)


def wait_for(ask: Callable[[], T | None], what: str, within_s: float, pause_s: float = 0.005) -> T:
    """Wait until an answer is true, and return it; raise Hang if it does not come in time."""
    deadline = time.monotonic() + within_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise Hang(f"not within {within_s:g} s: {what}")
        time.sleep(pause_s)
    return answer


def check(what: object, codes: Collection[int | None], code: int | None, messages: str, *, says: str = "") -> None:
    """Raise Wrong unless a process has ended with one of the codes; one that failed has to say why in one line."""
    failed = code not in (None, 0)
    if code not in codes or (failed and (says not in messages or "Traceback" in messages)):
        raise Wrong("exit codes", f"{what} ended with {code} and said {messages!r}")
