"""TOML: read by tomllib into tables that name the key path in each error, and written so that it diffs well."""

import json
import re
import reprlib
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, BinaryIO

from runner.model.errors import UsageError
from runner.model.units import format_bytes, format_instant

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LARGEST_BYTES = 16 << 20
_WIDEST_LIST = 100  # characters


class _TomlRepr(reprlib.Repr):
    """Formats a value, shortened where it is long, as TOML writes it."""

    def repr_bool(self, value: bool, _level: int) -> str:  # noqa: FBT001  reprlib's signature
        return str(value).lower()

    def repr_int(self, value: int, _level: int) -> str:
        # Python refuses to print integers of more than 4300 digits, which TOML can hold in hexadecimal.
        return "a huge number" if abs(value) >= 2**63 else str(value)

    def repr_datetime(self, value: datetime, _level: int) -> str:
        # Not in UTC, where it may lie outside the calendar.
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
    """Read a TOML file to its end; UsageError if it is too large, as a device."""
    data = file.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise UsageError(f"{name} has more than {format_bytes(_LARGEST_BYTES)}; name a file of TOML")
    return data


def parse_toml(name: str, data: bytes) -> dict[str, Any]:
    """Parse a TOML document; UsageError, beginning with *name* and a colon, if it is none."""
    try:
        # Some editors begin a file with a byte order mark.
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}: line {line} is not UTF-8; save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:  # also from endless numbers and endless nesting
        raise UsageError(f"{name}: this is not TOML: {str(error).partition(';')[0]}; correct it there") from None


class Table:
    """A table whose keys are taken one by one; keys that are left over are unknown.

    Error messages begin with *where*, the file and a colon, and name the key by the *path* that leads to the table.
    """

    def __init__(self, where: str, entries: Mapping[str, Any], path: tuple[str, ...] = ()) -> None:
        self.where = where
        self.entries = dict(entries)
        self.path = path
        self._known: dict[str, None] = {}

    def error(self, message: object, *keys: str, after: str = ": ") -> UsageError:
        """Return an error that names the file and the path of a key, as in ``jobs.nightly.every``, or of the table."""
        path = ".".join(map(write_key, (*self.path, *keys)))
        return UsageError(f"{self.where}{path}{after if path else ''}{message}")

    def wrong(self, key: str, expected: str, value: object) -> UsageError:
        """Return the error for a value that is not what is expected."""
        return self.error(f"must be {expected}, not {_TomlRepr().repr(value)}", key, after=" ")

    def need(self, key: str) -> Any:
        """Return and remove the value of a required key."""
        if key not in self.entries:
            raise self.error(f"the key {key} is missing; add it")
        return self.take(key)

    def take(self, key: str, default: Any = None) -> Any:
        """Return and remove the value of an optional key."""
        self._known[key] = None
        return self.entries.pop(key, default)

    def finish(self) -> None:
        """Refuse the keys that have not been taken."""
        for key in self.entries:
            near = get_close_matches(key, self._known, 1)
            cure = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(self._known)}"
            raise self.error(f"unknown key {key!r}; {cure}")


def read_text(value: object) -> str:
    """Return a text, or decode one that is not UTF-8, written ``{base64 = "…"}``, to surrogates as ``os.fsdecode``.

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
    """Write a text, number, boolean, instant, list or small table; bytes that are not UTF-8 as ``{base64 = "…"}``.

    A list that is wider than a line gets a line for each value, so that a change is one line of a diff.
    """
    match value:
        case bool() | int():
            return str(value).lower()
        case datetime():
            return format_instant(value)
        case str() if is_utf8(value):
            return _escape(json.dumps(value, ensure_ascii=False))  # JSON's escapes are TOML's
        case str():
            return f'{{base64 = "{b64encode(value.encode("utf-8", "surrogateescape")).decode()}"}}'
        case list() | tuple():
            parts = [write_value(part) for part in value]
            line = f"[{', '.join(parts)}]"
            return line if len(line) <= _WIDEST_LIST else "".join(["[\n", *(f"    {part},\n" for part in parts), "]"])
        case dict():
            return f"{{{', '.join(f'{write_key(key)} = {write_value(part)}' for key, part in value.items())}}}"
        case _:
            raise TypeError(f"{value!r} has no place in TOML")


def write_key(key: str) -> str:
    """Write a key, quoted if necessary."""
    return key if _BARE_KEY.fullmatch(key) else write_value(key)


def write_comment(text: str) -> str:
    """Write a comment that no text can end or hide."""
    return f"# {_escape(text.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace'))}"


def is_utf8(text: str) -> bool:
    """Return whether a text has no surrogates, which stand for undecodable bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(text: str) -> str:
    """Escape invisible and bidirectional characters, which could deceive a reader or drive a terminal."""

    def escape(character: str) -> str:
        if character.isprintable():
            return character
        return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"

    return "".join(map(escape, text))
