"""Shell patterns on names and relative paths, compiled to the cheapest test that decides them."""

from __future__ import annotations

from runner.model.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runner.scan.query import Selecting

_SPECIAL = frozenset("*?[\\")


class Matcher:
    """A selection's patterns and excludes, ready to be asked about every entry of a tree.

    Names are text as the operating system decodes them, undecodable bytes as surrogate escapes.

    Attributes:
        suffixes: When every pattern is a plain ``*suffix``: the suffixes, for ``str.endswith``; else None.
        matches: Whether a name is looked for.
        excludes: Whether an entry is pruned, from its name, its path relative to the root and whether it is a
            folder; None when nothing is excluded.

    Raises:
        UsageError: If a pattern is empty or can never match.
    """

    def __init__(self, selection: Selecting) -> None:
        if not selection.patterns:
            raise UsageError("there is no pattern; give at least one, like --pattern '*.md'")
        for pattern in selection.patterns:
            _check_pattern(pattern)
        self.suffixes = None if selection.ignore_case else _plain_suffixes(selection.patterns)
        self.matches = _ends_with(self.suffixes) if self.suffixes is not None else _compile_names(selection)
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


def _plain_suffixes(patterns: Iterable[str]) -> tuple[str, ...] | None:
    if all(pattern[0] == "*" and not _SPECIAL & set(pattern[1:]) for pattern in patterns):
        return tuple(pattern[1:] for pattern in patterns)
    return None


def _ends_with(suffixes: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda name: name.endswith(suffixes)


def _compile_names(selection: Selecting) -> Callable[[str], bool]:
    from runner.scan.globs import compile_any, translate

    return compile_any(map(translate, selection.patterns), ignore_case=selection.ignore_case)


def _compile_excludes(selection: Selecting) -> Callable[[str, str, bool], bool]:
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

    def excludes(name: str, path: str, is_folder: bool) -> bool:  # noqa: FBT001  called for every entry
        if is_folder:
            return folder_name(name) or folder_path(path)
        return any_name(name) or any_path(path)

    return excludes


def _never(_text: str) -> bool:
    return False
