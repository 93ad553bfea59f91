"""Looking after the database: is it sound, how large is it, and giving back what it no longer needs."""

from pathlib import Path

from sqlalchemy import and_, func, or_, select

from runner.history.database import Database, Reader
from runner.history.tables import directories, files, problems
from runner.model.errors import DatabaseUnusable
from runner.model.units import format_count


def size_bytes(database: Reader) -> int:
    """Tell how large the database is."""
    with database.read() as connection:
        return database.location.size_bytes(connection)


def find_blocker(database: Reader, daemon_pid: int) -> str | None:
    """Find who keeps a daemon from starting runs by a lock; a line about it, or None."""
    with database.read() as connection:
        return database.location.find_blocker(connection, daemon_pid)


def compact(database: Database) -> str | None:
    """Give the room that was freed back to the file system; others wait meanwhile.

    Returns:
        Who kept it from that by reading; None if nobody did.

    Raises:
        HistoryError: If the database is locked for too long.
    """
    database.location.refuse_writing()
    with database.explaining():
        if database.location.compact(database.engine):
            return None
        return ", ".join(database.location.find_readers(database.engine)) or "another program"


def trim(database: Database) -> None:
    """Give back what the log of changes takes beyond its bounds, unless others use it now."""
    with database.explaining():
        database.location.trim(database.engine)


def copy_database(database: Database, target: Path) -> None:
    """Copy a database in use, consistently, into a file that does not exist yet.

    Raises:
        DatabaseUnusable: If *target* names no file, there is something there already, it can't be written, or a server
            is to make the copy.
    """
    if not target.name:  # as of a path that is empty, of . and of /
        raise DatabaseUnusable(f"{str(target)!r} names no file; give the backup a name, such as copy.db")
    with database.explaining():
        database.location.copy(database.engine, target)


def find_faults(database: Reader) -> list[str]:
    """Look for damage, and for what no run could have written; one line for each fault, at most twenty of a kind."""
    with database.read() as connection:
        faults = database.location.find_damage(connection)
        for table, name in ((files, "file"), (problems, "problem")):
            reversed_ = select(func.count()).where(table.c.gone_run_id <= table.c.first_run_id)
            if count := connection.execute(reversed_).scalar_one():
                ends = format_count(
                    count, f"{name} interval ends before it begins", f"{name} intervals end before they begin"
                )
                faults.append(ends)
        other = files.alias()
        overlapping = (
            select(func.count())
            .select_from(files)
            .join(
                other,
                and_(
                    files.c.folder_id == other.c.folder_id,
                    files.c.name == other.c.name,
                    files.c.first_run_id < other.c.first_run_id,
                ),
            )
            .where(or_(files.c.gone_run_id.is_(None), files.c.gone_run_id > other.c.first_run_id))
        )
        if count := connection.execute(overlapping).scalar_one():
            faults.append(
                format_count(count, "file interval overlaps", "file intervals overlap") + " another of the same file"
            )
        strays = select(func.count()).select_from(files).join(directories).where(files.c.job_id != directories.c.job_id)
        if count := connection.execute(strays).scalar_one():
            faults.append(format_count(count, "file is", "files are") + " filed under another job than their folder")
    return faults
