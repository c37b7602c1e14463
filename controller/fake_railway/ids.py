"""Made-up ids that look like Railway's and never change, so that a restarted fake is still the same place."""

from __future__ import annotations

import uuid

PROJECT_ID = "5f1c0a52-3d0e-4c55-9a77-0b6d1d6f3a01"
ENVIRONMENT_ID = "9a3e7c14-8f20-4b6b-a1d4-27c5e0b9f402"
OTHER_ENVIRONMENT_ID = "c47d2b90-61fa-4e0b-8d3c-f5a918e27403"
"""Where `fake-other-project-token` belongs: a project token is refused outside its own environment."""
WORKER_SERVICE_ID = "2b8d6f3e-94c1-4a7e-b052-6e1f8a3d7c04"
WORKSPACE_ID = "e0916c7d-5b3a-4f82-9c6e-3d7a10f4b805"
USER_ID = "71d4e8a6-0c2f-4b95-8e37-a9f0526cd106"

_NAMESPACE = uuid.UUID("0d9b7f52-1e64-4c38-a7b5-9f2c6e804d07")


def named(name: str) -> str:
    """The same id for the same name, for services that are added by name."""
    return str(uuid.uuid5(_NAMESPACE, name))


def fresh() -> str:
    return str(uuid.uuid4())
