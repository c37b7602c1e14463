"""How growth is told from noise."""

from __future__ import annotations

import os
import random
import socket

from tests.bench.soak import MOST, Sample, growth, sample


def grown(*, kb_per_second: float = 0.0, sockets_per_second: float = 0.0, warm_up_kb: int = 0) -> list[str]:
    """Half an hour of it, with noise: what is called growing."""
    dice = random.Random(1)
    samples = []
    for at in range(0, 1800, 2):
        memory = 50_000 - (warm_up_kb if at < 300 else 0) + kb_per_second * at + dice.gauss(0, 400)
        samples.append(Sample(float(at), round(memory), round(6 + sockets_per_second * at)))
    return [figure for figure, by in growth(samples) if by > MOST[figure]]


def test_noise_and_the_beginning_are_flat_and_a_leak_is_not() -> None:
    assert grown() == grown(warm_up_kb=20_000) == []
    assert grown(kb_per_second=4.0) == ["memory_kb"]
    assert grown(sockets_per_second=0.005) == ["sockets"]


def test_a_sample_sees_the_sockets_and_the_memory_of_a_process() -> None:
    before = sample(os.getpid())
    with socket.socket(), socket.socket():
        during = sample(os.getpid())
    assert during.sockets == before.sockets + 2
    assert before.memory_kb > 5_000
