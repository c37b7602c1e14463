"""How Redis is reached, and in which words it is said when it cannot be, or says no.

A plain server, with or without TLS, or a Redis Cluster (`?cluster=true` in the address). No Sentinel: it would have to
be asked for the primary after every failover, and a managed Redis or a Cluster does that behind one address.
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
"""Below the lease's life by far: three attempts to renew must fit into it."""
FAULTS = (RedisError, RedisClusterException, OSError)
"""All that a call can raise which is Redis' fault, or the way's to it, and not a bug of ours."""

_PROBE_S = 5.0
_LONGEST_SHOWN = 160

_OURS = re.compile(r"(family|cluster)=")


def connect(url: str, *, timeout_s: float | None = None) -> Client:
    """A client that never repeats a command by itself: one sent twice would be done twice.

    A Cluster's client follows MOVED and ASK, which say that nothing was done.
    """
    deadline = TIMEOUT_S if timeout_s is None else timeout_s
    options: dict[str, Any] = {
        "decode_responses": True,
        # What is binary under our keys is malformed as any other text that is not ours, and breaks off no answer.
        "encoding_errors": "replace",
        # Every version and every proxy speaks it; with 3 redis-py also asks each server for notices of its maintenance.
        "protocol": 2,
        "socket_timeout": deadline,
        "socket_connect_timeout": deadline,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "client_name": "worker-autoscaler",
    }
    pairs = [pair for pair in urlsplit(url).query.split("&") if pair]
    # Railway's address often carries `family=0`, which tells a Node client to use IPv6 too; Python does so anyway.
    query = "&".join(pair for pair in pairs if not _OURS.match(pair))
    address = urlsplit(url)._replace(query=query).geturl()
    return (RedisCluster if "cluster=true" in pairs else Redis).from_url(address, **options)


async def set_all(client: Client, values: Mapping[str, str]) -> None:
    """At once, so that nobody reads one of them old and another new; on a Cluster one after the other, in this order.

    The keys of a Cluster may live on several nodes, and no command writes to more than one.
    """
    if isinstance(client, RedisCluster):
        for key, value in values.items():
            await client.set(key, value)
    else:
        await client.mset(dict(values))


def in_words(error: BaseException) -> str:
    """What is wrong and what to do about it, to be read after "Redis"; no secret is in it."""
    error = _inside(error)
    if isinstance(error, RedisTimeoutError):
        if "connecting" in str(error):
            return f"could not be connected to in time; wrong port, firewall, or TLS on one side only? {_EITHER_WAY}"
        return "did not answer in time"
    words = next((words for kind, words in _KINDS if isinstance(error, kind)), None)
    if words is not None:
        return words.format(_brief(error))
    if isinstance(error, InvalidResponse):
        return _of_another_kind(str(error))
    if isinstance(error, RedisConnectionError):
        return _unreachable(error)
    return _answered(_brief(error))


_EITHER_WAY = "(a port with TLS takes rediss://, one without takes redis://)"
_FULL = "is out of memory; raise maxmemory, or empty it of other things"
_REPLICA = "is a read-only replica; REDIS_URL must name the primary"
_CLUSTER = "is a node of a Redis Cluster; add ?cluster=true to REDIS_URL"
_SCRIPTS = "denies the user of REDIS_URL a right that our scripts need; docs/redis.md lists them"
_NUMBER = "has no database of the number that REDIS_URL ends in; most have 16, 0 to 15: leave it out, or name another"
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (NoPermissionError, "denies the user of REDIS_URL a right ({}); docs/redis.md lists them"),
    (AuthenticationError, "refuses the user or password of REDIS_URL ({})"),
    (AuthorizationError, "refuses the user or password of REDIS_URL ({})"),
    (BusyLoadingError, "is loading its data; it will answer when that is done"),
    (OutOfMemoryError, _FULL),
    (ReadOnlyError, _REPLICA),
    (ClusterDownError, "is a Cluster that does not serve our keys now ({}); look at its failed nodes"),
    (AskError, _CLUSTER),
    (ClusterCrossSlotError, _CLUSTER),
    (OSError, "cannot be reached ({})"),
)


def _inside(error: BaseException) -> BaseException:
    """A Cluster's client wraps whatever it met on the last node that it tried."""
    while isinstance(error, RedisClusterException) and (inner := error.__cause__ or error.__context__):
        error = inner
    return error


# Redis 6.2 wraps what happens inside a script into an error of its own.
_ANSWERS = (
    ("unknown command", "runs no scripts; REDIS_URL must name a Redis or Valkey itself, not a Sentinel or a proxy"),
    ("cluster support disabled", "is no Redis Cluster; take cluster=true out of REDIS_URL"),
    ("NOREPLICAS", "has too few replicas in touch to take a write (min-replicas-to-write); look at its replicas"),
    ("MISCONF", "cannot save its data and takes no writes; look at its disk and its log"),
    ("WRONGTYPE", "holds something else under one of our keys; look at them (TYPE), and DEL what is not ours"),
    ("READONLY", _REPLICA),
    ("OOM", _FULL),
    ("ACL failure in script", _SCRIPTS),
    ("user executing the script", _SCRIPTS),
    ("DB index", _NUMBER),
    ("invalid DB", _NUMBER),
    ("SELECT is not allowed", "is a node of a Redis Cluster; take the number out of REDIS_URL, and add ?cluster=true"),
)


def _answered(text: str) -> str:
    words = next((words for mark, words in _ANSWERS if mark in text), None)
    return f"{words} ({text})" if words else f"answered with an error: {text}"


def _of_another_kind(text: str) -> str:
    """What answers, but not in Redis' protocol: a TLS alert begins with the bytes 0x15 0x03."""
    if "\\x15\\x03" in text or "\x15\x03" in text:
        return "speaks TLS at that port; write rediss:// in the place of redis:// in REDIS_URL"
    return "does not answer as a Redis does; does REDIS_URL name the port of something else?"


def _unreachable(error: BaseException) -> str:
    """By what is underneath: redis-py calls everything that happens on the way a ConnectionError."""
    below = error.__cause__ or error.__context__
    match below:
        case ssl.SSLCertVerificationError():
            return (
                f"shows a certificate that cannot be trusted ({below.verify_message.rstrip('.')}); "
                "give its CA with ssl_ca_certs=PATH in REDIS_URL, and the host name that it is for"
            )
        case ssl.SSLError():
            reason = below.reason or "the connection was closed"
            return (
                f"speaks no TLS there that we understand ({reason}); is it redis:// instead of rediss://? "
                "Then write redis:// in REDIS_URL"
            )
        case socket.gaierror():
            return "cannot be found: the host in REDIS_URL has no address"
        case FileNotFoundError():
            return "cannot be asked: a file that an ssl_ option of REDIS_URL names is not there"
    if isinstance(below, ConnectionResetError | BrokenPipeError) or "closed by server" in str(error):
        return f"closed the connection; a restart, or TLS on one side only? {_EITHER_WAY}"
    return "cannot be reached at the address in REDIS_URL; is it running?"


def _brief(error: BaseException) -> str:
    text = str(error).split("\n", 1)[0]
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}{CUT}"


async def speaks_tls(url: str) -> bool | None:
    """Whether the port in the address speaks TLS or Redis' plain protocol; None where neither can be told.

    Nothing of the address but host and port is sent, and no certificate is looked at.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or 6379
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    for context in (None, trusting):  # a port with TLS ends a plain connection at once, and not the other way round
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
