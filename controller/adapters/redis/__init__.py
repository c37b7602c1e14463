"""Redis: the lease, the journal of each worker's history, the rate limit, and what the leader publishes.

Every write checks the lease in the same script. What a process knows and Redis has lost is given back (shadow).
Text that stands in Redis is from outside: it is checked before it is used.
"""

from controller.core.ports import Role, Source

SOURCE = Source(Role.JOURNAL, "Redis")
