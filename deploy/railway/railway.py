"""The controller on Railway: two replicas, Redis, and their variables.

    cp deploy/railway/railway.py .railway/railway.py     # in your own repository; or name it with --file
    railway config plan                                  # shows what would change, and changes nothing
    railway config apply

The Railway CLI evaluates this file with the package railway-sdk (`pip install railway-sdk`). With PARTIAL it manages
only the resources below: your web service, workers and PostgreSQL stay as they are. If your own railway.py declares the
whole environment, move the two resources into it and leave PARTIAL out.

The scaled services are only named here. If your own file declares them, leave `replicas` out of them: `railway config
plan` shows a line for each count that differs, and `railway config apply` would reset it.
"""

import os

from railway_sdk import define_railway, github, preserve, project, redis, service

PARTIAL = "autoscaler"

PROJECT = os.environ.get("AUTOSCALER_PROJECT", "my-project")
REPOSITORY = os.environ.get("AUTOSCALER_REPOSITORY", "my-name/worker-autoscaler")
"""The repository that the image is built from, including your policy.yaml."""
POSTGRES = os.environ.get("AUTOSCALER_POSTGRES", "Postgres")
"""The name of the queue's PostgreSQL service in the project, exactly as its tile shows it."""
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
            # New replicas start before old ones end, and the old ones have the time to finish a change.
            "overlapSeconds": 20,
            "drainingSeconds": 30,
            # Restart also after exit code 0: a controller should always run.
            "restartPolicyType": "ALWAYS",
        },
        env={
            "DATABASE_URL": f"${{{{{POSTGRES}.DATABASE_URL}}}}",
            "REDIS_URL": memory.env.REDIS_URL,
            # A project token, set once in the dashboard (or with `railway variables`); never write it into a file.
            "RAILWAY_TOKEN": preserve(),
            # Railway itself sets RAILWAY_PROJECT_ID and RAILWAY_ENVIRONMENT_ID.
            "RAILWAY_WORKER_SERVICE_ID": f"${{{{{WORKER}.RAILWAY_SERVICE_ID}}}}",
        },
    )
    return project(PROJECT, resources=[memory, controller])
