"""Views for analysts: plain tables with their units in the names of the columns."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RUN_HISTORY = """
CREATE VIEW run_history AS
SELECT
    runs.id AS run, runs.job_id AS job_id, jobs.name AS job, jobs.root AS root, runs.cause AS cause,
    runs.status AS status, runs.scheduled_at AS scheduled_at, runs.started_at AS started_at,
    runs.finished_at AS finished_at, runs.wall_s AS wall_s, runs.files AS files, runs.directories AS directories,
    runs.added AS added, runs.removed AS removed, runs.modified AS modified, runs.problems AS problems,
    runs.differences AS differences, runs.missed AS missed, runs.message AS message,
    environments.id AS environment_id, environments.host AS host, environments.system AS system,
    environments.machine AS machine, environments.python AS python, environments.cpus AS cpus,
    environments.filesystem AS filesystem, environments.runner_version AS runner_version
FROM runs
JOIN jobs ON jobs.id = runs.job_id
LEFT JOIN environments ON environments.id = runs.environment_id
"""

EXECUTION_TIMINGS = """
CREATE VIEW execution_timings AS
SELECT
    runs.id AS run, runs.job_id AS job_id, jobs.name AS job, runs.environment_id AS environment_id,
    runs.started_at AS started_at, executions.strategy AS strategy, executions.position AS position,
    executions.status AS status, executions.workers AS workers, executions.start_method AS start_method,
    executions.cache AS cache, executions.wall_s AS wall_s, executions.startup_s AS startup_s,
    executions.user_s AS user_s, executions.system_s AS system_s,
    executions.user_s + executions.system_s AS cpu_s, executions.max_rss_bytes AS max_rss_bytes,
    executions.files AS files, executions.directories AS directories, executions.entries AS entries,
    executions.message AS message
FROM executions
JOIN runs ON runs.id = executions.run_id
JOIN jobs ON jobs.id = runs.job_id
"""

# A state that follows another one of the same file at once is a modification; that a size became known is no event.
FILE_EVENTS = """
CREATE VIEW file_events AS
SELECT
    files.first_run_id AS run, files.job_id AS job_id, jobs.name AS job, runs.finished_at AS found_at,
    CASE WHEN earlier.folder_id IS NULL THEN 'added' ELSE 'modified' END AS kind,
    folders.path AS folder, files.name AS name,
    earlier.size_bytes AS old_size_bytes, files.size_bytes AS new_size_bytes, files.mtime_ns AS mtime_ns
FROM files
JOIN folders ON folders.id = files.folder_id
JOIN jobs ON jobs.id = files.job_id
LEFT JOIN files AS earlier ON earlier.folder_id = files.folder_id AND earlier.name = files.name
    AND earlier.gone_run_id = files.first_run_id
LEFT JOIN runs ON runs.id = files.first_run_id
WHERE earlier.folder_id IS NULL OR earlier.size_bytes IS NOT NULL OR earlier.mtime_ns IS NOT NULL
UNION ALL
SELECT
    files.gone_run_id AS run, files.job_id AS job_id, jobs.name AS job, runs.finished_at AS found_at,
    'removed' AS kind, folders.path AS folder, files.name AS name,
    files.size_bytes AS old_size_bytes, NULL AS new_size_bytes, NULL AS mtime_ns
FROM files
JOIN folders ON folders.id = files.folder_id
JOIN jobs ON jobs.id = files.job_id
LEFT JOIN files AS later ON later.folder_id = files.folder_id AND later.name = files.name
    AND later.first_run_id = files.gone_run_id
LEFT JOIN runs ON runs.id = files.gone_run_id
WHERE files.gone_run_id IS NOT NULL AND later.folder_id IS NULL
"""


def upgrade() -> None:
    for statement in (RUN_HISTORY, EXECUTION_TIMINGS, FILE_EVENTS):
        op.execute(statement)
