"""PostgreSQL: counts the jobs of a queue, measures how long jobs take, and listens for new ones. It only reads.

Tables of one's own (own_table), queue libraries (presets/) and free SQL (own_query) become one kind of reading.
Every statement has a timeout and a bound on what it counts. queue.py is the port; readings.py decides which queues
share a round trip, counting.py makes it, and lanes.py has the connections.
"""

from controller.core.ports import Role, Source

SOURCE = Source(Role.QUEUE, "PostgreSQL")
