"""A link between a client and an echo, in each of its modes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from controller.demo.server_host import free_ports
from tests.support.misfortunes import LinkMode
from tests.support.patience import in_time, until
from tests.support.proxy import Link


@pytest.fixture
def heard() -> list[bytes]:
    return []


@pytest.fixture
async def link(heard: list[bytes]) -> AsyncIterator[Link]:
    """`heard` is what arrived at the other end, which says it back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            heard.append(data)
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    one = Link("a to echo", next(free_ports()), server.sockets[0].getsockname())
    await one.open()
    yield one
    await one.close()
    server.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, link: Link) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", link.port))

    async def say(self, words: bytes) -> bytes:
        self.writer.write(words)
        return await in_time(self.reader.read(100), f"an answer to {words!r}")


async def test_undisturbed_it_passes_everything_and_overhears_what_is_asked(link: Link) -> None:
    overheard: list[bytes] = []
    link.overhear = overheard.append
    client = await Client.of(link)
    assert await client.say(b"hello") == b"hello"
    assert (overheard, link.suffered) == ([b"hello"], 0)


async def test_refusing_ends_what_there_is_and_takes_nothing_new_until_it_is_healed(link: Link) -> None:
    client = await Client.of(link)
    await client.say(b"hello")
    await link.disturb(LinkMode.REFUSE)
    with pytest.raises(ConnectionResetError):
        await client.say(b"still there?")
    with pytest.raises(ConnectionRefusedError):
        await Client.of(link)
    await link.heal()
    assert await (await Client.of(link)).say(b"again") == b"again"


async def test_silence_swallows_both_ways_and_what_was_lost_does_not_come_later(link: Link, heard: list[bytes]) -> None:
    client = await Client.of(link)
    await link.disturb(LinkMode.DROP)
    client.writer.write(b"hello")
    await until(lambda: link.suffered, "silence to swallow it")
    await link.heal()
    with pytest.raises(ConnectionResetError):
        await client.reader.read(100)
    assert heard == []


async def test_half_silence_lets_requests_through_and_loses_the_replies(link: Link, heard: list[bytes]) -> None:
    client = await Client.of(link)
    await link.disturb(LinkMode.HALF_DROP)
    client.writer.write(b"hello")
    await until(lambda: link.suffered, "the reply to be lost")
    assert heard == [b"hello"]
    await link.heal()
    with pytest.raises(ConnectionResetError):
        await client.reader.read(100)


async def test_delay_holds_everything_back_for_so_long_each_way(link: Link) -> None:
    client = await Client.of(link)
    await link.disturb(LinkMode.SLOW, delay=0.1)
    began = time.monotonic()
    assert await client.say(b"hello") == b"hello"
    assert time.monotonic() - began >= 0.2


async def test_a_cut_resets_connections_and_welcomes_new_ones(link: Link) -> None:
    client = await Client.of(link)
    await client.say(b"hello")
    assert link.cut() == 1
    with pytest.raises(ConnectionResetError):
        await client.reader.read(100)
    assert await (await Client.of(link)).say(b"again") == b"again"
