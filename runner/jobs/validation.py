"""Validation of jobs, before anything is written."""

import os
import re
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial
from itertools import chain, count
from pathlib import Path

from runner.history.database import Database
from runner.history.jobs import absolute_root, find_job, find_or_add_job_at, list_jobs_at, only_job, suggest_job
from runner.measure.environment import usable_cpus
from runner.measure.root_check import exists, look_at_roots
from runner.model.errors import Unknown, UsageError
from runner.model.jobs import Job, JobSpec, Selection
from runner.scan.match import Matcher
from runner.strategies import STRATEGIES
from runner.strategies.dask import MISSING, is_installed

_MAX_NAME = 100
_MAX_RETRIES = 100
_MAX_TAGS = 20
_TAG = re.compile(r"[\w.+@:/-]{1,40}")
# The length of a name taken from a directory; it leaves room for a prefix and a number.
_MAX_FOLDER_NAME = 80


def check_spec(spec: JobSpec, before: JobSpec | None = None) -> JobSpec:
    """Validate a job, and return it; a UsageError if an option is invalid.

    A name that is unchanged from *before* is accepted, since older versions allowed more names.
    """
    if before is None or spec.name != before.name:
        _check_name(spec.name)
    check_selection(spec.selection)
    if "dask" in spec.strategies and not is_installed():
        raise UsageError(MISSING)
    unknown = [f" {name!r}" for name in spec.strategies if name not in {*STRATEGIES, "dask"}]
    if unknown or not spec.strategies:
        raise UsageError(f"there is no strategy{''.join(unknown[:1])}; choose from {', '.join(STRATEGIES)}")
    if len(set(spec.strategies)) < len(spec.strategies):
        raise UsageError("a strategy is named twice; name each once")
    if not 0 <= spec.retries <= _MAX_RETRIES:
        raise UsageError(f"{spec.retries} retries are not possible; choose from 0 to {_MAX_RETRIES}")
    for tag in spec.tags:
        if not _TAG.fullmatch(tag):
            raise UsageError(f"{tag[:50]!r} is not a tag; write at most 40 letters, digits and . _ + @ : / -")
    if len(set(spec.tags)) < len(spec.tags) or len(spec.tags) > _MAX_TAGS:
        raise UsageError(f"the job has {len(spec.tags)} tags; name each once, and at most {_MAX_TAGS}")
    most = max(64, 4 * usable_cpus())
    if spec.workers is not None and not 1 <= spec.workers <= most:
        raise UsageError(f"{spec.workers} workers are not possible; choose from 1 to {most}")
    return spec


def check_selection(selection: Selection) -> Selection:
    """Validate a selection, and return it; a UsageError if a pattern can never match."""
    Matcher(selection)
    return selection


def check_root(directory: str | Path, timeout_s: float | None = None) -> bytes:
    """Return the absolute path of a directory that can be scanned; its file system has *timeout_s*, or a minute.

    Raises:
        UsageError: If it is empty, missing, not a directory, or can't be read.
        ScanError: If its file system does not answer in time, or the machine has a shortage.
    """
    root = to_root(directory)
    [(_, error)] = look_at_roots([root], [timeout_s])
    if error is not None:
        raise UsageError(error)
    return root


def to_root(directory: str | Path) -> bytes:
    """Return the absolute path of a directory without accessing it; a UsageError if it is empty."""
    if not os.fspath(directory):  # it would mean the working directory
        raise UsageError("the directory's name is empty; name a directory, or write . for this one")
    return absolute_root(os.fsencode(directory))


def default_name(root: bytes) -> str:
    """Return the default name of a job: that of its directory."""
    name = os.fsdecode(root).rstrip("/").rpartition("/")[2]
    name = re.sub(r"[^\w.+@-]+", "-", name.encode("utf-8", "replace").decode()).strip("-")[:_MAX_FOLDER_NAME]
    if not name.strip("."):
        return "root"
    return f"job-{name}" if name.isdigit() else name


def names_directory(target: str, timeout_s: float | None = None) -> bool:
    """Return whether a text may name a directory, not only a job."""
    return "/" in target or exists(os.path.abspath(target), timeout_s)  # noqa: PTH100  as it was named


def find_or_add(
    database: Database, target: str, now: datetime, on_add: Callable[[Job], None], timeout_s: float | None = None
) -> Job:
    """Find a job by its name, number or directory; a directory without a job gets one, which *on_add* receives.

    The file system has *timeout_s*, or a minute, to answer.

    Raises:
        UsageError: If it is none of them, or several jobs scan the directory.
        ScanError: If the file system does not answer in time.
    """
    job = None if _is_path(target) else find_job(database, target)
    if job is not None:
        return job
    root = to_root(target)
    known = list_jobs_at(database, root)
    if not known and not names_directory(target, timeout_s):
        raise Unknown(f"there is no job and no directory {target!r}; {suggest_job(database, target)}")
    check_root(target, timeout_s or next((job.spec.timeout_s for job in known), None))
    added = False
    if not known:
        known, added = find_or_add_job_at(database, root, partial(_plain_spec, root), now)
    job = only_job(known, target) or known[0]
    if added:
        on_add(job)
    return job


def _plain_spec(root: bytes, taken: Collection[str]) -> JobSpec:
    """Create the options of a job for a directory: all defaults, and a name that is free."""
    name = default_name(root)
    candidates = chain([name], (f"{name}-{number}" for number in count(2)))
    return check_spec(JobSpec(name=next(free for free in candidates if free not in taken), root=root))


def _check_name(name: str) -> None:
    taken = f"the name {name!r} would be taken for"
    for wrong, error in (
        (not name or name != name.strip(), "a job's name is empty or has spaces around it; choose another name"),
        (_is_path(name) or not name.strip("."), f"{taken} a path; choose one that begins with a letter"),
        (name.startswith("-"), f"{taken} an option; choose one that begins with a letter"),
        (name.isdigit(), f"{taken} a job's number; choose one with a letter in it"),
        (not name.isprintable(), f"the name {name!r} holds a character that can't be shown; choose another name"),
        (len(name) > _MAX_NAME, f"the name {name[:20]!r}… is longer than {_MAX_NAME} characters; choose a shorter one"),
    ):
        if wrong:
            raise UsageError(error)


def _is_path(text: str) -> bool:
    """Return whether a text can only be a path."""
    return "/" in text or text in {".", ".."} or text.startswith("~")
