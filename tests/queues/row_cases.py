"""A case for each form of each preset: see rows.py.

Signs of life lie ahead, so that they are none the older however long the tests take.

What no case has: pg-boss' own housekeeping (queues named __pgboss__…), for no worker of ours is for it; procrastinate's
state aborting from 3.0 on, which no version since writes; and what no library writes at all, such as a state of NULL.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
import pytest

from tests.queues.rows import (
    CLAIM,
    DUE,
    EVER,
    NAIVE_CLAIM,
    NAIVE_DUE,
    NAIVE_EVER,
    NO_YES,
    TRIES,
    Case,
    Choices,
    Make,
    Row,
    is_due,
    published,
    same,
    without,
)
from tests.queues.scenario import Library, Stage
from tests.queues.test_chancy import Chancy
from tests.queues.test_django_q2 import DjangoQ2
from tests.queues.test_django_tasks import DjangoTasks
from tests.queues.test_dramatiq_pg import Dramatiq
from tests.queues.test_pgqueuer import PgQueuer
from tests.queues.test_procrastinate import Procrastinate

WORKERS = {"none": "NULL", "alive": "'alive'", "dead": "'dead'", "gone": "'gone'"}


def _migrated(library: Library, reads: str = "public", then: str = "") -> Make:
    async def make(place: Stage) -> None:
        await library.migrate(place.url)
        if then:
            place.execute(then)
        place.let_read(reads)

    return make


# ---- absurd


async def _absurd(place: Stage) -> None:
    absurdctl = pytest.importorskip("absurdctl", reason="needs absurdctl: make test installs it")
    with psycopg.connect(place.url, autocommit=True) as owner:
        owner.execute(absurdctl.BUNDLED_SCHEMA_SQL.encode())
        owner.execute("SELECT absurd.create_queue('rows')")
    place.let_read("absurd")


def _absurd_runs(row: Row) -> bool:
    if row["state"] == "running":
        return row["expires"] in {"fresh", "old"} and row["tries"] != "none"
    return row["state"] in {"pending", "sleeping"} and is_due(row)


ABSURD = Case(
    "absurd",
    _absurd,
    {
        "state": same("pending", "running", "sleeping", "completed", "failed", "cancelled"),
        "due": without(EVER, "never"),
        "expires": {**CLAIM, "later": DUE["future"]},
        "tries": {"any": "1, NULL", **TRIES},
    },
    """INSERT INTO absurd.t_rows (task_id, task_name, params, state, attempts, max_attempts)
           VALUES (md5('{name}')::uuid, '{name}', '{}', {state}, {tries});
       INSERT INTO absurd.r_rows (run_id, task_id, attempt, state, available_at, claim_expires_at)
           SELECT gen_random_uuid(), task_id, attempts, state, {due}, {expires} FROM absurd.t_rows
           WHERE task_id = md5('{name}')::uuid""",
    _absurd_runs,
    "0.0.3 and newer",
    queues=("rows",),
    named_by="(SELECT t.task_name FROM absurd.t_rows t WHERE t.task_id = j.task_id)",
)


# ---- chancy


def _chancy_runs(row: Row) -> bool:
    if row["paused"] in {"yes", "resumes later"} or not is_due(row):
        return False
    if row["state"] == "running":
        return row["worker"] != "alive"
    return row["state"] in {"pending", "retrying"} and row["tries"] == "left"


def _chancy(form: str, then: str, paused: Choices) -> Case:
    return Case(
        "chancy",
        _migrated(Chancy(), then=then),
        {
            "state": same("pending", "running", "retrying", "succeeded", "failed"),
            "tries": TRIES,
            "due": without(EVER, "never"),
            "worker": WORKERS,
            "paused": paused,
        },
        """INSERT INTO chancy_jobs (id, queue, func, state, attempts, max_attempts, scheduled_at, taken_by)
               VALUES (gen_random_uuid(), '{name}', 'sort', {state}, {tries}, {due}, {worker});
           {paused}""",
        _chancy_runs,
        form,
        before=f"""INSERT INTO chancy_workers (worker_id, last_seen, expires_at)
            VALUES ('alive', {DUE["future"]}, now()), ('dead', now() - interval '5 min', now())""",
    )


_CHANCY_QUEUE = "INSERT INTO chancy_queues (name, state, concurrency, executor) VALUES ('{name}', 'paused', 1, '')"
_CHANCY_RESUMES = _CHANCY_QUEUE.replace("executor)", "executor, resume_at)").replace("'')", "'', {when})")
CHANCY = [
    _chancy(
        "queues that resume by themselves",
        "",
        {
            "no": "",
            "yes": _CHANCY_QUEUE,
            "resumed": _CHANCY_RESUMES.replace("{when}", DUE["past"]),
            "resumes later": _CHANCY_RESUMES.replace("{when}", DUE["future"]),
        },
    ),
    _chancy(
        "older, without resume_at", "ALTER TABLE chancy_queues DROP COLUMN resume_at", {"no": "", "yes": _CHANCY_QUEUE}
    ),
]


# ---- delayed, delayed_job


def _delayed(preset: str, due: Choices, columns: str = "", values: str = "") -> Case:
    return Case(
        preset,
        published(preset),
        {"due": due, "locked": NAIVE_CLAIM, "failed": {"no": "NULL", "yes": NAIVE_DUE["past"]}},
        f"INSERT INTO delayed_jobs (queue, handler, run_at, locked_at, failed_at{columns}) "
        f"VALUES ('{{name}}', '', {{due}}, {{locked}}, {{failed}}{values})",
        lambda row: row["failed"] == "no" and is_due(row) and row["locked"] != "fresh",
    )


DELAYED = [
    _delayed("delayed", without(NAIVE_EVER, "never"), ", name", ", 'Sort'"),
    _delayed("delayed_job", NAIVE_EVER),
]


# ---- django-q2

_DJANGO_Q2_TABLES = {
    "queue": "INSERT INTO django_q_ormq (key, payload, lock) VALUES ('{name}', '', {due})",
    "schedule": "INSERT INTO django_q_schedule (func, schedule_type, repeats, next_run, cluster) "
    "VALUES ('f', 'D', {repeats}, {due}, '{name}')",
    "task": "INSERT INTO django_q_task (id, name, func, started, stopped, success, attempt_count, cluster) "
    "VALUES (left(md5('{name}'), 32), 'a', 'f', now(), now(), {success}, 1, '{name}')",
}


def _django_q2_possible(row: Row) -> bool:
    table = row["table"]
    return (table == "schedule" or row["repeats"] == "for ever") and (
        row["success"] == "no" if table != "task" else row["due"] == "never"
    )


def _django_q2(form: str, target: tuple[str, ...], tables: Choices) -> Case:
    async def make(place: Stage) -> None:
        await DjangoQ2().migrate(place.url, *target)
        place.let_read()

    return Case(
        "django-q2",
        make,
        {
            "table": tables,
            "due": EVER,
            "repeats": {"for ever": "-1", "3": "3", "over": "0"},
            "success": NO_YES,
        },
        "{table}",
        lambda row: row["table"] != "task" and is_due(row) and row["repeats"] != "over",
        form,
        possible=_django_q2_possible,
    )


DJANGO_Q2 = [
    _django_q2("django-q2 1.5 and later", (), _DJANGO_Q2_TABLES),
    # Its tasks have no cluster, and so no name here: test_django_q2.py counts them.
    _django_q2("before 1.5, and django-q from 1.3.6 on", ("django_q", "0014"), {**without(_DJANGO_Q2_TABLES, "task")}),
]


# ---- django-tasks


def _django_tasks(form: str, then: str, states: tuple[str, ...], at_once: str, due: Choices) -> Case:
    return Case(
        "django-tasks",
        _migrated(DjangoTasks(), then=then),
        {"state": same(*states), "due": due},
        """INSERT INTO django_tasks_database_dbtaskresult
               SELECT (jsonb_populate_record(NULL::django_tasks_database_dbtaskresult, jsonb_build_object(
                   'id', gen_random_uuid(), 'status', {state}::text, 'queue_name', '{name}', 'run_after', {due},
                   'priority', 0, 'task_path', '', 'backend_name', '', 'args_kwargs', '{}'::jsonb, 'worker_ids',
                   '[]'::jsonb, 'exception_class_path', '', 'traceback', '', 'enqueued_at', now(), 'metadata',
                   '{}'::jsonb))).*""",
        lambda row: row["state"] in {"READY", "NEW"} and (is_due(row) or row["due"] == at_once),
        form,
    )


DJANGO_TASKS = [
    _django_tasks(
        "0.8 and later",
        "",
        ("READY", "RUNNING", "FAILED", "SUCCESSFUL", "SUCCEEDED"),
        "at once",
        {**DUE, "at once": "timestamptz '9999-01-01 00:00Z'"},
    ),
    _django_tasks(
        "before 0.8",
        "ALTER TABLE django_tasks_database_dbtaskresult DROP COLUMN worker_ids, ALTER run_after DROP NOT NULL",
        ("NEW", "RUNNING", "FAILED", "COMPLETE", "SUCCEEDED"),
        "never",
        {**DUE, "never": "NULL::timestamptz"},
    ),
]


# ---- dramatiq-pg and its fork

_ETA = {
    "none": "'{}'",
    "past": "jsonb_build_object('eta', extract(epoch FROM now()) * 1000 - 60000)",
    "future": "jsonb_build_object('eta', extract(epoch FROM now()) * 1000 + 3600000)",
}
_SUFFIX = {"no": "", "yes": ".DQ"}


def _dramatiq(library: Dramatiq) -> Make:
    async def make(place: Stage) -> None:
        if not library.is_installed:
            pytest.skip(library.missing)
        await _migrated(library, "dramatiq")(place)

    return make


def _dramatiq_pg_runs(row: Row) -> bool:
    if row["delayed"] == "yes":
        return row["state"] in {"queued", "consumed"} and row["eta"] != "future"
    return row["state"] == "queued" or (row["state"] == "consumed" and row["lock"] == "free")


DRAMATIQ_PG = Case(
    "dramatiq-pg",
    _dramatiq(Dramatiq()),
    {
        "state": same("queued", "consumed", "rejected", "done"),
        "delayed": _SUFFIX,
        "eta": _ETA,
        "lock": {
            "free": "",
            "held": """SELECT pg_advisory_lock(
                ('x' || substr(encode(sha256(convert_to(queue_name || message_id, 'UTF8')), 'hex'), 25, 16))
                ::bit(64)::bigint # '-9223372036854775808'::bigint)
                FROM dramatiq.queue WHERE queue_name = '{name}{delayed}'""",
        },
    },
    """INSERT INTO dramatiq.queue (message_id, queue_name, state, message)
           VALUES (gen_random_uuid(), '{name}{delayed}', {state}, jsonb_build_object('options', {eta}::jsonb));
       {lock}""",
    _dramatiq_pg_runs,
)
DRAMATIQ_POSTGRES = Case(
    "dramatiq-postgres",
    _dramatiq(Dramatiq("dramatiq-postgres", "dramatiq-postgres")),
    {
        "state": same("queued", "consumed", "rejected"),
        "delayed": _SUFFIX,
        "due": without(EVER, "never"),
        "worker": {key: value if key == "none" else f"md5({value})::uuid" for key, value in WORKERS.items()},
    },
    """INSERT INTO dramatiq.queue (message_id, queue_name, state, message, available_at, worker_id)
           VALUES (gen_random_uuid(), '{name}{delayed}', {state}, '{}', {due}, {worker})""",
    lambda row: (row["state"] == "queued" and is_due(row)) or (row["state"] == "consumed" and row["worker"] != "alive"),
    before=f"""INSERT INTO dramatiq.worker VALUES (md5('alive')::uuid, {DUE["future"]}),
        (md5('dead')::uuid, now() - interval '5 min')""",
)


# ---- good_job

_ENDS = {
    "finished": {"no": "NULL", "yes": NAIVE_DUE["past"]},
    "error": {"none": "NULL", "some": "'RuntimeError: no'"},
    "performed": {"no": "NULL", "yes": NAIVE_DUE["past"]},
    "due": without(NAIVE_EVER, "-infinity"),
}
GOOD_JOB = [
    Case(
        "good_job",
        published("good_job"),
        {
            **_ENDS,
            "lock": {key: value if key == "none" else f"md5({value})::uuid" for key, value in WORKERS.items()},
            "paused": {"no": "NULL", "queue": "NULL", "class": "NULL", "label": "'{slow}'"},
        },
        """INSERT INTO good_jobs (queue_name, job_class, finished_at, error, performed_at, scheduled_at, locked_by_id,
               labels, created_at, updated_at)
               VALUES ('{name}', '{name}', {finished}, {error}, {performed}, {due}, {lock}, {paused},
               timezone('UTC', now()), timezone('UTC', now()))""",
        lambda row: (
            row["finished"] == "no"
            and row["due"] in {"never", "past"}
            and row["lock"] != "alive"
            and row["paused"] == "no"
        ),
        "3.99 and 4",
        before=f"""INSERT INTO good_job_processes (id, created_at, updated_at) VALUES
            (md5('alive')::uuid, timezone('UTC', now()), {NAIVE_DUE["future"]}),
            (md5('dead')::uuid, timezone('UTC', now()), timezone('UTC', now() - interval '6 min'))""",
        after="""INSERT INTO good_job_settings (key, value, created_at, updated_at)
            SELECT 'pauses', jsonb_build_object('labels', '["slow"]'::jsonb,
                'queues', jsonb_agg(queue_name) FILTER (WHERE queue_name LIKE '%paused=queue'),
                'job_classes', jsonb_agg(job_class) FILTER (WHERE queue_name LIKE '%paused=class')),
                timezone('UTC', now()), timezone('UTC', now()) FROM good_jobs""",
    ),
    Case(
        "good_job",
        published("good_job_3"),
        {
            **_ENDS,
            "retried": {"no": "NULL", "yes": "gen_random_uuid()"},
            "lock": {
                "free": "",
                "held": """SELECT pg_advisory_lock(
                    ('x' || substr(md5('good_jobs' || '-' || active_job_id::text), 1, 16))::bit(64)::bigint)
                    FROM good_jobs WHERE queue_name = '{name}'""",
            },
        },
        """INSERT INTO good_jobs (active_job_id, queue_name, finished_at, error, performed_at, scheduled_at,
               retried_good_job_id, created_at, updated_at)
               VALUES (gen_random_uuid(), '{name}', {finished}, {error}, {performed}, {due}, {retried},
               timezone('UTC', now()), timezone('UTC', now()));
           {lock}""",
        lambda row: row["finished"] == "no" and row["due"] in {"never", "past"} and row["lock"] == "free",
        "3, before 3.99",
    ),
]


# ---- graphile-worker


def _graphile(form: str, version: str, before: str, column: str, task: str) -> Case:
    make = published(f"graphile-worker_{version}", "graphile_worker")

    async def make_readable(place: Stage) -> None:
        await make(place)
        place.execute(f"ALTER ROLE {place.role} BYPASSRLS")

    return Case(
        "graphile-worker",
        make_readable,
        {"due": without(EVER, "never"), "locked": CLAIM, "tries": TRIES},
        f"{before}INSERT INTO graphile_worker.jobs ({column}, run_at, locked_at, attempts, max_attempts) "
        f"VALUES ({task}, {{due}}, {{locked}}, {{tries}})",
        lambda row: is_due(row) and row["locked"] != "fresh" and row["tries"] == "left",
        form,
    )


GRAPHILE = [
    _graphile("0.16 and newer (a view), 0.2 to 0.13 (a table)", "0.13", "", "task_identifier", "'{name}'"),
    _graphile(
        "0.14 and 0.15",
        "0.15",
        "INSERT INTO graphile_worker.tasks (identifier) VALUES ('{name}'); ",
        "task_id",
        "(SELECT id FROM graphile_worker.tasks WHERE identifier = '{name}')",
    ),
]


# ---- oban


def _oban_runs(row: Row) -> bool:
    if row["tries"] == "none":
        return False
    if row["state"] in {"retryable", "scheduled"}:
        return is_due(row)
    return row["state"] == "available" or (row["state"] == "executing" and row["attempted"] == "old")


OBAN = Case(
    "oban",
    published("oban"),
    {
        "state": same(
            *("available", "suspended", "scheduled", "executing"),
            *("retryable", "completed", "discarded", "cancelled"),
        ),
        "due": without(NAIVE_EVER, "never"),
        "attempted": NAIVE_CLAIM,
        "tries": TRIES,
    },
    """INSERT INTO oban_jobs (worker, queue, state, scheduled_at, attempted_at, attempt, max_attempts)
           VALUES ('Sort', '{name}', {state}, {due}, {attempted}, {tries})""",
    _oban_runs,
)


# ---- pg-boss


def _pg_boss_runs(row: Row) -> bool:
    if row["state"] == "active":
        return row["tries"] == "left" and (row["started"] == "old" or row.get("beat") == "missed")
    return row["state"] in {"created", "retry"} and is_due(row) and row.get("blocked") != "yes"


_BEATS = {
    "none": "NULL::timestamptz, NULL::integer",
    "fresh": f"{DUE['future']}, 60",
    "missed": "now() - interval '2 min', 60",
}


def _pg_boss(form: str, version: str, *more: str) -> Case:
    states = [
        "created",
        "retry",
        "active",
        "completed",
        "cancelled",
        "failed",
        *(["expired"] if version == "9" else []),
    ]
    vary = {
        "state": same(*states),
        "due": without(EVER, "never"),
        "started": CLAIM,
        "tries": TRIES,
        **({"beat": _BEATS} if "beat" in more else {}),
        **({"blocked": NO_YES} if "blocked" in more else {}),
    }
    columns = ["name", "state", "start_after", "started_on", "retry_count", "retry_limit"]
    columns += ["heartbeat_on", "heartbeat_seconds"] if "beat" in more else []
    columns += ["blocked"] if "blocked" in more else []
    if version == "9":
        columns = [column.replace("_", "") for column in columns]
    values = ["'{name}'", *(f"{{{key}}}" for key in vary)]
    rest = "CREATE TABLE pgboss.job_rest PARTITION OF pgboss.job DEFAULT" if version == "10" else ""
    return Case(
        "pg-boss",
        published(f"pg-boss_{version}", "pgboss", rest),
        vary,
        f"INSERT INTO pgboss.job ({', '.join(columns)}) VALUES ({', '.join(values)})",
        _pg_boss_runs,
        form,
    )


PG_BOSS = [
    _pg_boss("12, with heartbeats and dependencies", "12.38", "beat", "blocked"),
    _pg_boss("12, with heartbeats", "12.18", "beat"),
    _pg_boss("11, and the first releases of 12", "11"),
    _pg_boss("10", "10"),
    _pg_boss("3 to 9", "9"),
]


# ---- pgmq


async def _pgmq(place: Stage) -> None:
    pgmq = pytest.importorskip("pgmq", reason="needs pgmq: make test installs it")
    pgmq.install_pgmq_from_sql(dsn=place.url)
    place.execute("SELECT pgmq.create('rows')")
    place.let_read("pgmq")


PGMQ = Case(
    "pgmq",
    _pgmq,
    {"due": without(EVER, "never"), "read": {"never": "0", "once": "1"}},
    """INSERT INTO pgmq.q_rows (vt, read_ct, message) VALUES ({due}, {read}, jsonb_build_object('name', '{name}'))""",
    is_due,
    queues=("rows",),
    named_by="j.message ->> 'name'",
)


# ---- pgqueuer


def _pgqueuer(form: str, then: str, states: tuple[str, ...], *lacks: str) -> Case:
    vary = {
        "state": same(*states),
        "heartbeat": {"fresh": DUE["future"], "old": CLAIM["old"]},
        "due": without(EVER, "never"),
    }
    columns = {"state": "status", "heartbeat": "heartbeat", "due": "execute_after"}
    for key in lacks:
        del vary[key], columns[key]
    return Case(
        "pgqueuer",
        _migrated(PgQueuer(), then=then),
        vary,
        f"INSERT INTO pgqueuer (priority, entrypoint, {', '.join(columns.values())}) "
        f"VALUES (0, '{{name}}', {', '.join(f'{{{key}}}' for key in columns)})",
        lambda row: (
            ("due" not in row or is_due(row))
            and (row["state"] == "queued" or (form == "1" and row["state"] == "picked" and row["heartbeat"] == "old"))
        ),
        form,
    )


_PGQUEUER_STATES = ("queued", "picked", "successful", "exception", "canceled", "deleted")
PGQUEUER = [
    _pgqueuer("1", "", (*_PGQUEUER_STATES, "failed")),
    _pgqueuer("0.14 to 0.26", "ALTER TABLE pgqueuer DROP COLUMN attempts CASCADE", _PGQUEUER_STATES),
    _pgqueuer(
        "0.9 to 0.13",
        "ALTER TABLE pgqueuer DROP COLUMN attempts CASCADE, DROP COLUMN execute_after CASCADE",
        _PGQUEUER_STATES,
        "due",
    ),
    _pgqueuer(
        "0.4 to 0.8",
        "ALTER TABLE pgqueuer DROP COLUMN attempts CASCADE, DROP COLUMN execute_after CASCADE, "
        "DROP COLUMN heartbeat CASCADE",
        _PGQUEUER_STATES,
        "due",
        "heartbeat",
    ),
]


# ---- procrastinate


def _procrastinate(form: str, then: str, *more_states: str, workers: bool = False) -> Case:
    states = ("todo", "doing", "succeeded", "failed", "cancelled", "aborted", *more_states)
    vary = {"state": same(*states), "due": EVER}
    columns = ["status", "scheduled_at"]
    if workers:
        vary["worker"] = {"none": "NULL", "alive": "1", "dead": "2"}
        columns.append("worker_id")
    return Case(
        "procrastinate",
        _migrated(Procrastinate(), then=then),
        vary,
        f"INSERT INTO procrastinate_jobs (queue_name, task_name, {', '.join(columns)}) "
        f"VALUES ('{{name}}', 'sort', {', '.join(f'{{{key}}}' for key in vary)})",
        lambda row: row["state"] == "todo" and (row["due"] == "never" or is_due(row)),
        form,
        before=f"INSERT INTO procrastinate_workers (last_heartbeat) VALUES ({DUE['future']}), ({DUE['past']})"
        if workers
        else "",
    )


_NO_WORKERS = "DROP TABLE procrastinate_workers CASCADE; ALTER TABLE procrastinate_jobs DROP COLUMN worker_id CASCADE"
PROCRASTINATE = [
    _procrastinate("3.1 and later", "", workers=True),
    _procrastinate(
        "2.6 to 2.15",
        f"{_NO_WORKERS}; ALTER TABLE procrastinate_jobs DROP COLUMN abort_requested CASCADE",
        "aborting",
    ),
    _procrastinate("before 2.6, and 3.0", _NO_WORKERS),
]


# ---- que


def _que(form: str, version: str, key: str, columns: Choices, vary: Mapping[str, Choices]) -> Case:
    names = ["queue", "run_at", "job_class", *columns]
    values = ["'{name}'", "{due}", "'Sort'", *columns.values()]
    return Case(
        "que",
        published(version),
        {
            "due": without(EVER, "never"),
            "lock": {"free": "", "held": f"SELECT pg_advisory_lock({key}) FROM que_jobs WHERE queue = '{{name}}'"},
            **vary,
        },
        f"INSERT INTO que_jobs ({', '.join(names)}) VALUES ({', '.join(values)}); {{lock}}",
        lambda row: is_due(row) and row["lock"] == "free" and {row.get("finished"), row.get("expired")} <= {None, "no"},
        form,
    )


_AT = {"no": "NULL", "yes": DUE["past"]}
QUE = [
    _que(
        "1 and 2",
        "que",
        "id",
        {"job_schema_version": "2", "finished_at": "{finished}", "expired_at": "{expired}"},
        {"finished": _AT, "expired": _AT},
    ),
    _que("0", "que_0", "job_id", {}, {}),
]


# ---- river


def _river_runs(row: Row) -> bool:
    if row.get("paused") == "yes":
        return False
    if row["state"] == "running":
        return row["attempted"] == "old" and row["tries"] == "left" and row["cancelling"] == "no"
    return row["state"] in {"available", "retryable", "scheduled"} and is_due(row)


def _river(form: str, version: str, *more_states: str, vary: Mapping[str, Choices]) -> Case:
    states = ("available", "cancelled", "completed", "discarded", "retryable", "running", "scheduled", *more_states)
    return Case(
        "river",
        published(version),
        {
            "state": same(*states),
            "due": without(EVER, "never"),
            "attempted": CLAIM,
            "tries": TRIES,
            "cancelling": {"no": "'{}'", "yes": """'{"cancel_attempted_at": "2026-01-01T00:00:00Z"}'"""},
            **vary,
        },
        f"""INSERT INTO river_job (kind, args, queue, state, scheduled_at, attempted_at, attempt, max_attempts,
                metadata, finalized_at)
                VALUES ('sort', '{{}}', '{{name}}', {{state}}, {{due}}, {{attempted}}, {{tries}}, {{cancelling}},
                CASE WHEN {{state}} IN ('cancelled', 'completed', 'discarded') THEN now() END);
            {"{paused}" if "paused" in vary else ""}""",
        _river_runs,
        form,
    )


RIVER = [
    _river(
        "migration 004 and newer",
        "river",
        "pending",
        vary={
            "paused": {
                "no": "",
                "yes": "INSERT INTO river_queue (name, paused_at, updated_at) VALUES ('{name}', now(), now())",
            }
        },
    ),
    _river("migrations 002 and 003", "river_003", vary={}),
]


# ---- solid_queue

_EXECUTION = (
    "INSERT INTO solid_queue_{table}_executions (job_id, created_at{columns}) SELECT id, created_at{values} {of}"
)
_OF = "FROM solid_queue_jobs WHERE queue_name = '{name}'"
_PLACES = {
    "nowhere": "",
    "finished": "UPDATE solid_queue_jobs SET finished_at = created_at WHERE queue_name = '{name}'",
    "failed": ("failed", "", ""),
    "ready": ("ready", ", queue_name", ", queue_name"),
    "scheduled": ("scheduled", ", queue_name, scheduled_at", ", queue_name, {due}"),
    "blocked": ("blocked", ", queue_name, concurrency_key, expires_at", ", queue_name, 'one', {due}"),
    "claimed": ("claimed", ", process_id", ", {process}"),
}
SOLID_QUEUE = Case(
    "solid_queue",
    published("solid_queue"),
    {
        "in": {
            key: value
            if isinstance(value, str)
            else _EXECUTION.format(table=value[0], columns=value[1], values=value[2], of=_OF)
            for key, value in _PLACES.items()
        },
        "due": {**NAIVE_DUE, "infinity": "'infinity'::timestamp"},
        "process": {"none": "NULL::bigint", "alive": "1", "dead": "2", "gone": "3"},
        "paused": {
            "no": "",
            "yes": "INSERT INTO solid_queue_pauses (queue_name, created_at) VALUES ('{name}', timezone('UTC', now()))",
        },
    },
    """INSERT INTO solid_queue_jobs (queue_name, class_name, created_at, updated_at)
           VALUES ('{name}', 'Sort', timezone('UTC', now()), timezone('UTC', now()));
       {in};
       {paused}""",
    lambda row: (
        row["paused"] == "no" and (row["in"] == "ready" or (row["in"] in {"scheduled", "blocked"} and is_due(row)))
    ),
    before=f"""INSERT INTO solid_queue_processes (kind, pid, name, last_heartbeat_at, created_at) VALUES
        ('Worker', 17, 'one', {NAIVE_DUE["future"]}, timezone('UTC', now())),
        ('Worker', 18, 'two', timezone('UTC', now() - interval '6 min'), timezone('UTC', now()))""",
)

CASES = [
    *(ABSURD, *CHANCY, *DELAYED, *DJANGO_Q2, *DJANGO_TASKS, DRAMATIQ_PG, DRAMATIQ_POSTGRES, *GOOD_JOB, *GRAPHILE, OBAN),
    *(*PG_BOSS, PGMQ, *PGQUEUER, *PROCRASTINATE, *QUE, *RIVER, SOLID_QUEUE),
]
