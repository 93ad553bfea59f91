"""Shell patterns as regular expressions; imported only where a pattern is more than a suffix."""

from __future__ import annotations

import re

from runner.model.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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
    if not path:
        return _join_at_stars(_split(pattern, path=False), _IN_NAMES)
    blocks = [_Block(crossing="")]
    for part in _split(pattern, path=True):
        if part in _CROSSING:
            blocks.append(_Block(crossing=part))
        else:
            blocks[-1].parts.append(part)
    # A block before another one must end as early as possible, or its last star would take what the next one needs.
    expressions = [_join_at_stars(block.parts, (_IN_PATHS[0],) * 2) for block in blocks[:-1]]
    expressions.append(_join_at_stars(blocks[-1].parts, _IN_PATHS))
    crossings = [_CROSSING.get(block.crossing, ("", "")) for block in blocks]
    found = [
        f"(?>{lazy}{expression})" if lazy else f"(?>{expression})"
        for (lazy, _), expression in zip(crossings[:-1], expressions[:-1], strict=True)
    ]
    return "".join(found) + crossings[-1][1] + expressions[-1]


_STAR = "*"
# Up to this number of stars, trying all places is faster than an atomic group and at worst quadratic.
_FEW_STARS = 2
# How a star that stops at slashes, or where there are none, is matched before another star, and as the last one.
_IN_NAMES = (".*?", ".*")
_IN_PATHS = ("[^/]*?", "[^/]*")
# How a star that crosses slashes is matched before another star, and as the last one.
_CROSSING = {"**": (".*?", ".*"), "**/": ("(?:.*?/)??", "(?:.*/)?")}


class _Block:
    """The parts between two stars that cross slashes; *crossing* is the star before it, empty at the beginning."""

    def __init__(self, crossing: str) -> None:
        self.crossing = crossing
        self.parts: list[str] = []


def _join_at_stars(parts: list[str], stars: tuple[str, str]) -> str:
    """Return the expression of parts whose stars are all of one kind."""
    lazy, greedy = stars
    first, *others = _chunks(parts)
    if not others:
        return first
    if stars is _IN_NAMES and len(others) <= _FEW_STARS:
        return first + greedy + greedy.join(others)
    return first + "".join(f"(?>{lazy}{chunk})" for chunk in others[:-1]) + greedy + others[-1]


def _chunks(parts: list[str]) -> list[str]:
    """Return the expressions of a fixed length between the stars."""
    chunks = [""]
    for part in parts:
        if part == _STAR:
            chunks.append("")
        else:
            chunks[-1] += part
    return chunks


def _split(pattern: str, *, path: bool) -> list[str]:
    """Split a pattern into stars and expressions of one character each; stars side by side are one."""
    one = "[^/]" if path else "."
    parts: list[str] = []
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if char == "*":
            rest = pattern[i:].lstrip("*")
            several = path and len(pattern) - len(rest) - i > 1
            i = len(pattern) - len(rest)
            if several and pattern.startswith("/", i) and (not parts or parts[-1] in {"/", "**/"}):
                parts.append("**/")
                i += 1
            else:
                parts.append("**" if several else _STAR)
            continue
        if char == "?":
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
    return parts


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
