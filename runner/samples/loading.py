"""Strict loading of recipes from TOML: each error names the file and the key."""

import tomllib
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from runner.model.bundled import bundled
from runner.model.errors import UsageError, reason_of
from runner.model.toml import Table, read_bounded
from runner.samples.recipe import (
    MOST_FOLDERS,
    NUMBERED,
    PLACEHOLDER,
    Kind,
    Level,
    Recipe,
    count_directories,
    draw_counts,
)

# Leaves room below the 255 bytes of every common file system for numbers longer than their place.
_LONGEST_NAME_BYTES = 240
_MOST_FILES = 10_000_000  # in one directory
_MOST_LINES = 100_000
_MOST_SHARE = 10_000
# Times that every file system can keep, 32-bit ones included.
_FIRST_INSTANT = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_INSTANT = datetime(2038, 1, 1, tzinfo=UTC)


def list_recipes() -> list[str]:
    """List the names of the bundled recipes, in alphabetical order."""
    return sorted(path.stem for path in bundled("data").glob("*.toml"))


def load_recipe(name_or_path: str) -> Recipe:
    """Load a recipe.

    Args:
        name_or_path: Name of a bundled recipe, or path of a file; a file with such a name needs its ``./``.

    Returns:
        The recipe, with its directories and files counted.

    Raises:
        UsageError: If there is none of that name, the file can't be read, or a key is unknown, missing or wrong.
    """
    names = list_recipes()
    if name_or_path in names:
        return _read(bundled("data") / f"{name_or_path}.toml")
    path = Path(name_or_path)
    if "/" in name_or_path or path.suffix == ".toml" or path.is_file():
        return _read(path)
    raise UsageError(f"there is no recipe {name_or_path!r}; choose {', '.join(names)} or give the path of a .toml file")


def _read(path: Path) -> Recipe:
    try:
        with path.open("rb") as file:
            entries = tomllib.loads(read_bounded(file, f"the recipe {str(path)!r}").decode())
    except OSError as error:
        raise UsageError(f"cannot read the recipe {str(path)!r}: {reason_of(error)}; check its path") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the recipe {str(path)!r} is not TOML: {error}; correct it there") from error
    return _recipe(path.stem, _Table(f"recipe {str(path)!r}: ", entries))


class _Table(Table):
    """A table of a recipe; each method returns the checked value of a key."""

    def whole(self, key: str, least: int, most: int, default: int | None = None) -> int:
        value = self.need(key) if default is None else self.take(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(key, f"a whole number from {least} to {most}", value)
        return value

    def bounds(self, key: str, most: int) -> tuple[int, int]:
        value = self.need(key)
        pair = value if isinstance(value, list) else [value, value]
        if len(pair) != 2 or any(type(part) is not int for part in pair) or not 0 <= pair[0] <= pair[1] <= most:
            raise self.wrong(key, f"a whole number from 0 to {most} or two such in order, [least, most]", value)
        return pair[0], pair[1]

    def name(self, *, with_number: bool = True) -> str:
        value = self.need("name")
        if not isinstance(value, str) or value in {"", ".", ".."} or any(sign in value for sign in "/\0"):
            raise self.wrong("name", "a file name", value)
        if len(value.encode()) > _LONGEST_NAME_BYTES:
            raise self.wrong("name", f"at most {_LONGEST_NAME_BYTES} bytes long", value)
        if with_number and len(NUMBERED.findall(value)) != 1:
            raise self.wrong("name", "a name with one place for a number, such as 'page-###.md'", value)
        return value

    def text(self, key: str) -> str:
        value = self.take(key, "")
        if not isinstance(value, str):
            raise self.wrong(key, "text", value)
        for placeholder in PLACEHOLDER.finditer(value):
            if placeholder[1] not in {"number", "word"}:
                raise self.wrong(key, "text in which every $ begins $word or $number", placeholder[0])
        return value

    def tables(self, key: str, *, required: bool = True) -> list["_Table"]:
        value = self.need(key) if required else self.take(key, [])
        if not isinstance(value, list) or any(not isinstance(part, dict) for part in value) or (required and not value):
            raise self.wrong(key, f"written as [[{key}]] tables", value)
        return [_Table(f"{self.where}[[{key}]] number {n}: ", part) for n, part in enumerate(value, start=1)]


def _recipe(name: str, table: _Table) -> Recipe:
    description = table.need("description")
    if not isinstance(description, str) or not description or not description.isprintable():
        raise table.wrong("description", "one line of text", description)
    seed = table.whole("seed", 0, 2**32 - 1)
    time = table.need("modified_at")
    if not isinstance(time, datetime) or time.tzinfo is None or not _FIRST_INSTANT <= time < _LAST_INSTANT:
        expected = "an instant from 1970 to 2037 with its offset, such as 2026-01-01T00:00:00Z"
        raise table.wrong("modified_at", expected, time)
    levels = tuple(map(_level, table.tables("levels")))
    kinds = tuple(map(_kind, table.tables("kinds")))
    strays = tuple(_kind(part, stray=True) for part in table.tables("strays", required=False))
    table.finish()
    counts = count_directories(levels)
    if sum(counts) >= MOST_FOLDERS:
        raise UsageError(f"{table.where}levels make more than {MOST_FOLDERS} directories; lower folders or depth")
    files = sum(sum(islice(draw_counts(level, seed + n), counts[n])) for n, level in enumerate(levels))
    return Recipe(
        name=name,
        description=description,
        seed=seed,
        modified_at=time,
        levels=levels,
        kinds=kinds,
        strays=strays,
        folders=1 + sum(counts),
        files=len(strays) + files,
    )


def _level(table: _Table) -> Level:
    level = Level(
        name=table.name(),
        folders=table.whole("folders", 1, MOST_FOLDERS),
        files=table.bounds("files", _MOST_FILES),
        depth=table.whole("depth", 1, MOST_FOLDERS, default=1),
    )
    table.finish()
    return level


def _kind(table: _Table, *, stray: bool = False) -> Kind:
    kind = Kind(
        name=table.name(with_number=not stray),
        share=0 if stray else table.whole("share", 1, _MOST_SHARE),
        **_content(table),
    )
    table.finish()
    return kind


def _content(table: _Table) -> dict[str, Any]:
    """Return the content of a table: hex alone, or any of first, line with lines, and last; empty without keys."""
    if "hex" in table.entries:
        value = table.need("hex")
        try:
            return {"fixed": bytes.fromhex(value)}
        except (TypeError, ValueError):
            raise table.wrong("hex", "text of hexadecimal digits, two for each byte", value) from None
    if not table.entries:
        return {}
    lines = table.bounds("lines", _MOST_LINES) if "lines" in table.entries else (1, 1)
    return {"fixed": None, "lines": lines, **{key: table.text(key) for key in ("first", "line", "last")}}
