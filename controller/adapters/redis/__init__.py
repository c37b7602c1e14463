"""Redis: lease, journal, rate limit, and what the standby shows."""

from controller.core.ports import Role, Source

SOURCE = Source(Role.JOURNAL, "Redis")
