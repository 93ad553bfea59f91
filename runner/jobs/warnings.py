"""Warnings about valid options that have no effect, and about patterns that match nothing or leave nothing."""

import math
import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from runner.model.errors import UsageError
from runner.model.jobs import Catchup, JobSpec, Schedule, ScheduleKind, Selection
from runner.model.units import format_duration, parse_duration
from runner.scan.globs import has_unbalanced_bracket, translate
from runner.scan.match import Matcher
from runner.schedules.fire_times import find_gaps
from runner.strategies import load_strategy

# Defaults get no warnings.
_PLAIN = JobSpec(name="plain", root=b"/")
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
# Words of a command that only a shell understands: pipes, redirections, variables and substitutions.
_SHELL_SYNTAX = re.compile(r"\|\|?|&&?|<|[0-9&]?>>?.*|.*;|~/.*|.*(?:\$[A-Za-z_({]|`).*", re.DOTALL)
_SHELLS = {"sh", "bash", "dash", "ksh", "zsh", "fish"}


def find_warnings(spec: JobSpec, before: JobSpec | None = None) -> list[str]:
    """Find the options without effect, a line for each; those that are as in the job *before* get no warning."""
    base = before or replace(_PLAIN, name=spec.name, root=spec.root)
    changed = {field.name for field in fields(spec) if getattr(spec, field.name) != getattr(base, field.name)}
    warnings = [({"selection"}, text) for text in find_selection_warnings(spec.selection, spec.root, base.selection)]
    warnings += *_warn_of_schedule(spec), *_warn_of_execution(spec, base)
    return [text for about, text in warnings if changed & about]


def find_option_warnings(given: Mapping[str, Any], spec: JobSpec) -> Iterator[str]:
    """Yield a line for each option given on the command line that has no effect on a job."""
    if given["timezone"] is not None and spec.schedule is not None and spec.schedule.kind is ScheduleKind.EVERY:
        yield "a time zone has no effect on an interval; it is only used to show fire times"


def describe_nothing_found(spec: JobSpec) -> str:
    """Return a hint for a run that found no file."""
    patterns = spec.selection.patterns
    meant = next((wildcard for pattern in patterns if (wildcard := _missing_wildcard(pattern))), None)
    edit = f"`runner edit {shlex.quote(spec.name)} --pattern '*.txt'` looks for others"
    cure = f"did you mean {meant!r}?" if meant else edit
    return f"no file was found by {' or '.join(map(repr, patterns))}; {cure}"


def _warn_of_schedule(spec: JobSpec) -> Iterator[tuple[set[str], str]]:
    """Yield each warning with the fields of which one must be new."""
    by_hand = "no effect on a job without a schedule"
    if spec.schedule is None:
        if spec.retries:
            yield {"retries", "schedule"}, f"retries have {by_hand}: manual runs are not retried"
        if spec.catchup is not Catchup.ONCE:
            yield {"catchup", "schedule"}, f"catchup has {by_hand}, which misses nothing"
        if spec.paused:
            yield {"paused", "schedule"}, f"being paused has {by_hand}, which does not fire"
    else:
        if spec.retries and _longest_gap_s(spec.schedule) <= spec.retry_delay_s:
            forestalled = f"the job fires before the retry delay of {format_duration(spec.retry_delay_s)} is over"
            text = f"retries can never start: {forestalled}; choose a shorter one"
            yield {"retries", "retry_delay_s", "schedule"}, text
        if east_or_west := re.match(r"(?:UTC|GMT)([+-]?)0*[1-9]", spec.schedule.timezone):
            side = "east" if east_or_west[1] == "-" else "west"
            zone = f"the time zone {spec.schedule.timezone!r} is {side} of Greenwich"
            yield {"schedule"}, f"{zone}: POSIX notation counts hours westward"
    if not spec.retries and spec.retry_delay_s != _PLAIN.retry_delay_s:
        yield {"retry_delay_s"}, "a retry delay has no effect without retries; choose how many"


def _longest_gap_s(schedule: Schedule) -> float:
    try:
        _, longest = find_gaps(schedule, schedule.interval_origin)
    except UsageError:  # its time zone is unknown here, which is no reason to refuse a pause
        return math.inf
    # Jitter may move two fire times apart by that much.
    return longest.total_seconds() + schedule.jitter_s


def _warn_of_execution(spec: JobSpec, base: JobSpec) -> Iterator[tuple[set[str], str]]:
    every, schedule = format_duration(spec.full_every_s), spec.schedule
    if spec.workers is not None and not any(load_strategy(name).parallel for name in spec.strategies):
        yield {"workers"}, "a number of workers has no effect without the strategy pool"
    if "incremental" not in spec.strategies:
        if spec.full_every_s != _PLAIN.full_every_s:
            yield {"full_every_s"}, f"reading everything every {every} has no effect without the strategy incremental"
    elif (
        schedule is not None
        and schedule.kind is ScheduleKind.EVERY
        and parse_duration(schedule.expression) >= spec.full_every_s + schedule.jitter_s
    ):
        always = f"every run reads all directories, which is due every {every}"
        yield {"full_every_s", "schedule", "strategies"}, f"{always}; choose a --full-every longer than the interval"
    for notify in spec.notify:
        if notify not in base.notify and shutil.which(notify.command[0]) is None:
            text = f"the program {notify.command[0]!r} for the event {notify.event.value} is not found here"
            yield {"notify"}, f"{text}; install it where the daemon finds it"
        if notify not in base.notify and posixpath.basename(notify.command[0]) not in _SHELLS:
            for word in filter(_SHELL_SYNTAX.fullmatch, notify.command):
                text = f"the command for the event {notify.event.value} runs without a shell, which {word!r} needs"
                yield {"notify"}, f"{text}; write {notify.event.value}=sh -c '…'"
                break


def find_selection_warnings(selection: Selection, root: bytes, old: Selection) -> Iterator[str]:
    """Yield a line for each pattern and exclude that has hardly the effect that is meant, unless it is an *old* one."""
    for pattern in selection.patterns:
        if pattern not in old.patterns:
            reason = _never_matches_name(pattern) or _looks_mistaken(pattern) or _matches_one_name(pattern)
            if reason:
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


def _matches_one_name(pattern: str) -> str | None:
    meant = _missing_wildcard(pattern)
    return meant and f"matches only files of exactly this name; did you mean {meant!r}?"


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


def _missing_wildcard(pattern: str) -> str | None:
    """Return the pattern that is meant by an extension such as ``.md`` or ``md``; None for other patterns."""
    extension = re.fullmatch(r"\.[a-z0-9]{1,5}|[a-z0-9]{2,5}", pattern)
    return f"*.{pattern.removeprefix('.')}" if extension else None


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
