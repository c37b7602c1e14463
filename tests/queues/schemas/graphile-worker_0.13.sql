-- Graphile Worker 0.13.0: what its migration makes of the tables that the preset reads.

CREATE SCHEMA graphile_worker;

CREATE TABLE graphile_worker.jobs (
    id bigserial PRIMARY KEY,
    queue_name text,
    task_identifier text NOT NULL,
    payload json DEFAULT '{}'::json NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    run_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    max_attempts integer DEFAULT 25 NOT NULL,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    key text UNIQUE,
    locked_at timestamp with time zone,
    locked_by text,
    revision integer DEFAULT 0 NOT NULL,
    flags jsonb,
    CONSTRAINT jobs_key_check CHECK ((length(key) > 0))
);

CREATE INDEX jobs_priority_run_at_id_locked_at_without_failures_idx ON graphile_worker.jobs (priority, run_at, id, locked_at) WHERE (attempts < max_attempts);

ALTER TABLE graphile_worker.jobs ENABLE ROW LEVEL SECURITY;
