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


def find_selection_warnings(selection: Selection, root: bytes, old: Selection) -> Iterator[str]:
    """Yield a line for each pattern and exclude that has hardly the effect that is meant, unless it is an *old* one."""
    for pattern in selection.patterns:
        if pattern not in old.patterns and (reason := _never_matches_name(pattern) or _looks_mistaken(pattern)):
            yield f"the pattern {pattern!r} {reason}"
    for exclude in selection.excludes:
        if exclude not in old.excludes:
            reason = _never_excludes(exclude) or _looks_absolute(exclude, os.fsdecode(root)) or _looks_mistaken(exclude)
            if reason:
                yield f"the exclude {exclude!r} {reason}"
    if selection != old:
        yield from _warn_of_nothing_left(selection)


def _never_matches_name(pattern: str) -> str | None:
    """Return why no name matches a pattern; None if one can."""
    if pattern.startswith("!") and len(pattern) > 1:
        meant = "[!]" + pattern[1:]
        return f"matches only names that begin with !; it negates nothing; write {meant!r} if that is meant"
    if _unescape(pattern) in {".", ".."}:
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
    # Several patterns in one: ``*.md, *.txt`` or ``*.{md,txt}``.
    pieces = re.split(r"[,\s]+", pattern)
    if re.search(r"\{.*,.*\}", pattern, re.DOTALL) or (len(pieces) > 1 and all(one.startswith("*") for one in pieces)):
        return "is one pattern, which hardly any name matches; give several one by one"
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
        meant = posixpath.normpath(_unescape(inner).lstrip("/"))
        if meant == "." or ".." in meant.split("/"):
            return "never matches: it names nothing below the root; write a name or a path below the root"
        if "/" not in meant and ("/" in inner or exclude.startswith("/")):
            meant = f"/{meant}"
        return f"never matches: no path has an empty part, '.' or '..' in it; write {meant!r}"
    for part in parts:
        if (reason := _never_matches_name(part)) and (part is parts[0] or not part.startswith("!")):
            return reason
    return None


def _looks_absolute(exclude: str, root: str) -> str | None:
    """Return why an exclude is hardly meant to be relative to the root."""
    if not exclude.startswith("/") or root == "/":
        return None
    path = exclude.removesuffix("/")
    relative = "is taken for a path below the root"
    if path.startswith(root + "/"):
        return f"{relative}; write {exclude.removeprefix(root)!r}"
    if path == root or root.startswith(path + "/"):
        return f"{relative}, and names the root or a directory above it; write a path below the root"
    _, top, *below = path.split("/")
    if top not in _TOP_LEVEL | {root.split("/")[1]}:
        return None
    if below:
        return f"{relative}, where it hardly exists; write the path from the root {root!r} on"
    return f"{relative}: it excludes {root + path!r}, and not {path!r}, which is not below the root"


def _warn_of_nothing_left(selection: Selection) -> Iterator[str]:
    cure = "patterns say what to find, excludes what to leave out"
    cause = next((x for x in selection.excludes if _leaves_nothing(replace(selection, excludes=(x,)))), None)
    if cause is not None:
        yield f"the exclude {cause!r} leaves nothing to be found; {cure}"
    elif selection.excludes and _leaves_nothing(selection):
        yield f"the excludes leave nothing to be found; {cure}"


def _leaves_nothing(selection: Selection) -> bool:
    """Return whether everything that the patterns match is excluded, as far as samples show."""
    excludes = Matcher(selection).excludes
    if excludes is None:
        return False
    files = [name for pattern in selection.patterns for name in _samples(pattern)]
    directories = [os.fsencode(name) for name in _SAMPLES if name]

    def all_excluded(names: list[bytes], depth: bytes, *, directory: bool = False) -> bool:
        return all(excludes(name, depth, directory) for name in names)

    deep = all_excluded(directories, b"", directory=True) or all(all_excluded(files, depth) for depth in _DEPTHS)
    return all_excluded(files, b"") and deep


def _samples(pattern: str) -> list[bytes]:
    """Return names that a pattern matches; any names where that takes more than its stars to be replaced."""
    if set("[\\") & set(pattern):
        pattern = "*"
    names = (pattern.replace("*", sample).replace("?", other) for sample in _SAMPLES for other in "aZ.")
    return [os.fsencode(name) for name in dict.fromkeys(names) if name not in {"", ".", ".."}]
