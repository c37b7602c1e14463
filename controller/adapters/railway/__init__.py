"""Railway: reads and sets the replica counts of an environment's services over its public GraphQL API.

Its settings, its words and its coordinates stay here; core sees Replicas.
Requests are counted against the quota (budget), and answers are read within limits (answer).
"""

from controller.core.ports import Role, Source

SOURCE = Source(Role.PLATFORM, "Railway")
