"""Statements that set a database back to the schema of an older runner, on both kinds of databases."""

TO_0006 = (
    "DROP INDEX ix_folders_path",
    "ALTER TABLE jobs DROP COLUMN tags",
    "DROP INDEX ix_runs_unsuccessful",
    "DROP TABLE firings",
    "ALTER TABLE runs ADD COLUMN owed INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE jobs RENAME COLUMN schedule_start TO armed_at",
    "ALTER TABLE jobs RENAME COLUMN recorded_until TO accounted_at",
    "ALTER TABLE jobs RENAME COLUMN interval_origin TO schedule_anchor_at",
    "ALTER TABLE jobs DROP COLUMN mounts",
    "UPDATE alembic_version SET version_num = '0006'",
)
