"""What to find: a selection of names and paths by shell patterns, compiled to the cheapest test that decides them."""

from __future__ import annotations

import os

from runner.model.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from runner.model.jobs import Selection

    Selecting: TypeAlias = "Selection | PlainSelection"


class PlainSelection:
    """A copy of a selection that a trial process can unpickle without importing dataclasses and enums."""

    __slots__ = ("excludes", "ignore_case", "one_file_system", "patterns", "track")

    def __init__(self, selection: Selecting) -> None:
        self.patterns: tuple[str, ...] = tuple(selection.patterns)
        self.excludes: tuple[str, ...] = tuple(selection.excludes)
        self.ignore_case: bool = bool(selection.ignore_case)
        self.track: str = "".join(selection.track)  # text, not a member of an enum
        self.one_file_system: bool = bool(selection.one_file_system)


_SPECIAL = frozenset("*?[\\")


class Matcher:
    """The compiled patterns and excludes of a selection.

    Patterns are text; names are compared as the operating system decodes them, undecodable bytes as surrogate escapes.
    If every pattern is a plain ``*suffix``, bytes are compared.

    Attributes:
        pick: Returns the matching names of a directory, in any order.
        excludes: Returns whether an entry is excluded, from its name, the path of its directory relative to the root
            with a trailing slash, and whether it is a directory; None if nothing is excluded.

    Raises:
        UsageError: If a pattern is empty or can never match.
    """

    def __init__(self, selection: Selecting) -> None:
        if not selection.patterns:
            raise UsageError("there is no pattern; give at least one, like --pattern '*.md'")
        for pattern in selection.patterns:
            _check_pattern(pattern)
        suffixes = None if selection.ignore_case else _plain_suffixes(selection.patterns)
        self.pick = _pick_by_suffix(suffixes) if suffixes is not None else _pick_by_pattern(selection)
        self.excludes = _compile_excludes(selection) if selection.excludes else None


def _check_pattern(pattern: str) -> None:
    if not pattern:
        raise UsageError("a pattern is empty; give one like --pattern '*.md'")
    if "\0" in pattern:
        raise UsageError("a pattern holds a NUL, which no file name can")
    if "/" in pattern:
        raise UsageError(
            f"the pattern {pattern!r} holds a slash, but patterns match names; scan that directory, or use --exclude"
        )


def _plain_suffixes(patterns: Iterable[str]) -> list[bytes] | None:
    """List the suffixes that decide, without those covered by another one; None if a pattern is not a plain suffix."""
    if not all(pattern[0] == "*" and not _SPECIAL & set(pattern[1:]) for pattern in patterns):
        return None
    suffixes = {os.fsencode(pattern[1:]) for pattern in patterns}
    return sorted(one for one in suffixes if not any(one != other and one.endswith(other) for other in suffixes))


def _pick_by_suffix(suffixes: list[bytes]) -> Callable[[list[bytes]], list[bytes]]:
    """Return a picker without a test per name, which would cost more than listing the name.

    It joins the names by NUL and splits them where a suffix ends a name: the end of each piece but the last is the rest
    of a name with that suffix.
    """
    if suffixes == [b""]:
        return list

    def pick(names: list[bytes]) -> list[bytes]:
        joined = b"\0".join(names) + b"\0"
        found = []
        for suffix in suffixes:
            pieces = joined.split(suffix + b"\0")
            del pieces[-1]
            found += [piece.rpartition(b"\0")[2] + suffix for piece in pieces]
        return found

    return pick


def _pick_by_pattern(selection: Selecting) -> Callable[[list[bytes]], list[bytes]]:
    from runner.scan.globs import compile_any, translate

    matches = compile_any(map(translate, selection.patterns), ignore_case=selection.ignore_case)
    return lambda names: [name for name in names if matches(os.fsdecode(name))]


def _compile_excludes(selection: Selecting) -> Callable[[bytes, bytes, bool], bool]:
    """Compile the excludes: a trailing slash restricts one to directories, another slash makes it a relative path."""
    from runner.scan.globs import compile_any, translate

    # Expressions by whether they are for paths and for directories only.
    sources: dict[tuple[bool, bool], list[str]] = {}
    for exclude in selection.excludes:
        pattern = exclude.removesuffix("/")
        is_path = "/" in pattern
        pattern = pattern.removeprefix("./").removeprefix("/")
        if pattern in {"", "."} or "\0" in pattern:
            raise UsageError(f"the exclude {exclude!r} names nothing; give a name or a path below the root")
        sources.setdefault((is_path, exclude.endswith("/")), []).append(translate(pattern, path=is_path))

    def compiled(*, is_path: bool, is_directory: bool) -> Callable[[str], bool]:
        every = sources.get((is_path, False), []) + (sources.get((is_path, True), []) if is_directory else [])
        return compile_any(every, ignore_case=selection.ignore_case) if every else lambda _text: False

    any_name, any_path = (compiled(is_path=is_path, is_directory=False) for is_path in (False, True))
    directory_name, directory_path = (compiled(is_path=is_path, is_directory=True) for is_path in (False, True))

    def excludes(name: bytes, prefix: bytes, is_directory: bool) -> bool:  # noqa: FBT001  called for every entry
        text, path = os.fsdecode(name), os.fsdecode(prefix + name)
        if is_directory:
            return directory_name(text) or directory_path(path)
        return any_name(text) or any_path(path)

    return excludes
