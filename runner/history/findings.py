"""What was found, saved as intervals of runs in proportion to what changed."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from runner.history.database import Backend
from runner.history.rows import STAT_COLUMNS, read_stat, stat_values
from runner.history.tables import directories, files, jobs, problems
from runner.model.runs import Problem
from runner.scan.found import lies_in
from runner.scan.part import unpack_stats
from runner.scan.snapshot import Listing, Snapshot, found_names

# More folders than this at once are looked up by reading all of the job's files.
_FEW = 500
_PART = 10_000

# Size in bytes and modification time in nanoseconds; None where not known.
_Stat = tuple[int | None, int | None]


@dataclass(slots=True)
class Tally:
    """How many files changed.

    Attributes:
        added: There now and not before.
        removed: There before and not now.
        modified: There both times with another size or modification time.
    """

    added: int = 0
    removed: int = 0
    modified: int = 0


class _KnownFolder(NamedTuple):
    folder_id: int
    path: bytes
    digest: bytes


# A folder as it was, the digest of what it holds now, and what that is.
_ChangedFolder = tuple[_KnownFolder, bytes, dict[bytes, _Stat]]


def record_findings(location: Backend, connection: Connection, job_id: int, run_id: int, snapshot: Snapshot) -> Tally:
    """Save what a run found, within the caller's transaction.

    Folders whose findings have the digest that is stored are passed over. What lies in a folder that could not be
    read is unknown, so its intervals go on. A snapshot that equals the last one saved is recognised as a whole.
    """
    whole = snapshot.digest
    if whole == connection.execute(select(jobs.c.findings_digest).where(jobs.c.id == job_id)).scalar():
        return Tally()
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(findings_digest=whole))
    changed, new = _compare_folders(_load_folders(connection, job_id), snapshot)
    _record_problems(connection, job_id, run_id, snapshot.problems)
    tally = Tally()
    inserted: list[tuple[Any, ...]] = []
    if new:
        _add_new_folders(location, connection, job_id, run_id, new, inserted)
    tally.added += len(inserted)
    ended: list[tuple[int, bytes, int, int]] = []
    before = _load_files(connection, job_id, [folder.folder_id for folder, _, _ in changed])
    for folder, _, now in changed:
        _compare(folder, before.get(folder.folder_id, {}), now, job_id, run_id, tally, inserted, ended)
    if ended:
        location.update_many(connection, tuple(files.primary_key), (files.c.gone_run_id,), ended)
    if inserted:
        location.insert_many(connection, tuple(files.c), inserted)
    if changed:
        digests = [(folder.folder_id, digest) for folder, digest, _ in changed]
        location.update_many(connection, (directories.c.id,), (directories.c.findings_digest,), digests)
    return tally


def _load_folders(connection: Connection, job_id: int) -> dict[bytes, _KnownFolder]:
    query = select(directories.c.id, directories.c.path, directories.c.findings_digest).where(
        directories.c.job_id == job_id
    )
    # All at once: row by row costs three times as much, which for an unchanged run is most of what it costs.
    return {row[1]: _KnownFolder._make(row) for row in connection.execute(query).all()}


def _load_files(
    connection: Connection, job_id: int, folder_ids: list[int]
) -> dict[int, dict[bytes, tuple[int, _Stat]]]:
    """Load the files that are still there in some folders: by folder and name, first run and stat."""
    key = (files.c.folder_id, files.c.name, files.c.first_run_id)
    query = select(*key, *STAT_COLUMNS).where(files.c.job_id == job_id, files.c.gone_run_id.is_(None))
    if len(folder_ids) <= _FEW:
        query = query.where(files.c.folder_id.in_(folder_ids))
    wanted = set(folder_ids)
    by_folder: dict[int, dict[bytes, tuple[int, _Stat]]] = {}
    if wanted:
        # In parts: row by row costs twice as much, and all at once twice the memory.
        for part in connection.execute(query).partitions(_PART):
            for folder_id, name, first_run_id, *stat in part:
                if folder_id in wanted:
                    by_folder.setdefault(folder_id, {})[name] = (first_run_id, read_stat(*stat))
    return by_folder


def _compare_folders(
    known: dict[bytes, _KnownFolder], snapshot: Snapshot
) -> tuple[list[_ChangedFolder], list[tuple[Listing, bytes]]]:
    """Tell which known folders hold something else now, and which ones are found in for the first time."""
    changed: list[_ChangedFolder] = []
    new: list[tuple[Listing, bytes]] = []
    found_in = set()
    for listing in snapshot.listings:
        found_in.add(listing.path)
        folder = known.get(listing.path)
        digest = _digest_findings(listing)
        if folder is None:
            new.append((listing, digest))
        elif digest != folder.digest:
            changed.append((folder, digest, dict(zip(found_names(listing.names), _stats(listing), strict=True))))
    unreadable = {problem.path for problem in snapshot.problems}
    for path, folder in known.items():
        if path not in found_in and folder.digest and not lies_in(path, unreadable):
            changed.append((folder, b"", {}))
    return changed, new


def _compare(
    folder: _KnownFolder,
    before: dict[bytes, tuple[int, _Stat]],
    now: dict[bytes, _Stat],
    job_id: int,
    run_id: int,
    tally: Tally,
    inserted: list[tuple[Any, ...]],
    ended: list[tuple[int, bytes, int, int]],
) -> None:
    """Compare a folder's files with what is stored; appends the intervals that begin and those that end."""
    for name, (first_run_id, old) in before.items():
        new = now.get(name)
        if new is None:
            tally.removed += 1
        elif new in {old, (None, None)}:  # not looked at now: nothing is known to have changed
            continue
        elif old != (None, None):
            tally.modified += 1
        ended.append((folder.folder_id, name, first_run_id, run_id))
        if new is not None:
            inserted.append((folder.folder_id, name, run_id, None, job_id, *stat_values(new)))
    for name, new in now.items():
        if name not in before:
            tally.added += 1
            inserted.append((folder.folder_id, name, run_id, None, job_id, *stat_values(new)))


def _add_new_folders(
    location: Backend,
    connection: Connection,
    job_id: int,
    run_id: int,
    new: list[tuple[Listing, bytes]],
    inserted: list[tuple[Any, ...]],
) -> None:
    """Insert folders in which something is found for the first time; appends their files."""
    rows = [(job_id, listing.path, digest_path(listing.path), digest) for listing, digest in new]
    columns = (directories.c.job_id, directories.c.path, directories.c.path_digest, directories.c.findings_digest)
    location.insert_many(connection, columns, rows)
    known = _load_folders(connection, job_id)
    for listing, _ in new:
        folder_id = known[listing.path].folder_id
        for name, stat in zip(found_names(listing.names), _stats(listing), strict=True):
            inserted.append((folder_id, name, run_id, None, job_id, *stat_values(stat)))


def _record_problems(connection: Connection, job_id: int, run_id: int, now: Iterable[Problem]) -> None:
    query = select(problems).where(problems.c.job_id == job_id, problems.c.gone_run_id.is_(None))
    before = {Problem(path=row.path, errno=row.errno, text=row.text): row.id for row in connection.execute(query)}
    current = set(now)
    gone = [{"problem": before[problem]} for problem in before if problem not in current]
    if gone:
        connection.execute(
            update(problems).where(problems.c.id == bindparam("problem")).values(gone_run_id=run_id), gone
        )
    fresh = [
        {"job_id": job_id, "path": one.path, "errno": one.errno, "text": one.text, "first_run_id": run_id}
        for one in current
        if one not in before
    ]
    if fresh:
        connection.execute(insert(problems), fresh)


def _stats(listing: Listing) -> Iterable[_Stat]:
    if listing.stats:
        return unpack_stats(listing.stats)
    return [(None, None)] * len(found_names(listing.names))


def _digest_findings(listing: Listing) -> bytes:
    # No name holds two NULs in a row, so the parts can't run into each other.
    return blake2b(listing.names + b"\0\0" + listing.stats, digest_size=16).digest()


def digest_path(path: bytes) -> bytes:
    """Digest a path, which may be longer than an index entry."""
    return blake2b(path, digest_size=16).digest()
