"""An empty PostgreSQL database and an empty Redis database for each test, out of a few that are used again and again.

What empties them stays connected. A new connection reads PostgreSQL's catalogs before it does anything with a table:
to connect, empty and create anew takes the server ten times as much as to empty on a connection that did so before.
"""

from __future__ import annotations

import itertools
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg.sql import SQL

from controller.demo import jobs
from controller.demo.servers import Servers

_EMPTY = SQL("""
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
DO $$
DECLARE
    one name;
BEGIN
    EXECUTE format('ALTER DATABASE %I RESET ALL', current_database());
    FOR one IN SELECT nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', one);
    END LOOP;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO public;
END $$
""")
"""What a database is when it is created, as far as tests can change it, and without anybody in it."""
_QUEUE = jobs.layout()
_FLUSH = "redis.call('SELECT', ARGV[1]); redis.call('FLUSHDB')"

_numbers = itertools.cycle(range(1, 16))
_letters = itertools.cycle("abc")
_inside: dict[str, psycopg.Connection] = {}
_redis: dict[str, redis.Redis] = {}


def empty_database(on: Servers) -> str:
    """Its address. Three calls later it is emptied and given again."""
    name = f"test_{next(_letters)}"
    url = urlsplit(on.database_url)._replace(path=f"/{name}").geturl()
    try:
        _inside[url].execute(_EMPTY)
    except (KeyError, psycopg.OperationalError):  # a test may have ended all connections, or the server
        _inside[url] = _connected(on, url, name)
        _inside[url].execute(_EMPTY)
    return url


def lay_out_queue(database_url: str) -> None:
    """The one of the shipped policy, in a database that was given by empty_database()."""
    _inside[database_url].execute(_QUEUE)


def _connected(on: Servers, url: str, name: str) -> psycopg.Connection:
    with psycopg.connect(on.database_url, autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            admin.execute(f"CREATE DATABASE {name} STRATEGY file_copy".encode())
    return psycopg.connect(url, autocommit=True)


def empty_redis(on: Servers) -> str:
    """The address of an empty numbered database; sixteen calls later it is emptied and given again."""
    client = _redis.setdefault(on.redis_url, redis.Redis.from_url(on.redis_url))
    number = next(_numbers)
    client.eval(_FLUSH, 0, str(number))
    return urlsplit(on.redis_url)._replace(path=f"/{number}").geturl()
