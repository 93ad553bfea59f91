"""The tree at any run or instant, the life of one file, and the changes between two runs."""

import os
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from math import log1p
from typing import Any

from runner.history import contents, rollup, time_range
from runner.history import runs as stored_runs
from runner.model.contents import ChangeCount, FolderCount, SavedState
from runner.model.errors import Unknown, UsageError
from runner.model.jobs import Job
from runner.model.runs import Change, ChangeKind, Run
from runner.output import contents as rendering
from runner.output import records
from runner.scan.snapshot import lies_in
from runner.web import links
from runner.web.page import Asked, Page, listed
from runner.web.svg import element, picture

_ROWS = 500
_NOTCHES = 240


def files(asked: Asked) -> Page:
    """Show one directory of a tree at a run or an instant, from the entry after ``after``."""
    job, run, at = asked.job(), asked.number("run"), asked.text("at")
    latest = run is None and at is None
    if latest and stored_runs.find_first_saved(asked.view, job) is None:
        return Page(template="files.html", values={"job": job, "state": None}, json=listed(()))
    state = time_range.find_state(asked.view, job, run, at, asked.now)
    under = _directory(asked, job)
    counts = contents.count_directories(asked.view, job.job_id, state.run_id, under)
    rolled = rollup.roll_up(counts, _depth(under) + 1)
    entries, more = _list_entries(asked, state, under, [count for count in rolled if count.path != under])
    notes = time_range.describe_later_failure(asked.view, job, state) if latest else []
    states = _list_states(asked, job, state)
    values = {
        "job": job,
        "state": state,
        "latest": latest,
        "link": partial(links.query, run=None if latest else state.run_id),
        "under": under,
        "parents": _parents(under),
        "total": next(iter(rollup.roll_up(counts, _depth(under))), None),
        "entries": entries,
        "more": more,
        "is_unreadable": partial(_is_unreadable, {one.path for one in contents.list_problems(asked.view, state)}),
        "notes": [*notes, *time_range.describe_unreadable(state, "marked ?, and listed")],
        "states": states,
        "course": _course(states, state.run_id),
        "modified_at": records.modified_at,
        "before": stored_runs.find_saved_before(asked.view, job, state),
        "next": stored_runs.find_saved_after(asked.view, job, state),
    }
    found = contents.list_files(asked.view, job.job_id, state.run_id, under)
    return Page(template="files.html", values=values, json=listed(map(records.file_record, found)))


def _list_entries(asked: Asked, state: Run, under: bytes, below: list[FolderCount]) -> tuple[list[Any], bytes | None]:
    """List the directories, then the files of one directory after a key, and the key of the rest.

    The key is the name of a file, or of a directory with a slash at its end.
    """
    after = asked.path("after") or b""
    if b"/" in after or not after:
        entries: list[Any] = [count for count in below if _name(count.path) > after[:-1] or not after][: _ROWS + 1]
        after = b""
    else:
        entries = []
    limit = _ROWS + 1 - len(entries)
    if limit:
        entries += contents.list_directory(asked.view, state.job_id, state.run_id, under, after=after, limit=limit)
    if len(entries) <= _ROWS:
        return entries, None
    last = entries[_ROWS - 1]
    return entries[:_ROWS], _name(last.path) + (b"/" if isinstance(last, FolderCount) else b"")


def _list_states(asked: Asked, job: Job, shown: Run) -> list[SavedState]:
    """List the notches of the slider, the shown run among them."""
    states = stored_runs.list_states(asked.view, job, _NOTCHES)
    if shown.finished_at is not None and all(state.run_id != shown.run_id for state in states):
        changes = sum(filter(None, (shown.added, shown.removed, shown.modified)))
        own = SavedState(run_id=shown.run_id, finished_at=shown.finished_at, changes=changes)
        insort(states, own, key=lambda state: state.run_id)
    return states


def _is_unreadable(unreadable: set[bytes], path: bytes) -> bool:
    return bool(unreadable) and lies_in(path, unreadable)


def file(asked: Asked) -> Page:
    """Show the versions of one file."""
    job, path = asked.job(), asked.path("path")
    if path is None:
        raise UsageError("the address names no file; follow a link from the files of the job")
    relative = time_range.relative_path(job, os.fsdecode(path))
    versions = contents.list_versions(asked.view, job.job_id, relative)
    if not versions:
        raise Unknown(f"no file {os.fsdecode(path)!r} was ever found by {job.spec.name!r}")
    values = {
        "job": job,
        "path": relative,
        "parents": _parents(relative),
        "rows": rendering.version_rows(versions),
        "modified_at": records.modified_at,
    }
    return Page(template="file.html", values=values, json=listed(map(rendering.version_record, versions)))


def changes(asked: Asked) -> Page:
    """Show the files that differ between two runs, by default in the last."""
    job = asked.job()
    kind = asked.choice("kind", [*ChangeKind])
    since, until = asked.text("since"), asked.text("until")
    first, last = asked.number("from"), asked.number("to")
    by_directory = asked.choice("by", ["directory"]) is not None
    if not any((since, until, first, last)) and stored_runs.find_first_saved(asked.view, job) is None:
        return Page(template="changes.html", values={"job": job, "span": None}, json=listed(()))
    span = time_range.find_time_range(
        asked.view, job, since=since, until=until, from_run=first, to_run=last, now=asked.now
    )
    under = _directory(asked, job)
    counts = contents.count_changes(asked.view, job.job_id, *span.positions, under)
    total = rollup.sum_changes(counts)
    if kind is not None:
        counts = [rollup.keep_kind(count, ChangeKind(kind)) for count in counts if getattr(count, kind)]
    values: dict[str, Any] = {
        "job": job,
        "span": span,
        # Before the first run there is no state with a number.
        "link": partial(
            links.query,
            from_=span.before and span.before.run_id,
            to=span.after.run_id,
            since=None if span.before else since,
            kind=kind,
            by=asked.text("by"),
        ),
        "under": under,
        "parents": _parents(under),
        "kind": kind,
        "kinds": ChangeKind,
        "counts": total,
        "by_directory": by_directory,
        "before": span.before,
        "is_of_one_run": span.before == stored_runs.find_saved_before(asked.view, job, span.after),
        "next": stored_runs.find_saved_after(asked.view, job, span.after),
    }
    after = asked.path("after")
    if by_directory:
        states = [contents.count_directories(asked.view, job.job_id, at, under) for at in span.positions]
        moves = rollup.compare_directories(states[0], states[1], counts, _depth(under) + 1)
        rest = [move for move in moves if after is None or move.path > after]
        values |= {"moves": rest[:_ROWS], "more": rest[_ROWS - 1].path if len(rest) > _ROWS else None}
        return Page(template="changes.html", values=values, json=listed(map(rendering.move_record, moves)))

    def find(within: list[bytes] | None = None) -> Iterator[Change]:
        found = contents.list_changes(asked.view, job.job_id, *span.positions, under, within=within)
        return (change for change in found if kind is None or change.kind == kind)

    groups, more = _group(counts, find, after)
    values |= {"groups": groups, "more": more}
    return Page(template="changes.html", values=values, json=listed(map(records.change_record, find())))


def _group(
    counts: list[ChangeCount], find: Callable[[list[bytes]], Iterable[Change]], after: bytes | None
) -> tuple[list[tuple[bytes, list[Change]]], bytes | None]:
    """Return the changes after a path by directory, and the path of the last if there are more."""
    directory, _, name = (after or b"").rpartition(b"/")
    within: list[bytes] = []
    left = counts if after is None else [count for count in counts if count.path >= directory]
    n_found = 0
    for count in left:
        if n_found > _ROWS:
            break
        within.append(count.path)
        # Of the first directory, most may have been shown.
        n_found += 0 if count.path == directory and name else count.added + count.removed + count.modified
    found = sorted(find(within), key=lambda change: _place(change.path))
    if after is not None:
        found = [change for change in found if _place(change.path) > (directory, name)]
    shown = found[:_ROWS]
    groups = [(path, list(group)) for path, group in groupby(shown, lambda change: _place(change.path)[0])]
    return groups, shown[-1].path if len(found) > _ROWS else None


def _place(path: bytes) -> tuple[bytes, bytes]:
    directory, _, name = path.rpartition(b"/")
    return directory, name


def _course(states: list[SavedState], shown: int) -> str:
    """Draw how many files changed at each notch of the slider."""
    # The first run adds everything, which would leave nothing to see of the others.
    most = log1p(max((state.changes for state in states[1:]), default=0)) or 1.0
    last = max(len(states) - 1, 1)
    width = min(0.8, last / 50)
    bars = []
    for number, state in enumerate(states):
        height = min(20.0, 20 * log1p(state.changes) / most) if state.changes else 0.5
        mark = "now" if state.run_id == shown else None
        bars.append(
            element(
                "rect", x=f"{number - width / 2:.3g}", y=20 - height, width=f"{width:.3g}", height=height, class_=mark
            )
        )
    return picture(last, 20, "Changes at each run", bars, class_="course", preserveAspectRatio="none")


def _directory(asked: Asked, job: Job) -> bytes:
    """Return the directory that the query names; empty for the root."""
    path = asked.path("under")
    return time_range.find_directory(asked.view, job, os.fsdecode(path)) if path else b""


def _depth(under: bytes) -> int:
    return under.count(b"/") + 1 if under else 0


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _parents(path: bytes) -> list[tuple[bytes, bytes]]:
    """List the names and paths of the directories above a path, and of itself."""
    names = path.split(b"/") if path else []
    return [(name, b"/".join(names[: number + 1])) for number, name in enumerate(names)]
