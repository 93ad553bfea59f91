"""Shell patterns on names and relative paths, compiled to the cheapest test that decides them."""

import re
from collections.abc import Callable, Iterable

from runner.model.errors import UsageError
from runner.model.jobs import Selection

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

    def __init__(self, selection: Selection) -> None:
        if not selection.patterns:
            raise UsageError("there is no pattern; give at least one, like --pattern '*.md'")
        for pattern in selection.patterns:
            _check_pattern(pattern)
        self.suffixes = None if selection.ignore_case else _plain_suffixes(selection.patterns)
        self.matches: Callable[[str], bool] = (
            _ends_with(self.suffixes)
            if self.suffixes is not None
            else _compile((translate(pattern) for pattern in selection.patterns), ignore_case=selection.ignore_case)
        )
        self.excludes = _compile_excludes(selection) if selection.excludes else None


def translate(pattern: str, *, path: bool = False) -> str:
    r"""Turn a shell pattern into a regular expression with the meaning ``find -name`` gives it.

    Args:
        pattern: ``*``, ``?``, ``[a-z]``, ``[!a-z]`` or ``[^a-z]``, and ``\`` before a character taken literally.
        path: Whether the pattern is for relative paths: ``*`` and ``?`` then stop at a slash and ``**`` does not.

    Returns:
        The source of an expression for ``re.fullmatch`` with ``re.DOTALL``.

    Raises:
        UsageError: If the pattern ends in a lone backslash or uses a character class.
    """
    one = "[^/]" if path else "."
    parts: list[str] = []
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if char == "*":
            if path and pattern.startswith("**/", i):
                parts.append("(?:.*/)?")
                i += 3
                continue
            if path and pattern.startswith("**", i):
                parts.append(".*")
                i += 2
                continue
            parts.append(one + "*")
        elif char == "?":
            parts.append(one)
        elif char == "[":
            bracket, end = _translate_bracket(pattern, i)
            parts.append("(?!/)" + bracket if path and end > i else bracket)
            i = end
        elif char == "\\":
            if i + 1 == len(pattern):
                raise UsageError(f"the pattern {pattern!r} ends in a lone backslash; write \\\\ for a backslash")
            i += 1
            parts.append(re.escape(pattern[i]))
        else:
            parts.append(re.escape(char))
        i += 1
    return "".join(parts)


def _translate_bracket(pattern: str, start: int) -> tuple[str, int]:
    """Translate the bracket at *start*; returns its expression and the index of its last character."""
    i = start + 1
    negated = pattern[i : i + 1] in {"!", "^"}
    i += negated
    members: list[str] = []
    first = i
    while True:
        if i >= len(pattern):  # never closed: the bracket is an ordinary character
            return re.escape("["), start
        char = pattern[i]
        if char == "]" and i > first:
            break
        if char == "[" and pattern[i + 1 : i + 2] in {":", ".", "="}:
            raise UsageError(f"the pattern {pattern!r} uses a character class; write the characters out, like [0-9]")
        low, i = _bracket_member(pattern, i)
        if pattern[i : i + 1] == "-" and pattern[i + 1 : i + 2] not in {"", "]"}:
            high, i = _bracket_member(pattern, i + 1)
            if low <= high:  # a reversed range has no members, as in find
                members.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            members.append(re.escape(low))
    if not members:
        return ("." if negated else "(?!)"), i
    return f"[{'^' if negated else ''}{''.join(members)}]", i


def _bracket_member(pattern: str, i: int) -> tuple[str, int]:
    """Read one character inside a bracket, escaped or not; returns it and the index after it."""
    if pattern[i] == "\\" and i + 1 < len(pattern):
        return pattern[i + 1], i + 2
    return pattern[i], i + 1


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


def _compile(sources: Iterable[str], *, ignore_case: bool) -> Callable[[str], bool]:
    expression = re.compile("|".join(sources), re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    fullmatch = expression.fullmatch
    return lambda text: fullmatch(text) is not None


def _compile_excludes(selection: Selection) -> Callable[[str, str, bool], bool]:
    """Build the test for pruning; a trailing slash asks for folders, another slash for a path from the root."""
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
    any_name = _compile(names[False], ignore_case=ignore_case) if names[False] else _never
    any_path = _compile(paths[False], ignore_case=ignore_case) if paths[False] else _never
    folder_name = _compile([*names[False], *names[True]], ignore_case=ignore_case) if names[True] else any_name
    folder_path = _compile([*paths[False], *paths[True]], ignore_case=ignore_case) if paths[True] else any_path

    def excludes(name: str, path: str, is_folder: bool) -> bool:  # noqa: FBT001  called for every entry
        if is_folder:
            return folder_name(name) or folder_path(path)
        return any_name(name) or any_path(path)

    return excludes


def _never(_text: str) -> bool:
    return False
