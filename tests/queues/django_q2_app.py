"""A Django Q2 program: `migrate`, `put JOBS` and `work`, each in a process of its own: Django knows one database."""

import json
import sys
from datetime import timedelta

import django
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from tests.queues.django_settings import DATABASES, SECRET_KEY
from tests.queues.jobs import LATER_S

JOB = "tests.queues.jobs.do_and_block"
CLUSTER = {
    "name": "default",
    "ALT_CLUSTERS": {"other": {}},
    "orm": "default",
    "workers": 3,
    "queue_limit": 1,  # as few as it can claim ahead: one in its queue, and one that waits to get into it
    "poll": 0.05,
    "guard_cycle": 0.1,
    "timeout": 600,
    "retry": 700,
    "ack_failures": True,
}


def put(jobs: str) -> None:
    from django_q.tasks import async_task, schedule

    for one in json.loads(jobs):
        if one["later"]:
            # As most do, who have but one cluster: for the one that has the name in Q_CLUSTER.
            cluster = None if one["queue"] == CLUSTER["name"] else one["queue"]
            schedule(JOB, one["does"], next_run=timezone.now() + timedelta(seconds=LATER_S), cluster=cluster)
        else:
            async_task(JOB, one["does"], q_options={"cluster": one["queue"]})


if __name__ == "__main__":
    settings.configure(
        SECRET_KEY=SECRET_KEY, USE_TZ=True, INSTALLED_APPS=["django_q"], DATABASES=DATABASES, Q_CLUSTER=CLUSTER
    )
    django.setup()
    match sys.argv[1:]:
        case ["migrate", *target]:
            call_command("migrate", *target, verbosity=0)
        case ["put", jobs]:
            put(jobs)
        case _:
            call_command("qcluster")
