"""A whole small system on one machine: real PostgreSQL and Redis, real workers, the real controller, the fake Railway.

What the demo alone needs belongs here: the servers' processes (servers, server_host), the jobs' table (jobs), a worker
that does them (worker), the course of the demo (show, screen), and its record for `simulate` (recording). The tests use
its servers as well. The controller never imports it; it may need packages of the extra `demo`.
"""
