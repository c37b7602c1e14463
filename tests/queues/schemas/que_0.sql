-- Que 0.14: what its migrations 1 to 3 leave behind. A done job is deleted; a failed one is tried for ever.
CREATE TABLE que_jobs (
    priority smallint NOT NULL DEFAULT 100,
    run_at timestamptz NOT NULL DEFAULT now(),
    job_id bigserial NOT NULL,
    job_class text NOT NULL,
    args json NOT NULL DEFAULT '[]',
    error_count integer NOT NULL DEFAULT 0,
    last_error text,
    queue text NOT NULL DEFAULT '',
    PRIMARY KEY (queue, priority, run_at, job_id)
);
