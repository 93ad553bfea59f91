"""Shell patterns as regular expressions; imported only where a pattern is more than a suffix."""

from __future__ import annotations

import re

from runner.model.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# How a star that crosses slashes is matched before another one, and as the last one; "" stands for the beginning.
_CROSSING = {"": ("", ""), "**": (".*?", ".*"), "**/": ("(?:.*?/)??", "(?:.*/)?")}
# Up to this number of stars in a name, trying all places is faster than an atomic group and at worst quadratic.
_FEW_STARS = 2


def translate(pattern: str, *, path: bool = False) -> str:
    r"""Return a regular expression with the meaning that ``find -name`` gives to a shell pattern.

    The time of a match is polynomial: what follows a star is matched at the first place where it fits, within an
    atomic group, since a later place can't help what comes after it. Only the last star tries several places.

    Args:
        pattern: ``*``, ``?``, ``[a-z]``, ``[!a-z]`` or ``[^a-z]``, and ``\`` before a literal character.
        path: Whether the pattern is for relative paths: ``*`` and ``?`` then stop at a slash and ``**`` does not.
            ``**/`` at the beginning of a component is any number of directories, or none.

    Returns:
        The source of an expression for ``re.fullmatch`` with ``re.DOTALL``.

    Raises:
        UsageError: If the pattern ends in a lone backslash or uses a character class.
    """
    star = "[^/]*" if path else ".*"
    *blocks, (crossing, (first, *others)) = _split(pattern, path=path)
    expression = ""
    for above, (begin, *rest) in blocks:
        # It must end as early as possible, or its last star would take what the next block needs.
        expression += f"(?>{_CROSSING[above][0]}{begin}{''.join(f'(?>{star}?{chunk})' for chunk in rest)})"
    expression += _CROSSING[crossing][1] + first
    if not path and len(others) <= _FEW_STARS:
        return expression + "".join(star + chunk for chunk in others)
    atomic = "".join(f"(?>{star}?{chunk})" for chunk in others[:-1])
    return expression + atomic + "".join(star + chunk for chunk in others[-1:])


def _split(pattern: str, *, path: bool) -> list[tuple[str, list[str]]]:
    """Split a pattern at its stars; stars side by side are one.

    Returns:
        Blocks that begin with a star that crosses slashes, the first one without: this star, and the expressions of a
        fixed length between the other stars.
    """
    chunks = [""]
    blocks = [("", chunks)]
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if char == "*":
            rest = pattern[i:].lstrip("*")
            is_crossing = path and len(pattern) - len(rest) - i > 1
            i = len(pattern) - len(rest)
            if not is_crossing:
                chunks.append("")
                continue
            begins_component = chunks[-1].endswith("/") or (chunks == [""] and blocks[-1][0] != "**")
            is_directories = rest.startswith("/") and begins_component
            i += is_directories
            chunks = [""]
            blocks.append(("**/" if is_directories else "**", chunks))
            continue
        if char == "?":
            chunks[-1] += "[^/]" if path else "."
        elif char == "[":
            bracket, end = _translate_bracket(pattern, i)
            chunks[-1] += "(?!/)" + bracket if path and end > i else bracket
            i = end
        elif char == "\\":
            i += 1
            if i == len(pattern):
                raise UsageError(f"the pattern {pattern!r} ends in a lone backslash; write \\\\ for a backslash")
            chunks[-1] += re.escape(pattern[i])
        else:
            chunks[-1] += re.escape(char)
        i += 1
    return blocks


def _translate_bracket(pattern: str, start: int) -> tuple[str, int]:
    """Return the expression of the bracket at *start*, and the index of its last character."""
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
    """Return one character inside a bracket, escaped or not, and the index after it."""
    if pattern[i] == "\\" and i + 1 < len(pattern):
        return pattern[i + 1], i + 2
    return pattern[i], i + 1


def has_unbalanced_bracket(pattern: str) -> bool:
    """Return whether a bracket in a pattern is literal because it is never closed or never opened."""
    i = 0
    while i < len(pattern):
        if pattern[i] == "\\":
            i += 1
        elif pattern[i] == "]":
            return True
        elif pattern[i] == "[":
            _, end = _translate_bracket(pattern, i)
            if end == i:
                return True
            i = end
        i += 1
    return False


def compile_any(sources: Iterable[str], *, ignore_case: bool) -> Callable[[str], bool]:
    """Compile translated patterns into one test."""
    expression = re.compile("|".join(sources), re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    fullmatch = expression.fullmatch
    return lambda text: fullmatch(text) is not None
