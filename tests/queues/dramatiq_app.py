"""A program of dramatiq-pg, or of its fork: `sql` of its tables, `put JOBS`, and for dramatiq's own command the actor.

LIBRARY says which of the two; they share their names.
"""

import importlib
import json
import os
import sys

import dramatiq

from tests.queues.jobs import do_and_block

SCHEMA, PREFIX = os.environ.get("SCHEMA", "dramatiq"), os.environ.get("PREFIX", "")
LIBRARY = os.environ["LIBRARY"]
broker = importlib.import_module(LIBRARY).PostgresBroker(url=os.environ["DATABASE_URL"], schema=SCHEMA, prefix=PREFIX)
dramatiq.set_broker(broker)


job = dramatiq.actor(do_and_block, max_retries=0)


def put(jobs: str) -> None:
    for one in json.loads(jobs):
        message = job.message(one["does"]).copy(queue_name=one["queue"])
        broker.enqueue(message, delay=one["delay_ms"] or None)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sql"]:
            sys.stdout.write(importlib.import_module(f"{LIBRARY}.schema").generate_init_sql(SCHEMA, PREFIX))
        case ["put", jobs]:
            put(jobs)
