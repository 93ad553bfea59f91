"""The findings of a run written in short transactions, between which others can write.

They are rows of ``files`` that begin or end with the number of a run that is still running, where no query looks for
them. The transaction that ends the run publishes them. Before, the job has no digest, and they can be deleted again.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import TypeVar

from sqlalchemy import Connection, Select, bindparam, delete, exists, func, insert, select, update

from runner.history.database import Database
from runner.history.findings import Change, ChangeCounts, digest_path, find_changes
from runner.history.locks import POLL_S
from runner.history.rows import STAT_COLUMNS, owner_columns
from runner.history.tables import directories, files, jobs, problems, runs
from runner.model.errors import RunnerError
from runner.model.runs import Problem, Status
from runner.scan.snapshot import Snapshot

# How many rows a transaction writes, in a tenth of a second.
MAX_ROWS = 20_000
# How long others find the database unlocked after a transaction, at least.
_PAUSE_S = 1.5 * POLL_S
# Stored where the findings of a directory are not those of its digest any more.
_NO_DIGEST = b"?"

_BEGUN = ("name", *(column.name for column in STAT_COLUMNS), "folder_id", "first_run_id", "job_id")
_T = TypeVar("_T")


class RunTaken(RunnerError):
    """Another process has recorded the end of the run, or is about to."""


@dataclass(kw_only=True, slots=True)
class RunWriter:
    """The transactions that save a run, or delete what an interrupted save of it has written.

    Attributes:
        database: The history.
        run_id: The run.
        by_owner: Whether this process executes the run. Otherwise it takes the run from the one that did.
        on_written: Called after each transaction that publishes nothing; an error ends the work.
        max_rows: How many rows a transaction writes.
    """

    database: Database
    run_id: int
    by_owner: bool
    on_written: Callable[[], object]
    max_rows: int
    _resume_s: float = 0.0

    @contextmanager
    def write(self) -> Iterator[tuple[Connection, int, bytes | None]]:
        """Yield a writing transaction, and the number and the digest of the run's job.

        Raises:
            RunTaken: If the run has ended or is no longer this process's.
        """
        time.sleep(max(0.0, self._resume_s - time.monotonic()))
        running = runs.c.id == self.run_id, runs.c.status == Status.RUNNING.value
        owned = [runs.c.owner_pid.is_not(None)] if self.by_owner else []
        query = select(jobs.c.id, jobs.c.findings_digest).join(runs).where(*running, *owned)
        with self.database.write() as connection:
            job = connection.execute(query).first()
            if job is None:
                raise RunTaken(self.run_id)
            yield connection, job.id, job.findings_digest

    def has_written(self, connection: Connection, job_id: int) -> bool:
        """Return whether an interrupted save has written anything."""
        return any(connection.execute(query.limit(1)).first() for query in self._written_by(job_id))

    def discard(self, job_id: int) -> None:
        """Delete what an interrupted save has written."""
        if not self.by_owner:
            with self.write() as (connection, *_):  # so that the owner, which may be alive, writes no more
                connection.execute(update(runs).where(runs.c.id == self.run_id).values(owner_columns(None)))
        rows: Counter[int] = Counter()
        with self.database.read() as connection:
            for query in self._written_by(job_id):
                counted = query.add_columns(func.count()).group_by(files.c.folder_id)
                rows.update(dict(connection.execute(counted).all()))
        for chunk in self._split(sorted(rows.items()), lambda item: item[1]):
            with self.write() as (connection, *_):
                self._discard_from(connection, [directory_id for directory_id, _ in chunk])
            self._pause()

    def _discard_from(self, connection: Connection, directory_ids: Sequence[int]) -> None:
        of_file, of_directory = files.c.folder_id.in_(directory_ids), directories.c.id.in_(directory_ids)
        connection.execute(delete(files).where(of_file, files.c.first_run_id == self.run_id))
        ended = update(files).where(of_file, files.c.gone_run_id == self.run_id)
        connection.execute(ended.values(gone_run_id=None))
        has_files = exists().where(files.c.folder_id == directories.c.id)
        connection.execute(delete(directories).where(of_directory, ~has_files))
        connection.execute(update(directories).where(of_directory).values(findings_digest=_NO_DIGEST))

    def save(self, job_id: int, snapshot: Snapshot, counts: ChangeCounts) -> list[Change]:
        """Write what changed except for the last chunk, which is returned; add the numbers of changes to *counts*."""
        last: list[Change] = []
        changes = find_changes(self.database, job_id, snapshot, counts, self.max_rows)
        for chunk in self._split(changes, lambda change: change.rows):
            if last:
                with self.write() as (connection, _, digest):
                    self._write(connection, job_id, last)
                    if digest is not None:
                        connection.execute(update(jobs).where(jobs.c.id == job_id).values(findings_digest=None))
                self._pause()
            last = chunk
        return last

    def publish(self, connection: Connection, job_id: int, last: Sequence[Change], snapshot: Snapshot) -> None:
        """Write the last chunk and the problems, in the transaction that ends the run."""
        self._write(connection, job_id, last)
        current = {Problem(path=path, errno=number, text=text) for path, number, text in snapshot.problems}
        _record_problems(connection, job_id, self.run_id, current)
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(findings_digest=snapshot.digest))

    def _write(self, connection: Connection, job_id: int, chunk: Sequence[Change]) -> None:
        location = self.database.location
        touched = {change.directory.path: change.directory for change in chunk}
        digests = [(one.digest, one.directory_id) for one in touched.values() if one.directory_id is not None]
        new = [one for one in touched.values() if one.directory_id is None]
        if digests:
            location.update_many(connection, directories, "findings_digest", ["id"], digests)
        if new:
            newest = connection.execute(select(func.max(directories.c.id))).scalar() or 0
            columns = ("job_id", "path", "path_digest", "findings_digest")
            rows = [(job_id, one.path, digest_path(one.path), one.digest) for one in new]
            location.insert_many(connection, directories, columns, rows)
            inserted = select(directories.c.path, directories.c.id).where(directories.c.id > newest)
            for path, directory_id in connection.execute(inserted).all():
                touched[path].directory_id = directory_id
        # Rows in the order of the primary key are written in half the time.
        by_id = sorted(((one.directory.directory_id, one) for one in chunk), key=itemgetter(0))
        ended = [(self.run_id, number, *interval) for number, one in by_id for interval in one.ended]
        if ended:
            location.update_many(connection, files, "gone_run_id", ["folder_id", "name", "first_run_id"], ended)
        begun = [row + end for number, one in by_id for end in [(number, self.run_id, job_id)] for row in one.begun]
        if begun:
            location.insert_many(connection, files, _BEGUN, begun)

    def _written_by(self, job_id: int) -> list[Select[tuple[int]]]:
        """Return queries for the directories of the intervals that the run begins and ends."""
        own = (column == self.run_id for column in (files.c.first_run_id, files.c.gone_run_id))
        return [select(files.c.folder_id).where(files.c.job_id == job_id, bound) for bound in own]

    def _split(self, items: Iterable[_T], rows: Callable[[_T], int]) -> Iterator[list[_T]]:
        """Yield the items in chunks for one transaction each."""
        chunk: list[_T] = []
        n_rows = 0
        for item in items:
            if chunk and n_rows + rows(item) > self.max_rows:
                yield chunk
                chunk, n_rows = [], 0
            chunk.append(item)
            n_rows += rows(item)
        if chunk:
            yield chunk

    def _pause(self) -> None:
        self._resume_s = time.monotonic() + _PAUSE_S
        self.on_written()


def _record_problems(connection: Connection, job_id: int, run_id: int, current: set[Problem]) -> None:
    query = select(problems).where(problems.c.job_id == job_id, problems.c.gone_run_id.is_(None))
    before = {Problem(path=row.path, errno=row.errno, text=row.text): row.id for row in connection.execute(query)}
    ended = [{"problem": before[problem]} for problem in before.keys() - current]
    if ended:
        by_id = update(problems).where(problems.c.id == bindparam("problem"))
        connection.execute(by_id.values(gone_run_id=run_id), ended)
    begun = [{"job_id": job_id, **asdict(one), "first_run_id": run_id} for one in current - before.keys()]
    if begun:
        connection.execute(insert(problems), begun)
