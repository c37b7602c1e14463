"""A dramatiq-pg program: `migrate`, `put JOBS`, and for dramatiq's own command the actor, on the policy's database."""

import json
import os
import sys

import dramatiq
from dramatiq_pg import PostgresBroker, generate_init_sql

from tests.queues.jobs import do_and_block

SCHEMA, PREFIX = os.environ.get("SCHEMA", "dramatiq"), os.environ.get("PREFIX", "")
broker = PostgresBroker(url=os.environ["DATABASE_URL"], schema=SCHEMA, prefix=PREFIX)
dramatiq.set_broker(broker)


job = dramatiq.actor(do_and_block, max_retries=0)


def put(jobs: str) -> None:
    for one in json.loads(jobs):
        message = job.message(one["does"]).copy(queue_name=one["queue"])
        broker.enqueue(message, delay=one["delay_ms"] or None)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["migrate"]:
            with broker.pool.getconn() as connection:
                connection.cursor().execute(generate_init_sql(SCHEMA, PREFIX))
        case ["put", jobs]:
            put(jobs)
