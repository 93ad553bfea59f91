"""TOML, read strictly, so that whatever is wrong is told by its place, and written so that it diffs well.

The standard library reads TOML and does not write it. Writers on the package index leave invisible and bidirectional
characters as they are, which a terminal must never be given, so the few kinds of values needed are written here.
"""

import re
import reprlib
import tomllib
from ast import literal_eval
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from difflib import get_close_matches
from functools import cache
from typing import Any, BinaryIO

from runner.model.errors import UsageError
from runner.model.units import format_bytes, format_instant

_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_TWICE = re.compile(r"Cannot declare (\(.+\)) twice")
_OVERWRITTEN = "Cannot overwrite a value"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LARGEST_BYTES = 16 << 20
_WIDEST_LIST = 100  # characters
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class _Shown(reprlib.Repr):
    """Shows a value, cut where it is long, as TOML has it and not as Python does."""

    def repr_bool(self, value: bool, _level: int) -> str:  # noqa: FBT001  reprlib's way
        return str(value).lower()

    def repr_int(self, value: int, _level: int) -> str:
        # Python refuses to print an integer beyond 4300 digits, which TOML can hold in hexadecimal.
        return "a huge number" if abs(value) >= 2**63 else str(value)

    def repr_datetime(self, value: datetime, _level: int) -> str:
        # As it is written: in UTC it may lie outside the calendar.
        return value.isoformat().replace("+00:00", "Z")

    def repr_date(self, value: date, _level: int) -> str:
        return value.isoformat()

    repr_time = repr_date

    def repr_dict(self, value: Mapping[str, Any], level: int) -> str:
        if level <= 0:
            return "{…}"
        parts = [f"{write_key(key)} = {self.repr1(part, level - 1)}" for key, part in value.items()]
        return f"{{{', '.join([*parts[: self.maxdict], *(['…'] if len(parts) > self.maxdict else [])])}}}"


def read_bounded(file: BinaryIO, name: str) -> bytes:
    """Read a file that is to hold TOML to its end, unless it has none, as a device.

    Raises:
        UsageError: If it is too large.
    """
    data = file.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise UsageError(f"{name} has more than {format_bytes(_LARGEST_BYTES)}; name a file of TOML")
    return data


class Table:
    """A table whose keys are taken out one by one, each checked; what is left over is unknown.

    Attributes:
        where: The file and the table, as error messages begin.
        entries: What has not been taken yet.
    """

    def __init__(self, where: str, entries: Mapping[str, Any]) -> None:
        self.where = where
        self.entries = dict(entries)
        self._known: dict[str, None] = {}

    def place(self, key: str | None = None) -> str:  # noqa: ARG002  whoever knows lines overrides this
        """Tell where a key stands, or the table itself, as error messages begin."""
        return self.where

    def wrong(self, key: str, expected: str, value: object) -> UsageError:
        """Make the error for a value that is not what is expected."""
        return UsageError(f"{self.place(key)}{key} must be {expected}, not {_Shown().repr(value)}")

    def need(self, key: str) -> Any:
        """Take the value of a key that has to be there."""
        if key not in self.entries:
            raise UsageError(f"{self.place()}the key {key} is missing; add it")
        return self.take(key)

    def take(self, key: str, default: Any = None) -> Any:
        """Take the value of a key that may be there."""
        self._known[key] = None
        return self.entries.pop(key, default)

    def finish(self) -> None:
        """Refuse what has not been taken."""
        for key in self.entries:
            near = get_close_matches(key, self._known, 1)
            cure = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(self._known)}"
            raise UsageError(f"{self.place(key)}unknown key {key!r}; {cure}")


class NumberedTable(Table):
    """A table whose errors begin with the file and the number of the line.

    Args:
        document: The document it stands in.
        path: The keys that lead to it.
        entries: What it holds.
    """

    def __init__(self, document: "Document", path: tuple[str, ...], entries: Mapping[str, Any]) -> None:
        super().__init__(f"{document.name}: ", entries)
        self.document = document
        self.path = path

    def place(self, key: str | None = None) -> str:
        """Tell the line of a key, or of the table itself."""
        return self.document.place((*self.path, *([] if key is None else [key])))


class Document:
    """A TOML file that has been read.

    Args:
        name: How messages name it.
        data: What is in it.

    Attributes:
        name: The same.
        entries: What it says.

    Raises:
        UsageError: If it is not TOML; begins with the name and the line, ``jobs.toml:12: ``.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        try:
            # Some editors begin a file with a mark.
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise UsageError(f"{name}:{line}: it is not UTF-8; save the file as UTF-8") from None
        self._lines = text.split("\n")
        self._parse = cache(self._parse_beginning)
        self.entries = self._read(text)

    def place(self, path: Sequence[str]) -> str:
        """Tell where something stands, as an error message begins: ``jobs.toml:12: ``; without a path, the file."""
        return f"{self.name}:{self._line_of(path)}: " if path else f"{self.name}: "

    def _line_of(self, path: Sequence[str]) -> int:
        """Give the line on which the statement begins that first says something about a key.

        tomllib does not tell where it found a value. But what is left of a file that is cut off behind a statement is
        TOML again, and cut off within one it is not; so the lines that begin to hold the key are found by halving.
        """

        def holds(count: int) -> bool:
            ends = range(count, len(self._lines) + 1)
            return _holds(next(known for end in ends if (known := self._parse(end)) is not None), path)

        return bisect_left(range(len(self._lines) + 1), x=True, key=holds)

    def _parse_beginning(self, count: int) -> dict[str, Any] | None:
        try:
            return tomllib.loads("\n".join(self._lines[:count]))
        except tomllib.TOMLDecodeError:
            return None

    def _read(self, text: str) -> dict[str, Any]:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            message = str(error)
            place = _PLACE.search(message)
            line = int(place[1]) if place and place[1] else text.rstrip("\n").count("\n") + 1
            what = _PLACE.sub("", message)
            if what == _OVERWRITTEN:
                line, key = self._find_overwritten(line)
                what = f"the key {key!r} has a value already"
            elif twice := _TWICE.fullmatch(what):
                what = f"[{'.'.join(map(write_key, literal_eval(twice[1])))}] stands there twice"
            raise UsageError(f"{self.name}:{line}: this is not TOML: {what}; correct it there") from None
        except (ValueError, RecursionError) as error:  # an endless number, endless nesting

            def fails(count: int) -> bool:
                try:
                    self._parse(count)
                except (ValueError, RecursionError):
                    return True
                return False

            line = bisect_left(range(len(self._lines)), x=True, key=fails)
            what = str(error).partition(";")[0]
            raise UsageError(f"{self.name}:{line}: this can't be read: {what}; correct it there") from None

    def _find_overwritten(self, end: int) -> tuple[int, str]:
        """Find where a statement begins that gives a key a second value and ends on a line, and what the key is."""
        # What stands before it is TOML, and so it is with each of the comments and empty lines that lead to it.
        before = next(count for count in reversed(range(end)) if self._parse(count) is not None)
        return before + 1, _key_of(self._lines[before])


def _key_of(statement: str) -> str:
    """Give the key that the first line of a statement names, as it would be written; the line itself at the worst."""
    for ending in ("=", "]"):
        for place in (number for number, character in enumerate(statement) if character == ending):
            beginning = statement[: place + 1] + ("0" if ending == "=" else "")
            try:
                inner: Any = tomllib.loads(beginning)
            except tomllib.TOMLDecodeError:
                continue
            path = []
            while isinstance(inner, dict) and inner:
                key, inner = next(iter(inner.items()))
                path.append(write_key(key))
            return ".".join(path)
    return statement.strip()


def _holds(entries: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(entries, dict) or key not in entries:
            return False
        entries = entries[key]
    return True


def read_text(value: object) -> str:
    """Read a text, or the bytes of one that is not UTF-8, written ``{base64 = "…"}``.

    Returns:
        The text; undecodable bytes are surrogates, as ``os.fsdecode`` leaves them.

    Raises:
        TypeError, ValueError: If it is neither.
    """
    match value:
        case str():
            return value
        case {"base64": str(encoded), **others} if not others:
            return b64decode(encoded, validate=True).decode("utf-8", "surrogateescape")
        case _:
            raise TypeError


def write_value(value: object) -> str:
    """Write a text, number, truth, instant, list or small table; a text that is not UTF-8 as :func:`read_text` reads.

    Lists that don't fit on a line get one for each value, so that a change is one line of a diff.
    """
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case datetime():
            return format_instant(value)
        case str():
            return _write_text(value)
        case list() | tuple():
            parts = [write_value(part) for part in value]
            line = f"[{', '.join(parts)}]"
            return line if len(line) <= _WIDEST_LIST else "".join(["[\n", *(f"    {part},\n" for part in parts), "]"])
        case dict():
            return f"{{{', '.join(f'{write_key(key)} = {write_value(part)}' for key, part in value.items())}}}"
        case _:
            raise TypeError(f"{value!r} has no place in TOML")


def write_key(key: str) -> str:
    """Write a key, in quotes where it needs them."""
    return key if _BARE_KEY.fullmatch(key) else _write_text(key)


def write_comment(text: str) -> str:
    """Write a comment that no text can end or hide."""
    return f"# {''.join(map(_escape, text.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')))}"


def _write_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        encoded = b64encode(text.encode("utf-8", "surrogateescape")).decode()
        return f'{{base64 = "{encoded}"}}'
    return f'"{"".join(_SHORT_ESCAPES.get(character) or _escape(character) for character in text)}"'


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
