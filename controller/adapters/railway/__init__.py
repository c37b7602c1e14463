"""Railway: reads and sets the replica counts of an environment's services over its public GraphQL API."""

from controller.core.ports import Role, Source

SOURCE = Source(Role.PLATFORM, "Railway")
