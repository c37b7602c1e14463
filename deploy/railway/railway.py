"""The controller on Railway: two replicas, Redis, and their variables.

    cp deploy/railway/railway.py .railway/railway.py     # in your own repository; or name it with --file
    railway config plan                                  # what would change; it changes nothing
    railway config apply

It is evaluated by the Railway CLI with the package railway-sdk (`pip install railway-sdk`). PARTIAL says that it owns
the resources below and no others: your web service, workers and PostgreSQL stay as they are. Where a railway.py of
yours declares the whole environment, move the two resources into it and leave PARTIAL out.

The services that are scaled stand here by name only. Where a file of yours declares them, leave `replicas` out of them:
`railway config plan` shows a line for each count that differs, and `railway config apply` would set it back.
"""

import os

from railway_sdk import define_railway, github, preserve, project, redis, service

PARTIAL = "autoscaler"

PROJECT = os.environ.get("AUTOSCALER_PROJECT", "my-project")
REPOSITORY = os.environ.get("AUTOSCALER_REPOSITORY", "my-name/worker-autoscaler")
"""The repository that the image is built from, with your policy.yaml in it."""
POSTGRES = os.environ.get("AUTOSCALER_POSTGRES", "Postgres")
"""What the service of the queue's PostgreSQL is called in the project, exactly as its tile shows it."""
WORKER = os.environ.get("AUTOSCALER_WORKER", "worker")
"""The service whose replicas are scaled."""


@define_railway
def main(ctx=None):  # noqa: ANN001, ANN201, ARG001 - as the CLI calls it
    memory = redis("autoscaler-redis")
    controller = service(
        "autoscaler",
        source=github(REPOSITORY),
        build={"builder": "DOCKERFILE", "dockerfilePath": "deploy/Dockerfile"},
        replicas=2,  # one leads, the other takes over
        healthcheck="/health",
        healthcheckTimeout=60,
        deploy={
            # The new ones run before the old ones go, and these have the time to end a change that they are making.
            "overlapSeconds": 20,
            "drainingSeconds": 30,
            # Also after an end with exit code 0: nothing ends a controller for good but its removal.
            "restartPolicyType": "ALWAYS",
        },
        env={
            "DATABASE_URL": f"${{{{{POSTGRES}.DATABASE_URL}}}}",
            "REDIS_URL": memory.env.REDIS_URL,
            # A project token, set once in the dashboard (or with `railway variables`), and never written into a file.
            "RAILWAY_TOKEN": preserve(),
            # Railway sets RAILWAY_PROJECT_ID and RAILWAY_ENVIRONMENT_ID by itself.
            "RAILWAY_WORKER_SERVICE_ID": f"${{{{{WORKER}.RAILWAY_SERVICE_ID}}}}",
        },
    )
    return project(PROJECT, resources=[memory, controller])
