"""Docker Swarm: reads and sets the replica counts of services over the API of an Engine that is a manager.

Every write names the version of the service that the decision was based on, and the manager refuses an older one: a
stale leader cannot overwrite a newer count. Swarm's settings, words and coordinates stay here; core sees Replicas.
"""

from controller.core.ports import Role, Source

SOURCE = Source(Role.PLATFORM, "Docker Swarm")
