"""PostgreSQL: counts the jobs of a queue and wakes the loop. Reads only."""
