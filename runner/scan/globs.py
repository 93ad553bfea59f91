"""Shell patterns as regular expressions; imported only where a pattern is more than a suffix."""

from __future__ import annotations

import re

from runner.model.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# What ``**/`` becomes in a pattern for paths.
_ANY_DIRECTORIES = "(?:.*/)?"


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
                if parts[-1:] != [_ANY_DIRECTORIES]:  # repeated, it only multiplies the ways to match
                    parts.append(_ANY_DIRECTORIES)
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
    return _without_backtracking(parts, star=one + "*")


def _without_backtracking(parts: Iterable[str], *, star: str) -> str:
    """Join the parts so that no star but the last of its path component is tried at more than its first match.

    What stands between two stars has a fixed length and no slash. Its earliest match leaves most to the rest, so that
    a later one never helps, and an atomic group keeps the time polynomial.

    Source:
        The same holds for Python's fnmatch.translate since 3.9.
    """
    joined: list[str] = []
    last_star: int | None = None  # its index, while only single characters follow it
    for part in parts:
        if part == star:
            if last_star is not None:
                joined[last_star:] = [f"(?>{star}?{''.join(joined[last_star + 1 :])})"]
            last_star = len(joined)
        elif part in {"/", ".*", _ANY_DIRECTORIES}:
            last_star = None
        joined.append(part)
    return "".join(joined)


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


def compile_any(sources: Iterable[str], *, ignore_case: bool) -> Callable[[str], bool]:
    """Make one test of several translated patterns."""
    expression = re.compile("|".join(sources), re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    fullmatch = expression.fullmatch
    return lambda text: fullmatch(text) is not None
