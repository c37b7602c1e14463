"""How growth is told from noise."""

from __future__ import annotations

import os
import random
import socket

from tests.faults.soak import Sample, growth, sample


def grown(*, kb_per_second: float = 0.0, sockets_per_second: float = 0.0) -> list[bool]:
    """Half an hour of it, with noise: which of memory and sockets is called flat."""
    dice = random.Random(1)
    samples = [
        Sample(float(at), round(50_000 + kb_per_second * at + dice.gauss(0, 400)), round(6 + sockets_per_second * at))
        for at in range(0, 1800, 2)
    ]
    return [one.is_flat for one in growth("a1", samples)]


def test_noise_is_flat_and_a_leak_is_not() -> None:
    assert grown() == [True, True]
    assert grown(kb_per_second=4.0) == [False, True]
    assert grown(sockets_per_second=0.005) == [True, False]


def test_the_beginning_does_not_count() -> None:
    samples = [Sample(float(at), 30_000 if at < 300 else 60_000, 6) for at in range(0, 1800, 2)]
    assert all(one.is_flat for one in growth("a1", samples))


def test_a_sample_sees_the_sockets_and_the_memory_of_a_process() -> None:
    before = sample(os.getpid())
    with socket.socket(), socket.socket():
        during = sample(os.getpid())
    assert during.sockets == before.sockets + 2
    assert before.memory_kb > 5_000
