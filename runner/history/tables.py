"""The tables of the newest schema.

A found file is an interval of runs: ``first_run_id`` is the first run that found this state, ``gone_run_id`` the first
that no longer did, NULL while the state is current. Problems are intervals too. A run without changes adds only its
own row and its executions. The bounds of intervals are not foreign keys, because pruning may delete those runs.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
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
    func,
    literal_column,
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
    """An aware UTC instant; in SQLite sortable text without a zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value that the database stores."""
        utc = value and value.astimezone(UTC)
        return utc.replace(tzinfo=None) if utc and dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the aware instant of a stored value."""
        return value and (value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC))


# SQLite generates numbers only for a column whose type is exactly INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")


def _number() -> Column[Any]:
    return Column("id", Number, primary_key=True, autoincrement=True)


def _owner() -> list[Column[Any]]:
    """Return the columns of the process that executes a run or a calibration: all four are set, or none."""
    columns: dict[str, Any] = {"host": Text, "boot": Text, "pid": Integer, "started_s": Float}
    return [Column(f"owner_{name}", type_) for name, type_ in columns.items()]


def _metrics(*, nullable: bool) -> list[Column[Any]]:
    """Return the columns of the measurements of one execution."""
    types: dict[str, Any] = dict.fromkeys(("wall_s", "startup_s", "user_s", "system_s"), Float)
    types |= {"max_rss_bytes": Number, "cache": String(8), "files": Number, "directories": Number, "entries": Number}
    return [Column(name, type_, nullable=nullable) for name, type_ in types.items()]


def _add_partial_index(name: str, *columns: Column[Any], where: ColumnElement[bool], unique: bool = False) -> None:
    # Without postgresql_where, which imports that dialect; only migrations create indexes.
    Index(name, *columns, unique=unique, sqlite_where=where)


state = Table(
    "state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # Incremented by every change to a job, so that the daemon detects changes with one cheap query.
    Column("jobs_revision", Number, nullable=False),
    CheckConstraint("id = 1", name="single_row"),
)

# The running daemon of this database, or the last one.
daemons = Table(
    "daemons",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False) for name in ("host", "boot")),
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
    # Many patterns exceed an index entry of PostgreSQL; there the single writer keeps the rows unique.
    UniqueConstraint(
        *("patterns", "excludes", "ignore_case", "track", "one_file_system"),
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
    Column("interval_origin", Instant),
    Column("catchup", String(8), nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("schedule_start", Instant, nullable=False),
    Column("removed_at", Instant),
    # The digest of the findings and problems of the last saved run; an equal digest means that nothing changed.
    Column("findings_digest", LargeBinary(16)),
    Column("full_every_s", Integer, nullable=False, server_default=text("86400")),
    Column("retries", Integer, nullable=False, server_default=text("0")),
    Column("retry_delay_s", Integer, nullable=False, server_default=text("60")),
    Column("notify", Text, nullable=False, server_default=text("'[]'")),  # JSON array of event and arguments
    # Every fire time up to this instant has a row in firings or runs; NULL before the first.
    Column("recorded_until", Instant),
    # The mount points at and below the root in the last saved run, relative, joined by NUL; NULL for none.
    Column("mounts", LargeBinary),
    Column("tags", Text, nullable=False, server_default=text("'[]'")),  # JSON array
    sqlite_autoincrement=True,
)
_add_partial_index("uq_jobs_name", jobs.c.name, where=jobs.c.removed_at.is_(None), unique=True)

environments = Table(
    "environments",
    metadata,
    _number(),
    *(Column(name, Text, nullable=False) for name in ("host", "system", "machine", "python")),
    Column("cpus", Integer, nullable=False),
    Column("start_method", String(16), nullable=False),
    Column("workers", Integer, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("filesystem", "runner_version")),
    UniqueConstraint(
        *("host", "system", "machine", "python", "cpus", "start_method", "workers", "filesystem", "runner_version"),
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
    *(Column(name, Number) for name in ("files", "directories", "added", "removed", "modified")),
    *(Column(name, Number, nullable=False, server_default=text("0")) for name in ("problems", "differences", "missed")),
    Column("message", Text),
    *_owner(),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    Column("lateness_s", Float),  # from the fire time to the start; NULL for manual runs and retries
    Column("cancel_requested_at", Instant),
    sqlite_autoincrement=True,
)
Index("ix_runs_job", runs.c.job_id, runs.c.id)
# The database guarantees that a job has at most one running run.
# Queries for it have exactly this condition, and those for unsuccessful runs the next one.
IS_RUNNING = runs.c.status == text("'running'")
_add_partial_index("uq_runs_running", runs.c.job_id, where=IS_RUNNING, unique=True)
UNSUCCESSFUL = runs.c.status != text("'succeeded'")
_add_partial_index("ix_runs_unsuccessful", runs.c.id, where=UNSUCCESSFUL)

# Runs that are due. A row moves to runs in one transaction, when its run begins, or when it is skipped or missed.
firings = Table(
    "firings",
    metadata,
    _number(),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("cause", String(8), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("retry_of", ForeignKey(runs.c.id, ondelete="CASCADE")),
    UniqueConstraint("job_id", "due_at", "cause", "attempt"),
    sqlite_autoincrement=True,
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
    *_metrics(nullable=True),
    Column("message", Text),
    sqlite_with_rowid=False,
)

# Commands that were started on an event of a run.
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
    Column("finished_at", Instant),  # also NULL if it was stopped
    *_owner(),
    sqlite_autoincrement=True,
)
_add_partial_index("ix_calibrations_going_on", calibrations.c.owner_pid, where=calibrations.c.owner_pid.is_not(None))

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
    Column("path", LargeBinary, nullable=False),  # relative to the calibration's root
    *_metrics(nullable=False),
    sqlite_with_rowid=False,
)

# Accepted levels of timings.
acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id), primary_key=True),
    Column("environment_id", ForeignKey(environments.c.id), primary_key=True),
    Column("strategy", Text, primary_key=True),
    Column("metric", String(24), primary_key=True),
    Column("run_id", Number, nullable=False),  # the last run at that time; remains when that run is pruned
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

# Directories in which a file was ever found.
directories = Table(
    "folders",
    metadata,
    _number(),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False),
    Column("path", LargeBinary, nullable=False),
    # A path may be longer than an index entry.
    Column("path_digest", LargeBinary(16), nullable=False),
    # The digest of the current findings; empty if there are none.
    Column("findings_digest", LargeBinary(16), nullable=False),
    UniqueConstraint("job_id", "path_digest"),
)
# Queries for directories by path have exactly this expression, and order by it first.
PATH_START_BYTES = 256
PATH_START = func.substr(directories.c.path, literal_column("1"), literal_column(str(PATH_START_BYTES)))
Index("ix_folders_path", directories.c.job_id, PATH_START)

files = Table(
    "files",
    metadata,
    Column("folder_id", ForeignKey(directories.c.id), primary_key=True),
    Column("name", LargeBinary, primary_key=True),
    Column("first_run_id", Number, primary_key=True, autoincrement=False),
    Column("gone_run_id", Number),
    Column("job_id", Number, nullable=False),  # copied from the directory: a job's changes are one index range
    Column("size_bytes", BigInteger),
    # For a time beyond 64 bits the nearest that fits; mtime_exact then has all its digits.
    Column("mtime_ns", BigInteger),
    Column("mtime_exact", Text),
    Index("ix_files_first", "job_id", "first_run_id"),
    sqlite_with_rowid=False,
)
_add_partial_index("ix_files_gone", files.c.job_id, files.c.gone_run_id, where=files.c.gone_run_id.is_not(None))
