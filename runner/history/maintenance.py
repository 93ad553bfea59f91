"""Maintenance of the database: size, checks, compaction and backups."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Select, func, or_, select

from runner.history.backup import copy_file
from runner.history.database import Database, Reader
from runner.history.postgresql import PostgresqlDatabase
from runner.history.tables import directories, files, problems, runs
from runner.model.errors import DatabaseUnusable
from runner.model.runs import Status
from runner.model.units import format_count


def size_bytes(database: Reader) -> int:
    """Return the size of the database."""
    with database.read() as connection:
        return database.location.size_bytes(connection)


def find_blocker(database: Reader, daemon_pid: int) -> str | None:
    """Find the process whose lock prevents a daemon from starting runs; return one line, or None."""
    with database.read() as connection:
        return database.location.find_blocker(connection, daemon_pid)


def compact(database: Database) -> str | None:
    """Return freed space to the file system while others wait; return the readers that prevent it, or None."""
    database.location.refuse_writing()
    with database.translate_errors():
        return database.location.compact(database.engine)


def trim(database: Database) -> None:
    """Truncate an oversized write-ahead log, unless others use it now."""
    with database.translate_errors():
        database.location.trim(database.engine)


def copy_database(database: Database, target: Path) -> None:
    """Copy a database in use into a new file; raise DatabaseUnusable if that is impossible."""
    if not target.name:  # an empty path, . or /
        raise DatabaseUnusable(f"{str(target)!r} names no file; give the backup a name, such as copy.db")
    location = database.location
    if isinstance(location, PostgresqlDatabase):
        raise DatabaseUnusable(f"a PostgreSQL database is copied by its own tool: pg_dump --file=FILE '{location}'")
    with database.translate_errors():
        copy_file(database.engine, target)


def find_faults(database: Reader) -> list[str]:
    """List damage, and rows that no run could have written: one line for each kind of fault, at most twenty damages."""
    with database.read() as connection:
        faults = database.location.find_damage(connection)
        for query, one, many, rest in _impossible_rows():
            if count := connection.execute(query).scalar_one():
                faults.append(format_count(count, one, many) + rest)
    return faults


def _impossible_rows() -> Iterator[tuple[Select[int], str, str, str]]:
    """Yield queries that count impossible rows, with the message: singular, plural and the rest."""
    for table, name in ((files, "file"), (problems, "problem")):
        reversed_ = select(func.count()).where(table.c.gone_run_id <= table.c.first_run_id)
        yield reversed_, f"{name} interval ends before it begins", f"{name} intervals end before they begin", ""
        unsaved = select(runs.c.id).where(runs.c.files.is_(None), runs.c.status != Status.RUNNING.value)
        left = select(func.count()).where(or_(table.c.first_run_id.in_(unsaved), table.c.gone_run_id.in_(unsaved)))
        yield left, f"{name} interval belongs", f"{name} intervals belong", " to a run that has saved nothing"
    other = files.alias()
    same_file = (files.c.folder_id == other.c.folder_id) & (files.c.name == other.c.name)
    later = same_file & (files.c.first_run_id < other.c.first_run_id)
    overlapping = or_(files.c.gone_run_id.is_(None), files.c.gone_run_id > other.c.first_run_id)
    query = select(func.count()).select_from(files).join(other, later).where(overlapping)
    yield query, "file interval overlaps", "file intervals overlap", " another of the same file"
    query = select(func.count()).select_from(files).join(directories).where(files.c.job_id != directories.c.job_id)
    yield query, "file is", "files are", " filed under another job than their directory"
