CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE daemons (
	id INTEGER NOT NULL, 
	host TEXT NOT NULL, 
	boot TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	process_started_s FLOAT NOT NULL, 
	started_at DATETIME NOT NULL, 
	heartbeat_at DATETIME NOT NULL, 
	stopped_at DATETIME, 
	CONSTRAINT pk_daemons PRIMARY KEY (id), 
	CONSTRAINT ck_daemons_single_row CHECK (id = 1)
);

CREATE TABLE environments (
	id INTEGER NOT NULL, 
	host TEXT NOT NULL, 
	system TEXT NOT NULL, 
	machine TEXT NOT NULL, 
	python TEXT NOT NULL, 
	cpus INTEGER NOT NULL, 
	start_method VARCHAR(16) NOT NULL, 
	workers INTEGER NOT NULL, 
	filesystem TEXT NOT NULL, 
	runner_version TEXT NOT NULL, 
	CONSTRAINT pk_environments PRIMARY KEY (id), 
	CONSTRAINT uq_environments_all UNIQUE (host, system, machine, python, cpus, start_method, workers, filesystem, runner_version)
);

CREATE TABLE selections (
	id INTEGER NOT NULL, 
	patterns TEXT NOT NULL, 
	excludes TEXT NOT NULL, 
	ignore_case BOOLEAN NOT NULL, 
	track VARCHAR(8) NOT NULL, 
	one_file_system BOOLEAN NOT NULL, 
	CONSTRAINT pk_selections PRIMARY KEY (id), 
	CONSTRAINT uq_selections_all UNIQUE (patterns, excludes, ignore_case, track, one_file_system)
);

CREATE TABLE state (
	id INTEGER NOT NULL, 
	jobs_revision INTEGER NOT NULL, 
	CONSTRAINT pk_state PRIMARY KEY (id), 
	CONSTRAINT ck_state_single_row CHECK (id = 1)
);

CREATE TABLE jobs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	root BLOB NOT NULL, 
	selection_id INTEGER NOT NULL, 
	strategies TEXT NOT NULL, 
	workers INTEGER, 
	timeout_s INTEGER, 
	schedule_kind VARCHAR(8), 
	schedule_expression TEXT, 
	schedule_timezone TEXT, 
	schedule_jitter_s INTEGER, 
	schedule_anchor_at DATETIME, 
	catchup VARCHAR(8) NOT NULL, 
	paused BOOLEAN NOT NULL, 
	created_at DATETIME NOT NULL, 
	armed_at DATETIME NOT NULL, 
	removed_at DATETIME, 
	findings_digest BLOB, full_every_s INTEGER DEFAULT 86400 NOT NULL, retries INTEGER DEFAULT 0 NOT NULL, retry_delay_s INTEGER DEFAULT 60 NOT NULL, notify TEXT DEFAULT '[]' NOT NULL, accounted_at DATETIME, 
	CONSTRAINT fk_jobs_selection_id_selections FOREIGN KEY(selection_id) REFERENCES selections (id)
);

CREATE UNIQUE INDEX uq_jobs_name ON jobs (name) WHERE removed_at IS NULL;

CREATE TABLE folders (
	id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	path_digest BLOB NOT NULL, 
	findings_digest BLOB NOT NULL, 
	CONSTRAINT pk_folders PRIMARY KEY (id), 
	CONSTRAINT fk_folders_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT uq_folders_job_id_path_digest UNIQUE (job_id, path_digest)
);

CREATE TABLE problems (
	id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	errno INTEGER NOT NULL, 
	text TEXT NOT NULL, 
	first_run_id INTEGER NOT NULL, 
	gone_run_id INTEGER, 
	CONSTRAINT pk_problems PRIMARY KEY (id), 
	CONSTRAINT fk_problems_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id)
);

CREATE INDEX ix_problems_gone ON problems (job_id, gone_run_id);

CREATE TABLE runs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id INTEGER NOT NULL, 
	selection_id INTEGER NOT NULL, 
	environment_id INTEGER, 
	cause VARCHAR(8) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	scheduled_at DATETIME, 
	started_at DATETIME, 
	finished_at DATETIME, 
	wall_s FLOAT, 
	files INTEGER, 
	directories INTEGER, 
	added INTEGER, 
	removed INTEGER, 
	modified INTEGER, 
	problems INTEGER DEFAULT 0 NOT NULL, 
	differences INTEGER DEFAULT 0 NOT NULL, 
	missed INTEGER DEFAULT 0 NOT NULL, 
	message TEXT, 
	owner_host TEXT, 
	owner_boot TEXT, 
	owner_pid INTEGER, 
	owner_started_s FLOAT, attempt INTEGER DEFAULT 1 NOT NULL, lateness_s FLOAT, cancel_requested_at DATETIME, owed INTEGER DEFAULT 0 NOT NULL, 
	CONSTRAINT fk_runs_environment_id_environments FOREIGN KEY(environment_id) REFERENCES environments (id), 
	CONSTRAINT fk_runs_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT fk_runs_selection_id_selections FOREIGN KEY(selection_id) REFERENCES selections (id)
);

CREATE INDEX ix_runs_job ON runs (job_id, id);

CREATE UNIQUE INDEX uq_runs_running ON runs (job_id) WHERE status = 'running';

CREATE TABLE differences (
	run_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	found_by TEXT NOT NULL, 
	CONSTRAINT pk_differences PRIMARY KEY (run_id, number), 
	CONSTRAINT fk_differences_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID;

CREATE TABLE executions (
	run_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	strategy TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	workers INTEGER NOT NULL, 
	start_method VARCHAR(16), 
	wall_s FLOAT, 
	startup_s FLOAT, 
	user_s FLOAT, 
	system_s FLOAT, 
	max_rss_bytes INTEGER, 
	cache VARCHAR(8), 
	files INTEGER, 
	directories INTEGER, 
	entries INTEGER, 
	message TEXT, 
	CONSTRAINT pk_executions PRIMARY KEY (run_id, position), 
	CONSTRAINT fk_executions_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID;

CREATE TABLE files (
	folder_id INTEGER NOT NULL, 
	name BLOB NOT NULL, 
	first_run_id INTEGER NOT NULL, 
	gone_run_id INTEGER, 
	job_id INTEGER NOT NULL, 
	size_bytes BIGINT, 
	mtime_ns BIGINT, mtime_exact TEXT, 
	CONSTRAINT pk_files PRIMARY KEY (folder_id, name, first_run_id), 
	CONSTRAINT fk_files_folder_id_folders FOREIGN KEY(folder_id) REFERENCES folders (id)
)
 WITHOUT ROWID;

CREATE INDEX ix_files_first ON files (job_id, first_run_id);

CREATE INDEX ix_files_gone ON files (job_id, gone_run_id);

CREATE TABLE calibrations (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	root BLOB NOT NULL, 
	selection_id INTEGER NOT NULL, 
	environment_id INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	owner_host TEXT, 
	owner_boot TEXT, 
	owner_pid INTEGER, 
	owner_started_s FLOAT, 
	CONSTRAINT fk_calibrations_selection_id_selections FOREIGN KEY(selection_id) REFERENCES selections (id), 
	CONSTRAINT fk_calibrations_environment_id_environments FOREIGN KEY(environment_id) REFERENCES environments (id)
);

CREATE INDEX ix_calibrations_going_on ON calibrations (owner_pid) WHERE owner_pid IS NOT NULL;

CREATE TABLE measurements (
	calibration_id INTEGER NOT NULL, 
	round INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	question VARCHAR(16) NOT NULL, 
	strategy TEXT NOT NULL, 
	workers INTEGER NOT NULL, 
	start_method VARCHAR(16), 
	path BLOB NOT NULL, 
	wall_s FLOAT NOT NULL, 
	startup_s FLOAT NOT NULL, 
	user_s FLOAT NOT NULL, 
	system_s FLOAT NOT NULL, 
	max_rss_bytes INTEGER NOT NULL, 
	cache VARCHAR(8) NOT NULL, 
	files INTEGER NOT NULL, 
	directories INTEGER NOT NULL, 
	entries INTEGER NOT NULL, 
	CONSTRAINT pk_measurements PRIMARY KEY (calibration_id, round, position), 
	CONSTRAINT fk_measurements_calibration_id_calibrations FOREIGN KEY(calibration_id) REFERENCES calibrations (id) ON DELETE CASCADE
)
 WITHOUT ROWID;

CREATE TABLE acknowledgements (
	job_id INTEGER NOT NULL, 
	environment_id INTEGER NOT NULL, 
	strategy TEXT NOT NULL, 
	metric VARCHAR(24) NOT NULL, 
	run_id INTEGER NOT NULL, 
	acknowledged_at DATETIME NOT NULL, 
	CONSTRAINT pk_acknowledgements PRIMARY KEY (job_id, environment_id, strategy, metric), 
	CONSTRAINT fk_acknowledgements_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT fk_acknowledgements_environment_id_environments FOREIGN KEY(environment_id) REFERENCES environments (id)
)
 WITHOUT ROWID;

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
JOIN jobs ON jobs.id = runs.job_id;

CREATE TABLE notifications (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	event VARCHAR(16) NOT NULL, 
	command TEXT NOT NULL, 
	started_at DATETIME NOT NULL, 
	wall_s FLOAT NOT NULL, 
	exit_code INTEGER, 
	message TEXT, 
	CONSTRAINT pk_notifications PRIMARY KEY (id), 
	CONSTRAINT fk_notifications_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);

CREATE INDEX ix_notifications_run_id ON notifications (run_id);

CREATE VIEW run_history AS
SELECT
    runs.id AS run, runs.job_id AS job_id, jobs.name AS job, jobs.root AS root, runs.cause AS cause,
    runs.status AS status, runs.attempt AS attempt, runs.scheduled_at AS scheduled_at,
    runs.started_at AS started_at, runs.lateness_s AS lateness_s, runs.finished_at AS finished_at,
    runs.wall_s AS wall_s, runs.files AS files, runs.directories AS directories,
    runs.added AS added, runs.removed AS removed, runs.modified AS modified, runs.problems AS problems,
    runs.differences AS differences, runs.missed AS missed, runs.message AS message,
    environments.id AS environment_id, environments.host AS host, environments.system AS system,
    environments.machine AS machine, environments.python AS python, environments.cpus AS cpus,
    environments.filesystem AS filesystem, environments.runner_version AS runner_version
FROM runs
JOIN jobs ON jobs.id = runs.job_id
LEFT JOIN environments ON environments.id = runs.environment_id;

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
WHERE earlier.folder_id IS NULL OR earlier.size_bytes IS NOT NULL OR earlier.mtime_ns IS NOT NULL
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
WHERE files.gone_run_id IS NOT NULL AND later.folder_id IS NULL;

