"""The least that Django needs to have tasks in a database."""

import os
from urllib.parse import urlsplit

_url = urlsplit(os.environ.get("DATABASE_URL", "postgresql://nobody@localhost/none"))

SECRET_KEY = "made up"
USE_TZ = True
INSTALLED_APPS = ["django_tasks", "django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": []}}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _url.hostname,
        "PORT": _url.port,
        "USER": _url.username,
        "NAME": _url.path[1:],
    }
}
