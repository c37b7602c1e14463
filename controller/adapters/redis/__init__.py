"""Redis: lease, journal, rate limit, and what the standby shows."""
