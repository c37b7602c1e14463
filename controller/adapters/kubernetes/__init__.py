"""Kubernetes: reads and sets the scale of Deployments and of any other resource with a scale subresource.

Over its HTTP API with httpx, and no client library. Its settings, its words and its coordinates stay here.
"""

from controller.core.ports import Role, Source

SOURCE = Source(Role.PLATFORM, "Kubernetes")
