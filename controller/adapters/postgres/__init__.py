"""PostgreSQL: counts the jobs of a queue and wakes the loop. Reads only."""

from controller.core.ports import Role, Source

SOURCE = Source(Role.QUEUE, "PostgreSQL")
