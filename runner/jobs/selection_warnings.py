"""Patterns and excludes that are valid but match nothing, or leave nothing to be found."""

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace

from runner.model.jobs import Selection
from runner.scan.globs import has_unbalanced_bracket, translate
from runner.scan.match import Matcher

# No file system of Linux or macOS has longer names, in bytes.
_LONGEST_NAME = 255
# A path that begins with one of these is hardly meant to be relative to the root of a job.
_TOP_LEVEL = (
    {"bin", "boot", "dev", "etc", "home", "lib", "mnt", "media", "opt", "private", "proc"}
    | {"root", "run", "srv", "sys", "tmp", "usr", "var", "Library", "Users", "Volumes"}
)  # fmt: skip
# Values of a star in a pattern, to test whether an exclude matches everything that a pattern does.
_SAMPLES = ("", "a", "Zz9", ".x.y", "-é b_", "README.md", "q" * 40)
_DEPTHS = (b"", b"q/", b"x/Y.z/")


def find_selection_warnings(selection: Selection, root: bytes, old: Selection | None = None) -> Iterator[str]:
    """Yield a line for each pattern and exclude that has hardly the effect that is meant.

    Args:
        selection: What is chosen.
        root: Absolute path of the directory to scan.
        old: What was chosen before, which is not warned about again.
    """
    known_patterns, known_excludes = (old.patterns, old.excludes) if old else ((), ())
    for pattern in selection.patterns:
        if pattern not in known_patterns and (reason := _never_matches_name(pattern) or _looks_mistaken(pattern)):
            yield f"the pattern {pattern!r} {reason}"
    for exclude in selection.excludes:
        if exclude not in known_excludes:
            reason = _never_excludes(exclude) or _looks_absolute(exclude, root) or _looks_mistaken(exclude)
            if reason:
                yield f"the exclude {exclude!r} {reason}"
    if old is None or selection != old:
        yield from _warn_of_nothing_left(selection)


def _never_matches_name(pattern: str) -> str | None:
    """Return why no name matches a pattern; None if one can."""
    if pattern.startswith("!") and len(pattern) > 1:
        return (
            f"matches only names that begin with !; it negates nothing; write {'[!]' + pattern[1:]!r} if that is meant"
        )
    literal = _unescape(pattern)
    if literal in {".", ".."}:
        return "never matches: no entry has that name; write '*' for every name"
    if "(?!)" in translate(pattern):
        return "never matches: a range in it is reversed; write the lower character first, like [a-z]"
    if len(re.sub(r"\\(.)|\[[^]]+\]|\*", r"\1", pattern).encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
        return f"never matches: no name is longer than {_LONGEST_NAME} bytes"
    return None


def _unescape(pattern: str) -> str:
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)


def _looks_mistaken(pattern: str) -> str | None:
    """Return why a pattern that can match is hardly what is meant."""
    if has_unbalanced_bracket(pattern):
        return r"has a bracket that is not closed or not opened and stands for itself; write \[ or \] if that is meant"
    if not pattern.strip():
        return "matches only names of spaces"
    if pattern != pattern.strip() and not pattern.rstrip().endswith("\\"):
        return f"begins or ends with a space, which names have to have as well; write {pattern.strip()!r}"
    return None


def _never_excludes(exclude: str) -> str | None:
    """Return why an exclude matches nothing; None if it can match."""
    # An escaped slash separates names as well.
    exclude = re.sub(r"\\(.)", lambda escaped: "/" if escaped[1] == "/" else escaped[0], exclude, flags=re.DOTALL)
    inner = exclude.removesuffix("/").removeprefix("./").removeprefix("/")
    parts = inner.split("/")
    if "(?!/)[/]" in translate(inner, path=True):
        return "never matches: a bracket matches no slash; write the slash without a bracket"
    if exclude.startswith("~/"):
        return "never matches: excludes are relative to the root; write the path below the root"
    if any(_unescape(part) in {"", ".", ".."} for part in parts):
        meant = posixpath.normpath(posixpath.join("/", _unescape(inner)))
        if ".." in posixpath.normpath(_unescape(inner).lstrip("/")).split("/") or meant == "/":
            return "never matches: it names nothing below the root; write a name or a path below the root"
        meant = meant.lstrip("/")
        if "/" not in meant and ("/" in inner or exclude.startswith("/")):
            meant = f"/{meant}"
        return f"never matches: no path has an empty part, '.' or '..' in it; write {meant!r}"
    for part in parts:
        if (reason := _never_matches_name(part)) and (part is parts[0] or not part.startswith("!")):
            return reason
    return None


def _looks_absolute(exclude: str, root: bytes) -> str | None:
    """Return why an exclude is hardly meant to be relative to the root."""
    if not exclude.startswith("/") or root == b"/":
        return None
    base = os.fsdecode(root)
    path = exclude.removesuffix("/")
    relative = "is taken for a path below the root"
    if path.startswith(base + "/"):
        return f"{relative}; write {exclude.removeprefix(base)!r}"
    if path == base or base.startswith(path + "/"):
        return f"{relative}, and names the root or a directory above it; write a path below the root"
    parts = path.split("/")[1:]
    if len(parts) > 1 and (parts[0] == base.split("/")[1] or parts[0] in _TOP_LEVEL):
        return f"{relative}, where it hardly exists; write the path from the root {base!r} on"
    if parts[0] == base.split("/")[1] or parts[0] in _TOP_LEVEL:
        return f"{relative}: it excludes {base + path!r}, and not {path!r}, which is not below the root"
    return None


def _warn_of_nothing_left(selection: Selection) -> Iterator[str]:
    cause = next((x for x in selection.excludes if _leaves_nothing(replace(selection, excludes=(x,)))), None)
    if cause is not None:
        yield f"the exclude {cause!r} leaves nothing to be found; patterns say what to find, excludes what to leave out"
    elif selection.excludes and _leaves_nothing(selection):
        yield "the excludes leave nothing to be found; patterns say what to find, excludes what to leave out"


def _leaves_nothing(selection: Selection) -> bool:
    """Return whether everything that the patterns match is excluded, as far as samples show."""
    excludes = Matcher(selection).excludes
    names = [_samples(pattern) for pattern in selection.patterns]
    if excludes is None:
        return False
    files = [name for some in names for name in some]

    def all_excluded(depth: bytes) -> bool:
        return all(excludes(name, depth, False) for name in files)  # noqa: FBT003

    every_folder = all(excludes(os.fsencode(name), b"", True) for name in _SAMPLES if name)  # noqa: FBT003
    return all_excluded(b"") and (every_folder or all(map(all_excluded, _DEPTHS)))


def _samples(pattern: str) -> list[bytes]:
    """Return names that a pattern matches; any names where that takes more than its stars to be replaced."""
    if set("[\\") & set(pattern):
        pattern = "*"
    names = (pattern.replace("*", sample).replace("?", other) for sample in _SAMPLES for other in "aZ.")
    return [os.fsencode(name) for name in dict.fromkeys(names) if name not in {"", ".", ".."}]
