"""Cheaper saves in several transactions: events without unsaved files, and no index of the files that are there.

Older versions of runner, which would show unsaved files, refuse the new schema.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

FILE_EVENTS = """
CREATE VIEW file_events AS
SELECT
    files.first_run_id AS run, files.job_id AS job_id, jobs.name AS job, runs.finished_at AS found_at,
    CASE WHEN earlier.folder_id IS NULL THEN 'added' ELSE 'modified' END AS kind,
    folders.path AS folder, files.name AS name,
    earlier.size_bytes AS old_size_bytes, files.size_bytes AS new_size_bytes, files.mtime_ns AS mtime_ns,
    files.mtime_exact AS mtime_exact
FROM files
JOIN folders ON folders.id = files.folder_id
JOIN jobs ON jobs.id = files.job_id
LEFT JOIN files AS earlier ON earlier.folder_id = files.folder_id AND earlier.name = files.name
    AND earlier.gone_run_id = files.first_run_id
LEFT JOIN runs ON runs.id = files.first_run_id
WHERE (earlier.folder_id IS NULL OR earlier.size_bytes IS NOT NULL OR earlier.mtime_ns IS NOT NULL)
    AND COALESCE(runs.status, '') <> 'running'
UNION ALL
SELECT
    files.gone_run_id AS run, files.job_id AS job_id, jobs.name AS job, runs.finished_at AS found_at,
    'removed' AS kind, folders.path AS folder, files.name AS name,
    files.size_bytes AS old_size_bytes, NULL AS new_size_bytes, NULL AS mtime_ns, NULL AS mtime_exact
FROM files
JOIN folders ON folders.id = files.folder_id
JOIN jobs ON jobs.id = files.job_id
LEFT JOIN files AS later ON later.folder_id = files.folder_id AND later.name = files.name
    AND later.first_run_id = files.gone_run_id
LEFT JOIN runs ON runs.id = files.gone_run_id
WHERE files.gone_run_id IS NOT NULL AND later.folder_id IS NULL AND COALESCE(runs.status, '') <> 'running'
"""


def upgrade() -> None:
    op.drop_index("ix_files_gone", "files")
    is_gone = sa.text("gone_run_id IS NOT NULL")
    op.create_index("ix_files_gone", "files", ["job_id", "gone_run_id"], sqlite_where=is_gone, postgresql_where=is_gone)
    op.execute("DROP VIEW file_events")
    op.execute(FILE_EVENTS)
