"""What a benchmark exchanges with its user: options, progress on standard error, and Markdown tables."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")

_AFTER_S = 1.0
_WIDTH = 78


def make_parser(description: str | None, **options: Any) -> argparse.ArgumentParser:
    """Make the parser of a benchmark's options.

    Args:
        description: The benchmark's own docstring.
        options: For each its default; or its type, where it has no default, in a list where it can be given repeatedly.
    """
    name = f"python -m tests.benchmarks {Path(sys.argv[0]).stem}"
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=name, description=description, formatter_class=shape)
    for option, default in options.items():
        flag = "--" + option.replace("_", "-")
        if isinstance(default, list):
            parser.add_argument(flag, type=default[0], action="append", help="can be given several times")
        elif isinstance(default, type):
            parser.add_argument(flag, type=default)
        else:
            parser.add_argument(flag, type=type(default), default=default, help="(default: %(default)s)")
    return parser


def write_head(*names: str, first: str = "---") -> None:
    """Write the head of a table, in which all columns but the first hold figures."""
    write_row(*names)
    sys.stdout.write(f"|{first}|{'--:|' * (len(names) - 1)}\n")


def write_row(*cells: object) -> None:
    """Write a row of a table as soon as it is known."""
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


@contextmanager
def reporting() -> Iterator[Callable[[str], None]]:
    """Yield a function that reports progress to a user who waits longer than a second; it is wiped away at the end."""
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
