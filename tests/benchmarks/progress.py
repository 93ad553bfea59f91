"""How far a long benchmark has come, on standard error."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


def followed(items: Iterable[_T], told: str, total: int) -> Iterator[_T]:
    """Hand the items on, and tell once a second how many are done; the line is wiped at the end."""
    told_at = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() > told_at + 1:
            told_at = time.monotonic()
            sys.stderr.write(f"\r{told}: {number} of {total}\x1b[K")
            sys.stderr.flush()
        yield item
    sys.stderr.write("\r\x1b[K")
