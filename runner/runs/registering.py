"""What a person chooses for a job, checked as a whole before anything is written."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.history.database import Database
from runner.history.jobs import find_job, find_jobs_at
from runner.measure.environment import usable_cpus
from runner.measure.trial import ExistsTask, LookTask
from runner.measure.trials import carry_out
from runner.model.errors import ScanError, Unknown, UsageError
from runner.model.jobs import Job, JobSpec, Selection
from runner.scan.match import Matcher
from runner.scan.root import open_root
from runner.strategies import STRATEGIES

if TYPE_CHECKING:
    from runner.measure.trial import Task

_MAX_NAME = 100
_MAX_RETRIES = 100
# A name taken from a folder is cut to this, so that there is room for a prefix and a number.
_MAX_FOLDER_NAME = 80


def check_spec(spec: JobSpec) -> JobSpec:
    """Make sure that a job can be what was chosen for it; returns it.

    Raises:
        UsageError: If something in it can't be.
    """
    _check_name(spec.name)
    check_selection(spec.selection)
    if not spec.strategies:
        raise UsageError(f"there is no strategy; choose from {', '.join(STRATEGIES)}")
    for strategy in spec.strategies:
        if strategy not in STRATEGIES:
            raise UsageError(f"there is no strategy {strategy!r}; choose from {', '.join(STRATEGIES)}")
    if len(set(spec.strategies)) < len(spec.strategies):
        raise UsageError("a strategy is named twice; name each once")
    if not 0 <= spec.retries <= _MAX_RETRIES:
        raise UsageError(f"{spec.retries} retries can't be had; choose from 0 to {_MAX_RETRIES}")
    most = max(64, 4 * usable_cpus())
    if spec.workers is not None and not 1 <= spec.workers <= most:
        raise UsageError(f"{spec.workers} workers can't be used; choose from 1 to {most}")
    return spec


def check_selection(selection: Selection) -> Selection:
    """Make sure that something can be looked for; returns it.

    Raises:
        UsageError: If a pattern can never match.
    """
    Matcher(selection)
    return selection


def check_root(directory: str | Path) -> bytes:
    """Make a folder's absolute path, after a look whether it can be scanned.

    Raises:
        UsageError: If it is empty, missing, not a folder, or can't be read.
    """
    root = _absolute(directory)
    try:
        os.close(open_root(root))
    except ScanError as error:
        raise UsageError(str(error)) from None
    return root


def _check_root_apart(directory: str) -> bytes:
    """Do the same by a process that can be given up when the folder's file system does not answer."""
    root = _absolute(directory)
    _look_apart(LookTask(root))
    return root


def _look_apart(task: "Task") -> Any:
    outcome = carry_out(task)
    if outcome.message is not None:
        raise UsageError(outcome.message)
    return outcome.result


def _absolute(directory: str | Path) -> bytes:
    if not os.fspath(directory):  # which would mean the current folder
        raise UsageError("the folder's name is empty; name a folder, or write . for this one")
    return os.fsencode(os.path.abspath(directory))  # noqa: PTH100  a link stays as it was named


def default_name(root: bytes) -> str:
    """Name a job after the folder that it scans."""
    name = os.fsdecode(root).rstrip("/").rpartition("/")[2]
    name = re.sub(r"[^\w.+@-]+", "-", name.encode("utf-8", "replace").decode()).strip("-")[:_MAX_FOLDER_NAME]
    return f"job-{name}" if name.isdigit() or name in {".", ".."} else name or "root"


def names_folder(target: str) -> bool:
    """Whether a person who writes this may mean a folder and not only a job.

    It is looked for by a process that can be given up, as in :func:`find_or_add`.
    """
    return "/" in target or _look_apart(ExistsTask(os.path.abspath(target)))  # noqa: PTH100  as it was named


def find_or_add(database: Database, target: str, add: Callable[[JobSpec], Job]) -> Job:
    """Find the job that a person means by a name, a number or a folder; a folder without one gets a job.

    Raises:
        UsageError: If it is none of them, or several jobs scan the folder.
    """
    job = find_job(database, target)
    if job is not None:
        return job
    if not names_folder(target):
        raise Unknown(f"there is no job and no folder {target!r}; see `runner jobs`")
    root = _check_root_apart(target)
    known = find_jobs_at(database, root)
    if len(known) > 1:
        names = ", ".join(repr(job.spec.name) for job in known)
        raise UsageError(f"several jobs scan {target!r}: {names}; name the one to run")
    if known:
        return known[0]
    return add(check_spec(JobSpec(name=_free_name(database, default_name(root)), root=root)))


def _free_name(database: Database, name: str) -> str:
    candidate, number = name, 1
    while find_job(database, candidate) is not None:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _check_name(name: str) -> None:
    if not name or name != name.strip():
        raise UsageError("a job's name is empty or has spaces around it; choose another name")
    if name in {".", ".."} or name.startswith("~"):
        raise UsageError(f"the name {name!r} would be taken for a path; choose one that begins with a letter")
    if name.startswith("-"):
        raise UsageError(f"the name {name!r} would be taken for an option; choose one that begins with a letter")
    if name.isdigit():
        raise UsageError(f"the name {name!r} would be taken for a job's number; choose one with a letter in it")
    if "/" in name or not name.isprintable() or _is_broken(name):
        raise UsageError(f"the name {name!r} holds a slash or a character that can't be shown; choose another name")
    if len(name) > _MAX_NAME:
        raise UsageError(f"the name {name[:20]!r}… is longer than {_MAX_NAME} characters; choose a shorter one")


def _is_broken(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False
