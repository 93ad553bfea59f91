CREATE TABLE public.acknowledgements (
    job_id bigint NOT NULL,
    environment_id bigint NOT NULL,
    strategy text NOT NULL,
    metric character varying(24) NOT NULL,
    run_id bigint NOT NULL,
    acknowledged_at timestamp with time zone NOT NULL
);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.calibrations (
    id bigint NOT NULL,
    root bytea NOT NULL,
    selection_id bigint NOT NULL,
    environment_id bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    owner_host text,
    owner_boot text,
    owner_pid integer,
    owner_started_s double precision
);
CREATE SEQUENCE public.calibrations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.calibrations_id_seq OWNED BY public.calibrations.id;
CREATE TABLE public.daemons (
    id integer NOT NULL,
    host text NOT NULL,
    boot text NOT NULL,
    pid integer NOT NULL,
    process_started_s double precision NOT NULL,
    started_at timestamp with time zone NOT NULL,
    heartbeat_at timestamp with time zone NOT NULL,
    stopped_at timestamp with time zone,
    CONSTRAINT ck_daemons_single_row CHECK ((id = 1))
);
CREATE TABLE public.differences (
    run_id bigint NOT NULL,
    number integer NOT NULL,
    path bytea NOT NULL,
    found_by text NOT NULL
);
CREATE TABLE public.environments (
    id bigint NOT NULL,
    host text NOT NULL,
    system text NOT NULL,
    machine text NOT NULL,
    python text NOT NULL,
    cpus integer NOT NULL,
    start_method character varying(16) NOT NULL,
    workers integer NOT NULL,
    filesystem text NOT NULL,
    runner_version text NOT NULL
);
CREATE SEQUENCE public.environments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.environments_id_seq OWNED BY public.environments.id;
CREATE TABLE public.executions (
    run_id bigint NOT NULL,
    "position" integer NOT NULL,
    strategy text NOT NULL,
    status character varying(16) NOT NULL,
    workers integer NOT NULL,
    start_method character varying(16),
    wall_s double precision,
    startup_s double precision,
    user_s double precision,
    system_s double precision,
    max_rss_bytes bigint,
    cache character varying(8),
    files bigint,
    directories bigint,
    entries bigint,
    message text
);
CREATE TABLE public.jobs (
    id bigint NOT NULL,
    name text NOT NULL,
    root bytea NOT NULL,
    selection_id bigint NOT NULL,
    strategies text NOT NULL,
    workers integer,
    timeout_s integer,
    schedule_kind character varying(8),
    schedule_expression text,
    schedule_timezone text,
    schedule_jitter_s integer,
    schedule_anchor_at timestamp with time zone,
    catchup character varying(8) NOT NULL,
    paused boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    armed_at timestamp with time zone NOT NULL,
    removed_at timestamp with time zone,
    findings_digest bytea,
    full_every_s integer DEFAULT 86400 NOT NULL,
    retries integer DEFAULT 0 NOT NULL,
    retry_delay_s integer DEFAULT 60 NOT NULL,
    notify text DEFAULT '[]'::text NOT NULL,
    accounted_at timestamp with time zone
);
CREATE TABLE public.runs (
    id bigint NOT NULL,
    job_id bigint NOT NULL,
    selection_id bigint NOT NULL,
    environment_id bigint,
    cause character varying(8) NOT NULL,
    status character varying(16) NOT NULL,
    scheduled_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    wall_s double precision,
    files bigint,
    directories bigint,
    added bigint,
    removed bigint,
    modified bigint,
    problems bigint DEFAULT 0 NOT NULL,
    differences bigint DEFAULT 0 NOT NULL,
    missed bigint DEFAULT 0 NOT NULL,
    message text,
    owner_host text,
    owner_boot text,
    owner_pid integer,
    owner_started_s double precision,
    attempt integer DEFAULT 1 NOT NULL,
    lateness_s double precision,
    cancel_requested_at timestamp with time zone,
    owed integer DEFAULT 0 NOT NULL
);
CREATE VIEW public.execution_timings AS
 SELECT runs.id AS run,
    runs.job_id,
    jobs.name AS job,
    runs.environment_id,
    runs.started_at,
    executions.strategy,
    executions."position",
    executions.status,
    executions.workers,
    executions.start_method,
    executions.cache,
    executions.wall_s,
    executions.startup_s,
    executions.user_s,
    executions.system_s,
    (executions.user_s + executions.system_s) AS cpu_s,
    executions.max_rss_bytes,
    executions.files,
    executions.directories,
    executions.entries,
    executions.message
   FROM ((public.executions
     JOIN public.runs ON ((runs.id = executions.run_id)))
     JOIN public.jobs ON ((jobs.id = runs.job_id)));
CREATE TABLE public.files (
    folder_id bigint NOT NULL,
    name bytea NOT NULL,
    first_run_id bigint NOT NULL,
    gone_run_id bigint,
    job_id bigint NOT NULL,
    size_bytes bigint,
    mtime_ns bigint,
    mtime_exact text
);
CREATE TABLE public.folders (
    id bigint NOT NULL,
    job_id bigint NOT NULL,
    path bytea NOT NULL,
    path_digest bytea NOT NULL,
    findings_digest bytea NOT NULL
);
CREATE VIEW public.file_events AS
 SELECT files.first_run_id AS run,
    files.job_id,
    jobs.name AS job,
    runs.finished_at AS found_at,
        CASE
            WHEN (earlier.folder_id IS NULL) THEN 'added'::text
            ELSE 'modified'::text
        END AS kind,
    folders.path AS folder,
    files.name,
    earlier.size_bytes AS old_size_bytes,
    files.size_bytes AS new_size_bytes,
    files.mtime_ns,
    files.mtime_exact
   FROM ((((public.files
     JOIN public.folders ON ((folders.id = files.folder_id)))
     JOIN public.jobs ON ((jobs.id = files.job_id)))
     LEFT JOIN public.files earlier ON (((earlier.folder_id = files.folder_id) AND (earlier.name = files.name) AND (earlier.gone_run_id = files.first_run_id))))
     LEFT JOIN public.runs ON ((runs.id = files.first_run_id)))
  WHERE ((earlier.folder_id IS NULL) OR (earlier.size_bytes IS NOT NULL) OR (earlier.mtime_ns IS NOT NULL))
UNION ALL
 SELECT files.gone_run_id AS run,
    files.job_id,
    jobs.name AS job,
    runs.finished_at AS found_at,
    'removed'::text AS kind,
    folders.path AS folder,
    files.name,
    files.size_bytes AS old_size_bytes,
    NULL::bigint AS new_size_bytes,
    NULL::bigint AS mtime_ns,
    NULL::text AS mtime_exact
   FROM ((((public.files
     JOIN public.folders ON ((folders.id = files.folder_id)))
     JOIN public.jobs ON ((jobs.id = files.job_id)))
     LEFT JOIN public.files later ON (((later.folder_id = files.folder_id) AND (later.name = files.name) AND (later.first_run_id = files.gone_run_id))))
     LEFT JOIN public.runs ON ((runs.id = files.gone_run_id)))
  WHERE ((files.gone_run_id IS NOT NULL) AND (later.folder_id IS NULL));
CREATE SEQUENCE public.folders_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.folders_id_seq OWNED BY public.folders.id;
CREATE SEQUENCE public.jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.jobs_id_seq OWNED BY public.jobs.id;
CREATE TABLE public.measurements (
    calibration_id bigint NOT NULL,
    round integer NOT NULL,
    "position" integer NOT NULL,
    question character varying(16) NOT NULL,
    strategy text NOT NULL,
    workers integer NOT NULL,
    start_method character varying(16),
    path bytea NOT NULL,
    wall_s double precision NOT NULL,
    startup_s double precision NOT NULL,
    user_s double precision NOT NULL,
    system_s double precision NOT NULL,
    max_rss_bytes bigint NOT NULL,
    cache character varying(8) NOT NULL,
    files bigint NOT NULL,
    directories bigint NOT NULL,
    entries bigint NOT NULL
);
CREATE TABLE public.notifications (
    id bigint NOT NULL,
    run_id bigint NOT NULL,
    event character varying(16) NOT NULL,
    command text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    wall_s double precision NOT NULL,
    exit_code integer,
    message text
);
CREATE SEQUENCE public.notifications_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.notifications_id_seq OWNED BY public.notifications.id;
CREATE TABLE public.problems (
    id bigint NOT NULL,
    job_id bigint NOT NULL,
    path bytea NOT NULL,
    errno integer NOT NULL,
    text text NOT NULL,
    first_run_id bigint NOT NULL,
    gone_run_id bigint
);
CREATE SEQUENCE public.problems_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.problems_id_seq OWNED BY public.problems.id;
CREATE VIEW public.run_history AS
 SELECT runs.id AS run,
    runs.job_id,
    jobs.name AS job,
    jobs.root,
    runs.cause,
    runs.status,
    runs.attempt,
    runs.scheduled_at,
    runs.started_at,
    runs.lateness_s,
    runs.finished_at,
    runs.wall_s,
    runs.files,
    runs.directories,
    runs.added,
    runs.removed,
    runs.modified,
    runs.problems,
    runs.differences,
    runs.missed,
    runs.message,
    environments.id AS environment_id,
    environments.host,
    environments.system,
    environments.machine,
    environments.python,
    environments.cpus,
    environments.filesystem,
    environments.runner_version
   FROM ((public.runs
     JOIN public.jobs ON ((jobs.id = runs.job_id)))
     LEFT JOIN public.environments ON ((environments.id = runs.environment_id)));
CREATE SEQUENCE public.runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.runs_id_seq OWNED BY public.runs.id;
CREATE TABLE public.selections (
    id bigint NOT NULL,
    patterns text NOT NULL,
    excludes text NOT NULL,
    ignore_case boolean NOT NULL,
    track character varying(8) NOT NULL,
    one_file_system boolean NOT NULL
);
CREATE SEQUENCE public.selections_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.selections_id_seq OWNED BY public.selections.id;
CREATE TABLE public.state (
    id integer NOT NULL,
    jobs_revision bigint NOT NULL,
    CONSTRAINT ck_state_single_row CHECK ((id = 1))
);
ALTER TABLE ONLY public.calibrations ALTER COLUMN id SET DEFAULT nextval('public.calibrations_id_seq'::regclass);
ALTER TABLE ONLY public.environments ALTER COLUMN id SET DEFAULT nextval('public.environments_id_seq'::regclass);
ALTER TABLE ONLY public.folders ALTER COLUMN id SET DEFAULT nextval('public.folders_id_seq'::regclass);
ALTER TABLE ONLY public.jobs ALTER COLUMN id SET DEFAULT nextval('public.jobs_id_seq'::regclass);
ALTER TABLE ONLY public.notifications ALTER COLUMN id SET DEFAULT nextval('public.notifications_id_seq'::regclass);
ALTER TABLE ONLY public.problems ALTER COLUMN id SET DEFAULT nextval('public.problems_id_seq'::regclass);
ALTER TABLE ONLY public.runs ALTER COLUMN id SET DEFAULT nextval('public.runs_id_seq'::regclass);
ALTER TABLE ONLY public.selections ALTER COLUMN id SET DEFAULT nextval('public.selections_id_seq'::regclass);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.acknowledgements
    ADD CONSTRAINT pk_acknowledgements PRIMARY KEY (job_id, environment_id, strategy, metric);
ALTER TABLE ONLY public.calibrations
    ADD CONSTRAINT pk_calibrations PRIMARY KEY (id);
ALTER TABLE ONLY public.daemons
    ADD CONSTRAINT pk_daemons PRIMARY KEY (id);
ALTER TABLE ONLY public.differences
    ADD CONSTRAINT pk_differences PRIMARY KEY (run_id, number);
ALTER TABLE ONLY public.environments
    ADD CONSTRAINT pk_environments PRIMARY KEY (id);
ALTER TABLE ONLY public.executions
    ADD CONSTRAINT pk_executions PRIMARY KEY (run_id, "position");
ALTER TABLE ONLY public.files
    ADD CONSTRAINT pk_files PRIMARY KEY (folder_id, name, first_run_id);
ALTER TABLE ONLY public.folders
    ADD CONSTRAINT pk_folders PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT pk_jobs PRIMARY KEY (id);
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT pk_measurements PRIMARY KEY (calibration_id, round, "position");
ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT pk_notifications PRIMARY KEY (id);
ALTER TABLE ONLY public.problems
    ADD CONSTRAINT pk_problems PRIMARY KEY (id);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT pk_runs PRIMARY KEY (id);
ALTER TABLE ONLY public.selections
    ADD CONSTRAINT pk_selections PRIMARY KEY (id);
ALTER TABLE ONLY public.state
    ADD CONSTRAINT pk_state PRIMARY KEY (id);
ALTER TABLE ONLY public.environments
    ADD CONSTRAINT uq_environments_all UNIQUE (host, system, machine, python, cpus, start_method, workers, filesystem, runner_version);
ALTER TABLE ONLY public.folders
    ADD CONSTRAINT uq_folders_job_id_path_digest UNIQUE (job_id, path_digest);
CREATE INDEX ix_calibrations_going_on ON public.calibrations USING btree (owner_pid) WHERE (owner_pid IS NOT NULL);
CREATE INDEX ix_files_first ON public.files USING btree (job_id, first_run_id);
CREATE INDEX ix_files_gone ON public.files USING btree (job_id, gone_run_id);
CREATE INDEX ix_notifications_run_id ON public.notifications USING btree (run_id);
CREATE INDEX ix_problems_gone ON public.problems USING btree (job_id, gone_run_id);
CREATE INDEX ix_runs_job ON public.runs USING btree (job_id, id);
CREATE UNIQUE INDEX uq_jobs_name ON public.jobs USING btree (name) WHERE (removed_at IS NULL);
CREATE UNIQUE INDEX uq_runs_running ON public.runs USING btree (job_id) WHERE ((status)::text = 'running'::text);
ALTER TABLE ONLY public.acknowledgements
    ADD CONSTRAINT fk_acknowledgements_environment_id_environments FOREIGN KEY (environment_id) REFERENCES public.environments(id);
ALTER TABLE ONLY public.acknowledgements
    ADD CONSTRAINT fk_acknowledgements_job_id_jobs FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.calibrations
    ADD CONSTRAINT fk_calibrations_environment_id_environments FOREIGN KEY (environment_id) REFERENCES public.environments(id);
ALTER TABLE ONLY public.calibrations
    ADD CONSTRAINT fk_calibrations_selection_id_selections FOREIGN KEY (selection_id) REFERENCES public.selections(id);
ALTER TABLE ONLY public.differences
    ADD CONSTRAINT fk_differences_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.executions
    ADD CONSTRAINT fk_executions_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.files
    ADD CONSTRAINT fk_files_folder_id_folders FOREIGN KEY (folder_id) REFERENCES public.folders(id);
ALTER TABLE ONLY public.folders
    ADD CONSTRAINT fk_folders_job_id_jobs FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT fk_jobs_selection_id_selections FOREIGN KEY (selection_id) REFERENCES public.selections(id);
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT fk_measurements_calibration_id_calibrations FOREIGN KEY (calibration_id) REFERENCES public.calibrations(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT fk_notifications_run_id_runs FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.problems
    ADD CONSTRAINT fk_problems_job_id_jobs FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT fk_runs_environment_id_environments FOREIGN KEY (environment_id) REFERENCES public.environments(id);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT fk_runs_job_id_jobs FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT fk_runs_selection_id_selections FOREIGN KEY (selection_id) REFERENCES public.selections(id);
