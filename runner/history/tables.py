"""The tables, as the newest migration leaves them.

A found file is an interval of runs: ``first_run_id`` saw it so first, ``gone_run_id`` no longer did; NULL while it is
still there. Problems are kept in the same way, so that a run in which nothing changed adds its own row and those of
its executions and nothing else. Bounds of intervals are not foreign keys: they are positions in a job's sequence of
runs and stay meaningful when the runs themselves are pruned.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant; SQLite keeps it as text without a zone, which sorts and reads as a time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware instant into what the database keeps."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn what the database keeps into an aware instant."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


# SQLite numbers rows by itself only in a column that is exactly INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")


def _number() -> Column[Any]:
    return Column("id", Number, primary_key=True, autoincrement=True)


state = Table(
    "state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # Raised by every change to a job, so that a daemon sees with one cheap query that there is something to follow.
    Column("jobs_revision", Number, nullable=False),
    CheckConstraint("id = 1", name="single_row"),
)

# The daemon of this database: the one that runs, or the last one that did.
daemons = Table(
    "daemons",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("host", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started_s", Float, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("heartbeat_at", Instant, nullable=False),
    Column("stopped_at", Instant),
    CheckConstraint("id = 1", name="single_row"),
)

selections = Table(
    "selections",
    metadata,
    _number(),
    Column("patterns", Text, nullable=False),  # JSON arrays; undecodable bytes as escaped surrogates
    Column("excludes", Text, nullable=False),
    Column("ignore_case", Boolean, nullable=False),
    Column("track", String(8), nullable=False),
    Column("one_file_system", Boolean, nullable=False),
    # An index entry of PostgreSQL's has no room for many patterns; there the one writer at a time keeps them unique.
    UniqueConstraint(
        "patterns",
        "excludes",
        "ignore_case",
        "track",
        "one_file_system",
        name="uq_selections_all",
        info={"dialect": "sqlite"},
    ).ddl_if(dialect="sqlite"),
)

jobs = Table(
    "jobs",
    metadata,
    _number(),
    Column("name", Text, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("selection_id", ForeignKey(selections.c.id), nullable=False),
    Column("strategies", Text, nullable=False),  # JSON array
    Column("workers", Integer),
    Column("timeout_s", Integer),
    Column("schedule_kind", String(8)),
    Column("schedule_expression", Text),
    Column("schedule_timezone", Text),
    Column("schedule_jitter_s", Integer),
    Column("schedule_anchor_at", Instant),
    Column("catchup", String(8), nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("armed_at", Instant, nullable=False),
    Column("removed_at", Instant),
    # A digest of all that the last saved run found and could not read: an equal one says that nothing has changed.
    Column("findings_digest", LargeBinary(16)),
    Column("full_every_s", Integer, nullable=False, server_default=text("86400")),
    Column("retries", Integer, nullable=False, server_default=text("0")),
    Column("retry_delay_s", Integer, nullable=False, server_default=text("60")),
    Column("notify", Text, nullable=False, server_default=text("'[]'")),  # JSON array of event and arguments
    # Up to when every fire time has a record, carried out or not; NULL before a schedule's first.
    Column("accounted_at", Instant),
    # The mount points at and below the root in the last saved run, relative to it, joined by NUL; NULL for none.
    Column("mounts", LargeBinary),
    sqlite_autoincrement=True,
)
Index(
    "uq_jobs_name",
    jobs.c.name,
    unique=True,
    sqlite_where=jobs.c.removed_at.is_(None),
    postgresql_where=jobs.c.removed_at.is_(None),
)

environments = Table(
    "environments",
    metadata,
    _number(),
    Column("host", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("python", Text, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("start_method", String(16), nullable=False),
    Column("workers", Integer, nullable=False),
    Column("filesystem", Text, nullable=False),
    Column("runner_version", Text, nullable=False),
    UniqueConstraint(
        "host",
        "system",
        "machine",
        "python",
        "cpus",
        "start_method",
        "workers",
        "filesystem",
        "runner_version",
        name="uq_environments_all",
    ),
)

runs = Table(
    "runs",
    metadata,
    _number(),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False),
    Column("selection_id", ForeignKey(selections.c.id), nullable=False),
    Column("environment_id", ForeignKey(environments.c.id)),
    Column("cause", String(8), nullable=False),
    Column("status", String(16), nullable=False),
    Column("scheduled_at", Instant),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("wall_s", Float),
    Column("files", Number),
    Column("directories", Number),
    Column("added", Number),
    Column("removed", Number),
    Column("modified", Number),
    Column("problems", Number, nullable=False, server_default=text("0")),
    Column("differences", Number, nullable=False, server_default=text("0")),
    Column("missed", Number, nullable=False, server_default=text("0")),
    Column("message", Text),
    # Who carries it out; all four or none.
    Column("owner_host", Text),
    Column("owner_boot", Text),
    Column("owner_pid", Integer),
    Column("owner_started_s", Float),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    # From the fire time to the start; NULL for runs that no schedule fired, and for retries.
    Column("lateness_s", Float),
    Column("cancel_requested_at", Instant),
    # How many runs make up for a missed row, for the last of its fire times.
    Column("owed", Integer, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)
Index("ix_runs_job", runs.c.job_id, runs.c.id)
# The database, not anybody's memory, decides that a job is run once at a time.
Index(
    "uq_runs_running",
    runs.c.job_id,
    unique=True,
    sqlite_where=runs.c.status == text("'running'"),
    postgresql_where=runs.c.status == text("'running'"),
)

executions = Table(
    "executions",
    metadata,
    Column("run_id", ForeignKey(runs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("strategy", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("workers", Integer, nullable=False),
    Column("start_method", String(16)),
    Column("wall_s", Float),
    Column("startup_s", Float),
    Column("user_s", Float),
    Column("system_s", Float),
    Column("max_rss_bytes", Number),
    Column("cache", String(8)),
    Column("files", Number),
    Column("directories", Number),
    Column("entries", Number),
    Column("message", Text),
    sqlite_with_rowid=False,
)

# Commands that were told how a run ended.
notifications = Table(
    "notifications",
    metadata,
    _number(),
    Column("run_id", ForeignKey(runs.c.id, ondelete="CASCADE"), nullable=False),
    Column("event", String(16), nullable=False),
    Column("command", Text, nullable=False),  # JSON array
    Column("started_at", Instant, nullable=False),
    Column("wall_s", Float, nullable=False),
    Column("exit_code", Integer),
    Column("message", Text),
    Index("ix_notifications_run_id", "run_id"),
)

calibrations = Table(
    "calibrations",
    metadata,
    _number(),
    Column("root", LargeBinary, nullable=False),
    Column("selection_id", ForeignKey(selections.c.id), nullable=False),
    Column("environment_id", ForeignKey(environments.c.id), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),  # NULL as well for one that was stopped
    # Who carries it out; NULL once it has ended.
    Column("owner_host", Text),
    Column("owner_boot", Text),
    Column("owner_pid", Integer),
    Column("owner_started_s", Float),
    sqlite_autoincrement=True,
)
Index(
    "ix_calibrations_going_on",
    calibrations.c.owner_pid,
    sqlite_where=calibrations.c.owner_pid.is_not(None),
    postgresql_where=calibrations.c.owner_pid.is_not(None),
)

measurements = Table(
    "measurements",
    metadata,
    Column("calibration_id", ForeignKey(calibrations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("question", String(16), nullable=False),
    Column("strategy", Text, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("start_method", String(16)),
    Column("path", LargeBinary, nullable=False),  # the subtree, relative to the calibration's root
    Column("wall_s", Float, nullable=False),
    Column("startup_s", Float, nullable=False),
    Column("user_s", Float, nullable=False),
    Column("system_s", Float, nullable=False),
    Column("max_rss_bytes", Number, nullable=False),
    Column("cache", String(8), nullable=False),
    Column("files", Number, nullable=False),
    Column("directories", Number, nullable=False),
    Column("entries", Number, nullable=False),
    sqlite_with_rowid=False,
)

# Levels of timings that somebody has accepted as they were.
acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id), primary_key=True),
    Column("environment_id", ForeignKey(environments.c.id), primary_key=True),
    Column("strategy", Text, primary_key=True),
    Column("metric", String(24), primary_key=True),
    # The last run at that time; a position, which stays when that run is pruned.
    Column("run_id", Number, nullable=False),
    Column("acknowledged_at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

differences = Table(
    "differences",
    metadata,
    Column("run_id", ForeignKey(runs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("path", LargeBinary, nullable=False),
    Column("found_by", Text, nullable=False),  # JSON array of strategies
    sqlite_with_rowid=False,
)

problems = Table(
    "problems",
    metadata,
    _number(),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("errno", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("first_run_id", Number, nullable=False),
    Column("gone_run_id", Number),
    Index("ix_problems_gone", "job_id", "gone_run_id"),
)

# Only folders in which something was ever found.
folders = Table(
    "folders",
    metadata,
    _number(),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False),
    Column("path", LargeBinary, nullable=False),
    # A digest of the path: a path may be longer than an index entry.
    Column("path_digest", LargeBinary(16), nullable=False),
    # A digest of what is found there now; empty when nothing is.
    Column("findings_digest", LargeBinary(16), nullable=False),
    UniqueConstraint("job_id", "path_digest"),
)

files = Table(
    "files",
    metadata,
    Column("folder_id", ForeignKey(folders.c.id), primary_key=True),
    Column("name", LargeBinary, primary_key=True),
    Column("first_run_id", Number, primary_key=True, autoincrement=False),
    Column("gone_run_id", Number),
    Column("job_id", Number, nullable=False),  # the folder's, so that a job's changes are one range of an index
    Column("size_bytes", BigInteger),
    # Of a time that 64 bits do not hold, the nearest one that they do; mtime_exact has its nanoseconds as digits.
    Column("mtime_ns", BigInteger),
    Column("mtime_exact", Text),
    Index("ix_files_first", "job_id", "first_run_id"),
    Index("ix_files_gone", "job_id", "gone_run_id"),
    sqlite_with_rowid=False,
)
