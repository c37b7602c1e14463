"""Connects to Redis, and turns its errors into a sentence that says what is wrong and how to fix it.

Supported are a single server, with or without TLS, and a Redis Cluster (`?cluster=true` in the address). Sentinel is
not: a client must ask it for the primary after every failover; managed Redis and Cluster do that behind one address.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from controller.core.text.masking import CUT

Client: TypeAlias = Redis | RedisCluster

TIMEOUT_S = 2.0
"""Far below the lease's time to live, so that three attempts to renew fit into it."""
FAULTS = (RedisError, RedisClusterException, OSError)
"""Every error of a call that comes from Redis or the network, and not from a bug of ours."""

_PROBE_S = 5.0
_LONGEST_SHOWN = 160

_OURS = re.compile(r"(family|cluster)=")


def connect(url: str, *, timeout_s: float | None = None) -> Client:
    """A client that never retries by itself: a command sent twice may run twice.

    A Cluster's client follows MOVED and ASK; after these nothing has been executed.
    """
    deadline = TIMEOUT_S if timeout_s is None else timeout_s
    options: dict[str, Any] = {
        "decode_responses": True,
        # Binary data under our keys is handled like other malformed text, instead of failing the whole answer.
        "encoding_errors": "replace",
        # Every version and proxy supports 2. With 3, redis-py also subscribes to maintenance notices of each server.
        "protocol": 2,
        "socket_timeout": deadline,
        "socket_connect_timeout": deadline,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "client_name": "worker-autoscaler",
    }
    pairs = [pair for pair in urlsplit(url).query.split("&") if pair]
    # An address often carries `family=0`, which tells a Node client to use IPv6 too; Python does so anyway.
    query = "&".join(pair for pair in pairs if not _OURS.match(pair))
    address = urlsplit(url)._replace(query=query).geturl()
    return (RedisCluster if "cluster=true" in pairs else Redis).from_url(address, **options)


async def set_all(client: Client, values: Mapping[str, str]) -> None:
    """Sets all values atomically; on a Cluster one after the other, in this order.

    A Cluster's keys may be on several nodes, and no command writes to more than one.
    """
    if isinstance(client, RedisCluster):
        for key, value in values.items():
            await client.set(key, value)
    else:
        await client.mset(dict(values))


def in_words(error: BaseException) -> str:
    """What is wrong and how to fix it, to follow the word "Redis"; it contains no secret."""
    error = _unwrapped(error)
    if isinstance(error, RedisTimeoutError):
        if "connecting" in str(error):
            return f"could not be reached in time; wrong port, firewall, or TLS on one side only? {_SCHEMES}"
        return "did not answer in time"
    words = next((words for kind, words in _KINDS if isinstance(error, kind)), None)
    if words is not None:
        return words.format(_brief(error))
    if isinstance(error, InvalidResponse):
        return _not_redis(str(error))
    if isinstance(error, RedisConnectionError):
        return _unreachable(error)
    return _error_answer(_brief(error))


_SCHEMES = "(a port with TLS needs rediss://, one without needs redis://)"
_FULL = "is out of memory; raise maxmemory, or delete other data"
_REPLICA = "is a read-only replica; REDIS_URL must name the primary"
_CLUSTER = "is a node of a Redis Cluster; add ?cluster=true to REDIS_URL"
_SCRIPTS = "denies the user of REDIS_URL a right that our scripts need; docs/redis.md lists them"
_NUMBER = "does not have the database number in REDIS_URL; most have 0 to 15: remove the number, or use another"
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (NoPermissionError, "denies the user of REDIS_URL a right ({}); docs/redis.md lists them"),
    (AuthenticationError, "refuses the user or password of REDIS_URL ({})"),
    (AuthorizationError, "refuses the user or password of REDIS_URL ({})"),
    (BusyLoadingError, "is loading its data; it answers once that is done"),
    (OutOfMemoryError, _FULL),
    (ReadOnlyError, _REPLICA),
    (ClusterDownError, "is a Cluster that does not serve our keys now ({}); check its failed nodes"),
    (AskError, _CLUSTER),
    (ClusterCrossSlotError, _CLUSTER),
    (OSError, "cannot be reached ({})"),
)


def _unwrapped(error: BaseException) -> BaseException:
    """The error within: a Cluster's client wraps the error of the last node that it tried."""
    while isinstance(error, RedisClusterException) and (inner := error.__cause__ or error.__context__):
        error = inner
    return error


# Matched by text, because Redis 6.2 wraps errors within a script into an error of its own.
_ANSWERS = (
    ("unknown command", "runs no scripts; REDIS_URL must name Redis or Valkey itself, not a Sentinel or a proxy"),
    ("cluster support disabled", "is not a Redis Cluster; remove cluster=true from REDIS_URL"),
    ("NOREPLICAS", "has too few connected replicas to accept writes (min-replicas-to-write); check its replicas"),
    ("MISCONF", "cannot save its data and refuses writes; check its disk and its log"),
    ("WRONGTYPE", "holds another type under one of our keys; check them (TYPE), and DEL the wrong one"),
    ("READONLY", _REPLICA),
    ("OOM", _FULL),
    ("ACL failure in script", _SCRIPTS),
    ("user executing the script", _SCRIPTS),
    ("DB index", _NUMBER),
    ("invalid DB", _NUMBER),
    ("SELECT is not allowed", "is a node of a Redis Cluster; remove the number from REDIS_URL, and add ?cluster=true"),
)


def _error_answer(text: str) -> str:
    words = next((words for mark, words in _ANSWERS if mark in text), None)
    return f"{words} ({text})" if words else f"answered with an error: {text}"


def _not_redis(text: str) -> str:
    """The answer is not in Redis' protocol. A TLS alert begins with the bytes 0x15 0x03."""
    if "\\x15\\x03" in text or "\x15\x03" in text:
        return "speaks TLS at that port; write rediss:// instead of redis:// in REDIS_URL"
    return "does not answer like Redis; does REDIS_URL name the port of another service?"


def _unreachable(error: BaseException) -> str:
    """By the underlying error: redis-py raises the same ConnectionError for every network fault."""
    below = error.__cause__ or error.__context__
    match below:
        case ssl.SSLCertVerificationError():
            return (
                f"has a certificate that is not trusted ({below.verify_message.rstrip('.')}); in REDIS_URL, set "
                "ssl_ca_certs=PATH to its CA, and use the host name of the certificate"
            )
        case ssl.SSLError():
            reason = below.reason or "the connection was closed"
            return (
                f"failed the TLS handshake ({reason}); if the port has no TLS, write redis:// instead of rediss:// "
                "in REDIS_URL"
            )
        case socket.gaierror():
            return "cannot be found: the host in REDIS_URL does not exist, or only in a private network"
        case FileNotFoundError():
            return "cannot be asked: a file named by an ssl_ option in REDIS_URL does not exist"
    if isinstance(below, ConnectionResetError | BrokenPipeError) or "closed by server" in str(error):
        return f"closed the connection; a restart, or TLS on one side only? {_SCHEMES}"
    return "cannot be reached at the address in REDIS_URL; is it running?"


def _brief(error: BaseException) -> str:
    text = str(error).split("\n", 1)[0]
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}{CUT}"


async def speaks_tls(url: str) -> bool | None:
    """Whether the port in the address speaks TLS (True) or Redis' plain protocol (False); None if unknown.

    It uses only host and port of the address, and checks no certificate.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or 6379
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    for context in (None, trusting):  # plain first: a port with TLS closes it at once; the reverse may time out
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(_PROBE_S):
                reader, writer = await asyncio.open_connection(host, port, ssl=context)
                try:
                    if context is not None:
                        return True
                    writer.write(b"PING\r\n")
                    if (await reader.read(1)) in {b"+", b"-"}:
                        return False
                finally:
                    writer.close()
    return None
