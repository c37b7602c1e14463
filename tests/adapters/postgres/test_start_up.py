"""What a server, a pooler or libpq says when it refuses a connection: shown in its own words, and never a password."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import ConnectionInfo

from controller.adapters.postgres.connection import OLDEST, connect
from controller.adapters.postgres.errors import in_words, is_connection_limit
from controller.adapters.postgres.listener import second_connection_needed
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.ports import Unavailable
from controller.demo.servers import Servers
from controller.policy import Queue
from tests.support.pooler import pooler, through
from tests.support.processes import autoscaler
from tests.support.scene import Scene

JOBS = Queue(table="generation_job")


async def refusal(url: str) -> str:
    queue = PostgresQueue(url, timeout_s=2.0)
    try:
        with pytest.raises(Unavailable) as unavailable:
            await queue.depth(JOBS, 100)
    finally:
        await queue.close()
    return str(unavailable.value)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (
            "options=-c%20nonsense%3D1",
            'a start-up parameter (unrecognized configuration parameter "nonsense"); remove it from DATABASE_URL',
        ),
        ("options=nonsense", "refuses a start-up parameter (invalid command-line argument for server process"),
        ("options=--nonsense", "or dropped the connection (--nonsense requires a value)"),
        (
            "channel_binding=require",
            "cannot be reached with the channel_binding in DATABASE_URL (channel binding",
        ),
        ("sslmode=require", "does not support TLS, but DATABASE_URL asks for it; write sslmode=prefer"),
        ("channel_binding=perhaps", 'invalid channel_binding value: "perhaps"'),
        ("target_session_attrs=standby", "server is not in hot standby mode"),
    ],
)
async def test_the_server_s_own_words_of_a_refused_start_up_are_shown(
    database_url: str, parameters: str, words: str
) -> None:
    assert words in await refusal(f"{database_url}?{parameters}")


async def test_a_pooler_s_own_words_are_shown(database_url: str, servers: Servers) -> None:
    with pooler(servers, sessions=1) as port:
        url = through(port, database_url)
        said = await refusal(f"{url}?options=-c%20search_path%3Dapp")
        assert "refuses a start-up parameter (unsupported startup parameter: options); remove it" in said
        nowhere = urlsplit(url)._replace(path="/nowhere").geturl()
        assert "does not have the database that DATABASE_URL names" in await refusal(nowhere)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("FATAL:  unsupported startup parameter in options: jit", "(unsupported startup parameter in options: jit)"),
        ("FATAL:  no such user: web", "does not know the user in DATABASE_URL"),
        ("FATAL:  no such database: web", "does not have the database"),
        ("ERROR:  no more connections allowed (max_client_conn)", "has no free connection"),
        ("FATAL:  MaxClientsInSessionMode: max clients reached - in Session mode", "has no free connection"),
        ("FATAL:  query_wait_timeout", "behind a pooler that had no free session in time (query_wait_timeout)"),
        ("FATAL:  Tenant or user not found", "cannot be reached, or dropped the connection (Tenant or user not found)"),
        (
            "FATAL:  Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen",
            "(Passwort-Authentifizierung für Benutzer",
        ),
        ('FATAL:  database "d" is not currently accepting connections', "does not have the database"),
        ("SSL error: certificate verify failed", "set sslrootcert to its CA, or write sslmode=require"),
        ('root certificate file "/x" does not exist', "set sslrootcert to its CA"),
        (
            "server closed the connection unexpectedly",
            "dropped the connection (server closed the connection unexpectedly)",
        ),
        ("", "cannot be reached, or dropped the connection; check"),
    ],
)
def test_each_refusal_has_its_words(said: str, words: str) -> None:
    text = f'connection failed: connection to server at "10.0.0.1", port 5432 failed: {said}' if said else ""
    assert words in in_words(psycopg.OperationalError(text), None, 2.0)


async def test_what_repeats_the_password_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(dsn: str, **_: object) -> None:
        raise psycopg.OperationalError(
            f"connection failed: FATAL:  unsupported startup parameter: hun ter2 of {dsn}, pg7pass9"
        )

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", refuse)
    monkeypatch.setenv("PGPASSWORD", "pg7pass9")
    dsn = "postgresql://u:hun%20ter2@h/d"
    with pytest.raises(psycopg.OperationalError) as error:
        await connect(dsn)
    assert in_words(error.value, None, 2.0) == (
        "refuses a start-up parameter (unsupported startup parameter: ••• of •••, •••); "
        "remove it from DATABASE_URL, or from PGOPTIONS"
    )


# --- versions


@asynccontextmanager
async def of_version(url: str, major: bytes) -> AsyncIterator[str]:
    """The address of a way to the server on which it says to be of another version."""
    address = urlsplit(url)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(re.sub(rb"(server_version\x00)\d\d", rb"\g<1>" + major, data))
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.gather(pipe(reader, ours), pipe(theirs, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield address._replace(netloc=f"postgres@127.0.0.1:{port}").geturl()


async def test_a_server_that_is_too_old_is_refused_with_its_version_and_what_to_do(database_url: str) -> None:
    async with of_version(database_url, b"11") as url:
        said = await refusal(url)
    assert re.fullmatch(
        rf"PostgreSQL: is version 11\.\S+( .*)?; the oldest supported version is {OLDEST}: upgrade it", said
    )


async def test_the_oldest_that_is_supported_is_read(database_url: str) -> None:
    async with of_version(database_url, str(OLDEST).encode()) as url:
        assert "this user can see no table" in await refusal(url)


@pytest.mark.parametrize(("number", "refused"), [(90624, True), (119999, True), (120000, False), (0, False)])
async def test_a_version_that_is_unknown_is_no_old_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch, number: int, *, refused: bool
) -> None:
    monkeypatch.setattr(ConnectionInfo, "server_version", property(lambda _: number))
    said = await refusal(database_url)
    assert ("the oldest supported version is" in said) is refused


@pytest.mark.costly
async def test_doctor_and_the_commands_refuse_an_old_server(scene: Scene) -> None:
    async with of_version(scene.environment["DATABASE_URL"], b"10") as url:
        old = {**scene.environment, "DATABASE_URL": url}
        doctor, once = await asyncio.gather(autoscaler("doctor", environment=old), autoscaler("once", environment=old))
    assert doctor.code == once.code == 1
    assert re.search(r"error +PostgreSQL +PostgreSQL is version 10\.\S+.*: upgrade it", doctor.out)
    assert "the oldest supported version is 12: upgrade it" in once.out


# --- connection limits


@pytest.mark.parametrize(
    ("said", "is_full"),
    [
        ('FATAL:  too many connections for role "x"', True),
        ('FATAL:  too many connections for database "x"', True),
        ("FATAL:  sorry, too many clients already", True),
        ("FATAL:  remaining connection slots are reserved for non-replication superuser connections", True),
        ("Connection refused", False),
    ],
)
def test_a_server_without_room_is_told_from_one_that_is_away(said: str, *, is_full: bool) -> None:
    error: Any = psycopg.OperationalError(f"connection failed: {said}")
    assert is_connection_limit(error) is is_full
    assert ("has no free connection; one is needed" in in_words(error, None, 2.0)) is is_full
    assert "DATABASE_DIRECT_URL" in second_connection_needed("DATABASE_DIRECT_URL", in_words(error, None, 2.0))
