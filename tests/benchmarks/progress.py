"""A line on standard error for a user who waits longer than a second."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")

_AFTER_S = 1.0
_WIDTH = 78


@contextmanager
def reporting() -> Iterator[Callable[[str], None]]:
    """Yield a function that reports how far it has come; what it said is wiped away at the end."""
    began = time.monotonic()
    told = False

    def tell(text: str) -> None:
        nonlocal told
        if time.monotonic() - began > _AFTER_S:
            sys.stderr.write(f"\r{text:<{_WIDTH}}")
            told = True

    try:
        yield tell
    finally:
        if told:
            sys.stderr.write(f"\r{'':<{_WIDTH}}\r")


def followed(items: Iterable[_T], told: str, total: int) -> Iterator[_T]:
    """Yield the items, and report how many are done."""
    with reporting() as tell:
        for number, item in enumerate(items):
            tell(f"{told}: {number} of {total}")
            yield item
