"""A whole small system on one machine: real PostgreSQL and Redis, real workers, the real controller, the fake Railway.

It starts and ends its processes, and shows them on one screen.
The tests use its servers as well.
"""
