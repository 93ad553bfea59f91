"""Shell patterns on names and relative paths, compiled to the cheapest test that decides them."""

from __future__ import annotations

import os

from runner.model.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runner.scan.query import Selecting

_SPECIAL = frozenset("*?[\\")


class Matcher:
    """A selection's patterns and excludes, ready to be asked about every entry of a tree.

    Patterns are text, and names are compared as the operating system decodes them, undecodable bytes as surrogate
    escapes; where every pattern is a plain ``*suffix``, bytes decide.

    Attributes:
        pick: Gives those of a folder's names that are looked for, in any order.
        excludes: Whether an entry is pruned, from its name, its folder's path relative to the root with a slash
            behind it, and whether it is a folder; None when nothing is excluded.

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
            f"the pattern {pattern!r} holds a slash, but patterns match names; schedule that folder, or use --exclude"
        )


def _plain_suffixes(patterns: Iterable[str]) -> list[bytes] | None:
    """Give the suffixes that decide, without those that another one covers; None where a pattern is more than one."""
    if not all(pattern[0] == "*" and not _SPECIAL & set(pattern[1:]) for pattern in patterns):
        return None
    suffixes = {os.fsencode(pattern[1:]) for pattern in patterns}
    return sorted(one for one in suffixes if not any(one != other and one.endswith(other) for other in suffixes))


def _pick_by_suffix(suffixes: list[bytes]) -> Callable[[list[bytes]], list[bytes]]:
    """Make a picker that asks no name by itself, which would cost more than listing it.

    The names are joined by NUL, which none of them holds, and split where a suffix ends a name: the end of each piece
    but the last is the rest of a name with that suffix.
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
    """Build the test for pruning; a trailing slash asks for folders, another slash for a path from the root."""
    from runner.scan.globs import compile_any, translate

    names, paths = {False: [], True: []}, {False: [], True: []}  # type: dict[bool, list[str]], dict[bool, list[str]]
    for exclude in selection.excludes:
        folders_only = exclude.endswith("/")
        pattern = exclude.removesuffix("/")
        is_path = "/" in pattern
        pattern = pattern.removeprefix("./").removeprefix("/")
        if pattern in {"", "."} or "\0" in pattern:
            raise UsageError(f"the exclude {exclude!r} names nothing; give a name or a path below the root")
        (paths if is_path else names)[folders_only].append(translate(pattern, path=is_path))
    ignore_case = selection.ignore_case
    any_name = compile_any(names[False], ignore_case=ignore_case) if names[False] else _never
    any_path = compile_any(paths[False], ignore_case=ignore_case) if paths[False] else _never
    folder_name = compile_any([*names[False], *names[True]], ignore_case=ignore_case) if names[True] else any_name
    folder_path = compile_any([*paths[False], *paths[True]], ignore_case=ignore_case) if paths[True] else any_path

    def excludes(name: bytes, prefix: bytes, is_folder: bool) -> bool:  # noqa: FBT001  called for every entry
        text, path = os.fsdecode(name), os.fsdecode(prefix + name)
        if is_folder:
            return folder_name(text) or folder_path(path)
        return any_name(text) or any_path(path)

    return excludes


def _never(_text: str) -> bool:
    return False
