"""The record of a database's daemon: its process and its heartbeat."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, insert, select, update

from runner.history.database import Database, Reader
from runner.history.tables import daemons
from runner.measure.environment import is_alive
from runner.model.runs import Owner

# The heartbeat is due every ten seconds, but delayed while another program locks the database.
_SILENT_S = 60.0


class DaemonState(StrEnum):
    """The liveness of a daemon, as seen from another process."""

    ALIVE = "alive"
    SILENT = "silent"
    STOPPED = "stopped"
    DIED = "died"


@dataclass(frozen=True, kw_only=True, slots=True)
class DaemonRecord:
    """The running daemon, or the last one; ``stopped_at`` is None if it runs or died."""

    owner: Owner
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None


def state_of(daemon: DaemonRecord, now: datetime) -> DaemonState:
    """Return the liveness of a daemon; silent means that its process lives, or is on another machine."""
    if daemon.stopped_at is not None:
        return DaemonState.STOPPED
    if not is_alive(daemon.owner):
        return DaemonState.DIED
    silent = (now - daemon.heartbeat_at).total_seconds() > _SILENT_S
    return DaemonState.SILENT if silent else DaemonState.ALIVE


def record_daemon(database: Database, owner: Owner, now: datetime) -> None:
    """Record the start of a daemon."""
    with database.write() as connection:
        connection.execute(delete(daemons))
        connection.execute(insert(daemons).values(id=1, started_at=now, heartbeat_at=now, **_owner_values(owner)))


def record_heartbeat(database: Database, owner: Owner, now: datetime, *, stopped: bool = False) -> None:
    """Record a heartbeat, or the stop; nothing if another daemon has replaced it."""
    own = update(daemons).filter_by(**_owner_values(owner))
    with database.write() as connection:
        connection.execute(own.values(heartbeat_at=now, stopped_at=now if stopped else None))


def find_daemon(database: Reader) -> DaemonRecord | None:
    """Find the daemon of this database, or the last one."""
    with database.read() as connection:
        row = connection.execute(select(daemons)).first()
    if row is None:
        return None
    return DaemonRecord(
        owner=Owner(host=row.host, boot=row.boot, pid=row.pid, started_s=row.process_started_s),
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        stopped_at=row.stopped_at,
    )


def is_any_alive(database: Reader, now: datetime) -> bool:
    """Return whether a daemon is alive."""
    daemon = find_daemon(database)
    return daemon is not None and state_of(daemon, now) is DaemonState.ALIVE


def _owner_values(owner: Owner) -> dict[str, Any]:
    return {"host": owner.host, "boot": owner.boot, "pid": owner.pid, "process_started_s": owner.started_s}
