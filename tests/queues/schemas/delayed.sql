-- The fork delayed: what its migrations 1 to 8 leave behind on Rails 7; times are naive UTC.
CREATE TABLE delayed_jobs (
    id bigserial PRIMARY KEY,
    priority integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    handler text NOT NULL,
    last_error text,
    run_at timestamp(6) NOT NULL,
    locked_at timestamp(6),
    failed_at timestamp(6),
    locked_by varchar,
    queue varchar,
    created_at timestamp(6),
    updated_at timestamp(6),
    name varchar NOT NULL
);
CREATE INDEX idx_delayed_jobs_live ON delayed_jobs (priority, run_at, queue) WHERE failed_at IS NULL;
CREATE INDEX idx_delayed_jobs_failed ON delayed_jobs (priority, queue) WHERE failed_at IS NOT NULL;
