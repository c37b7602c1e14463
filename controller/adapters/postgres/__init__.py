"""PostgreSQL: counts the jobs of a queue, measures how long jobs take, and listens for new ones. It only reads.

Tables of one's own (own_table), queue libraries (presets/) and free SQL (own_query) become one kind of reading.
Every statement has a timeout and a bound on what it counts.
"""

from controller.core.ports import Role, Source

SOURCE = Source(Role.QUEUE, "PostgreSQL")
