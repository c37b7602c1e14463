"""A Django program: `migrate`, `put JOBS` and `work`, each in a process of its own: Django knows one database."""

import json
import os
import sys
from datetime import timedelta

import django
from django.core.management import call_command
from django.utils import timezone
from django_tasks import task

from tests.queues.jobs import LATER_S, do_and_block


@task()
def job(does: str) -> None:
    do_and_block(does)


def put(jobs: str) -> None:
    from tests.queues.django_app import job as put_job

    for one in json.loads(jobs):
        run_after = timezone.now() + timedelta(seconds=LATER_S) if one["later"] else None
        put_job.using(queue_name=one["queue"], run_after=run_after).enqueue(one["does"])


def work() -> None:
    """Three of its workers, which run one job each at a time."""
    for _ in range(2):
        if os.fork() == 0:
            break
    call_command("db_worker", queue_name="default", interval=0.1, startup_delay=False, worker_id=str(os.getpid()))


if __name__ == "__main__":
    django.setup()
    match sys.argv[1:]:
        case ["migrate"]:
            call_command("migrate", verbosity=0)
        case ["put", jobs]:
            put(jobs)
        case _:
            work()
