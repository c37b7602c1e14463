"""A trace is read line by line, any number of times, and the first line that is wrong is named with the fix."""

from __future__ import annotations

import gzip
import math
import os
import statistics
import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.core.problems import ConfigurationError
from controller.simulation.workload import traces
from controller.simulation.workload.traces import read_trace
from tests.support.examples import examples

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def one(content: str | bytes, name: str = "a.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return one


def gzipped(content: bytes) -> bytes:
    """Without the time, so that a case has the same id in every process."""
    return gzip.compress(content, 1, mtime=0)


def refusal(path: Path) -> str:
    """What is said of it, at once or when its jobs are gone through, without the folder that it is in."""
    with pytest.raises(ConfigurationError) as refused:
        for _ in read_trace(path).jobs():
            pass
    (problem,) = refused.value.problems
    return str(problem).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    "content",
    [
        "t,service\n0,2\n1.5,3\n1.5,0\n",
        "t,service\r\n0,2\r\n1.5,3\r\n1.5,0\r\n\r\n\r\n",
        "t,service\n0,2\n1.5,3\n1.5,0",
        "service,t\n2,0\n3,1.5\n0,1.5\n",
        'id,t,queue,service,said\n1,0,a,2,\n2,1.5,b,3,\n3,1.5,ü,0,"a, b"\n',
        '"t","service"\n"0","2"\n"1.5","3"\n"1.5","0"\n',
        "\ufefft,service\n0,2\n1.5,3\n1.5,0\n",
        " t , service \n 0 , 2 \n 15e-1, 3\n1.5,0\n  \n",
    ],
    ids=["plain", "CRLF, blank lines", "no last end", "order", "more columns", "quoted", "BOM", "blanks"],
)
@pytest.mark.parametrize("pack", [bytes, gzipped], ids=["plain", "gzipped"])
def test_one_trace_however_it_is_written(write: Write, content: str, pack: Callable[[bytes], bytes]) -> None:
    workload = read_trace(write(pack(content.encode())))
    assert list(workload.jobs()) == [(0, 2), (1.5, 3), (1.5, 0)]
    assert list(workload.jobs()) == list(workload.jobs()), "each time anew"
    assert (workload.name, workload.span_s, workload.began, workload.notes) == ("a.csv", None, None, ())


def test_the_queue_of_each_job_is_read_where_the_policy_has_several(write: Write) -> None:
    path = write("t,queue,service\n0,b,2\n1.5, a ,3\n")
    workload = read_trace(path, queues=("a", "b"))
    assert (workload.queues, list(workload.jobs())) == (("a", "b"), [(0, 2, "b"), (1.5, 3, "a")])
    alone = read_trace(path)
    assert (alone.queues, list(alone.jobs())) == ((), [(0, 2), (1.5, 3)])
    without = read_trace(write("t,service\n0,2\n"), queues=("a", "b"))
    assert (without.queues, list(without.jobs())) == ((), [(0, 2)])


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        (
            "slow",
            "a.csv:3: queue is 'slow'; the policy has the queues a, b; write one of them, or leave the column out",
        ),
        ("", "a.csv:3: queue is missing; the policy has the queues a, b"),
    ],
    ids=["another queue", "no queue"],
)
def test_a_job_of_no_queue_of_the_policy_is_refused(write: Write, queue: str, said: str) -> None:
    workload = read_trace(write(f"t,queue\n0,a\n1,{queue}\n"), queues=("a", "b"))
    with pytest.raises(ConfigurationError) as refused:
        list(workload.jobs())
    assert said in str(refused.value.problems[0])


def test_what_a_file_is_called_does_not_say_whether_it_is_packed(write: Write) -> None:
    assert list(read_trace(write("t,service\n0,2\n", "a.csv.gz")).jobs()) == [(0, 2)]
    assert list(read_trace(write(gzipped(b"t,service\n0,2\n"), "a.csv")).jobs()) == [(0, 2)]


@pytest.mark.costly
def test_service_times_that_are_not_told_are_lognormal_with_the_mean_that_is_given(write: Write) -> None:
    path = write("t\n" + "\n".join(map(str, range(10_000))))
    workload = read_trace(path, service_mean=7.0, seed=3)
    services = [job[1] for job in workload.jobs()]
    assert [arrival for arrival, *_ in workload.jobs()] == list(range(10_000))
    assert statistics.fmean(services) == pytest.approx(7.0, rel=0.05)
    assert statistics.stdev(services) / statistics.fmean(services) == pytest.approx(1.31, rel=0.15)
    assert statistics.stdev(math.log(service) for service in services) == pytest.approx(1.0, rel=0.02)
    assert list(workload.jobs()) == list(read_trace(path, service_mean=7.0, seed=3).jobs())
    assert list(workload.jobs()) != list(read_trace(path, service_mean=7.0, seed=4).jobs())
    assert workload.notes == ("a.csv has no service times; they are assumed as lognormal with a mean of 7 s",)


def test_counts_come_within_their_minutes(write: Write) -> None:
    workload = read_trace(write("minute,count\n0,3\n2,0\n3,400\n9,0\n"))
    arrivals = [arrival for arrival, *_ in workload.jobs()]
    assert Counter(arrival // 60 for arrival in arrivals) == {0: 3, 3: 400}
    assert all(earlier <= later for earlier, later in pairwise(arrivals))
    assert workload.span_s == 600, "the last minute belongs to it, with jobs or without"
    assert statistics.fmean(arrivals[3:]) == pytest.approx(210, abs=4), "spread evenly"
    assert statistics.stdev(arrivals[3:]) == pytest.approx(60 / math.sqrt(12), rel=0.1)
    assert "lognormal" in workload.notes[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(24))
@given(counts=st.dictionaries(st.integers(0, 500), st.integers(0, 40), min_size=1), seed=st.integers(0, 99))
def test_counts_are_kept_whatever_they_are(write: Write, counts: dict[int, int], seed: int) -> None:
    counts[501] = 1
    rows = "".join(f"{count},{minute}\n" for minute, count in sorted(counts.items()))
    jobs = list(read_trace(write("count,minute\n" + rows), seed=seed).jobs())
    assert jobs == sorted(jobs, key=lambda job: job[0])
    held = Counter(int(arrival // 60) for arrival, *_ in jobs)
    assert held == Counter({minute: count for minute, count in counts.items() if count})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(24))
@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(0, 1e7)), min_size=1))
def test_what_is_written_is_what_is_read(write: Write, jobs: list[tuple[float, float]]) -> None:
    jobs.sort(key=lambda job: job[0])
    content = "service,t\n" + "".join(f"{service!r},{arrival!r}\n" for arrival, service in jobs)
    assert list(read_trace(write(gzipped(content.encode()))).jobs()) == jobs


BAD_HEADER = "it is `t` or `t,service` (seconds), also with `queue`, or `minute,count`, and comes before the rows"
GZIPPED = gzipped(b"t,service\n" + b"".join(f"{n},{n % 7}\n".encode() for n in range(30_000)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "a.csv:1: is empty"),
        (gzipped(b""), "a.csv:1: is empty"),
        ("t,service\n", "a.csv:1: has a header and no row below it"),
        ("t,service\n\n\n", "a.csv:1: has a header and no row below it"),
        ("minute,count\n", "a.csv:1: has a header and no row below it"),
        ("minute,count\n0,0\n1,0\n", "a.csv:1: counts no job"),
        ("0,5\n1,5\n", f"a.csv:1: is not the header of a trace: '0,5'; {BAD_HEADER}"),
        ("time,duration\n0,5\n", f"a.csv:1: is not the header of a trace: 'time,duration'; {BAD_HEADER}"),
        ("t;service\n0;5\n", f"a.csv:1: is not the header of a trace: 't;service'; {BAD_HEADER}"),
        ('{"t": 1}\n', "a.csv:1: is not the header of a trace: '{\"t\": 1}'"),
        ("t,minute,count\n0,0,1\n", "a.csv:1: is not the header"),
        ("t,t\n0,0\n", "a.csv:1: is not the header"),
        ("minute\n0\n", "a.csv:1: is not the header"),
        ("t,service,service\n0,0,0\n", "a.csv:1: is not the header"),
        ("t,queue,queue\n0,a,a\n", "a.csv:1: is not the header"),
        ("x" * 70_000, "a.csv:1: is longer than 65,536 bytes"),
        (b"\x00" * 70_000, "a.csv:1: is longer than 65,536 bytes"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a.csv:1: is not UTF-8"),
        ("t,service\n0,5\n".encode("utf-16"), "a.csv:1: is not UTF-8"),
        (b"t,name\n0,a\n1,\xfc\n", "a.csv:3: is not UTF-8"),
        ('t,name\n0,"a\n1,b\n', "a.csv:3: is not CSV: unexpected end of data"),
        ("t,service\n0\n", "a.csv:2: has 1 column, and the header has 2 ('t,service')"),
        ("t,service\n0,5\n1,5,2\n", "a.csv:3: has 3 columns, and the header has 2"),
        ("t,service\n0,5\n\n2\n", "a.csv:4: has 1 column"),
        ("minute,count\n0,5\n1\n", "a.csv:3: has 1 column"),
        ("t,service\n0,5\n9,5\n6.5,5\n", "a.csv:4: t goes back by 2.5 s, from 9 to 6.5"),
        ("service,t\n5,0\n5,9\n5,6.5\n", "tail -n +2 FILE | sort -t, -k2,2g"),
        ("t,service\n-1,5\n", "a.csv:2: t is '-1'; it must be the seconds from the start, 0 or more"),
        ("t\n0\nNaN\n", "a.csv:3: t is 'NaN'; it must be"),
        ("t\n0\ninf\n", "a.csv:3: t is 'inf'; it must be"),
        ("t\n0\n1e999\n", "a.csv:3: t is '1e999'; it must be"),
        ("t\n0\n12:30\n", "a.csv:3: t is '12:30'; it must be"),
        ("t\n0\n1_0\n", "a.csv:3: t is '1_0'; it must be"),
        ("t,service\n0,5\n,5\n", "a.csv:3: t is missing; it must be"),
        ("t\n1700000000\n", "a.csv:2: t begins at 1700000000 s, which is a date"),
        ("t,service\n0,5\n1,-5\n", "a.csv:3: service is '-5'; it must be the seconds that the job takes, 0 or more"),
        ("t,service\n0,5\n1,\n", "a.csv:3: service is missing"),
        ("t,service\n0,5\n1,nan\n", "a.csv:3: service is 'nan'"),
        ("t,service\n0,5\n1,inf\n", "a.csv:3: service is 'inf'"),
        ("t,service\n0,5\n1,1_0\n", "a.csv:3: service is '1_0'"),
        ("t,service\n0,5\n1,5s\n", "a.csv:3: service is '5s'"),
        ("minute,count\n0,1\n0,1\n", "a.csv:3: minute 0 stands there twice"),
        ("minute,count\n0,1\n5,1\n2,1\n", "a.csv:4: minute 2 comes after 5"),
        ("minute,count\n0.5,1\n", "a.csv:2: minute is '0.5'; it must be a whole number"),
        ("minute,count\n-1,1\n", "a.csv:2: minute is '-1'"),
        ("minute,count\n1e300,1\n", "a.csv:2: minute is '1e300'"),
        ("minute,count\n0,-1\n", "a.csv:2: count is '-1'; it must be a whole number of jobs, 0 or more"),
        ("minute,count\n0,1.5\n", "a.csv:2: count is '1.5'"),
        ("minute,count\n0,\n", "a.csv:2: count is missing"),
        ("minute,count\n0,nan\n", "a.csv:2: count is 'nan'"),
        ("minute,count\n0,60000000\n1,60000000\n", "a.csv:3: brings it to more than 100,000,000 jobs"),
        (f"t,service\n0,{'9x' * 200}\n", f"a.csv:2: service is '{'9x' * 40}…'; it must be"),
        ("t,service\n0,\x1b[31m\n", "a.csv:2: service is '\\x1b[31m'; it must be"),
        (GZIPPED[: len(GZIPPED) // 2], "cannot be unpacked: the gzip data ends in the middle"),
        (GZIPPED[:-8] + bytes(8), "cannot be unpacked: the gzip data is damaged"),
        (GZIPPED[:50] + bytes(50) + GZIPPED[100:], "cannot be unpacked: the gzip data is damaged"),
        (b"\x1f\x8b is no gzip", "a.csv:1: cannot be unpacked: the gzip data is damaged"),
        (b"\x1f\x8b", "a.csv:1: cannot be unpacked: the gzip data ends in the middle"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_its_line_and_the_fix(
    write: Write, content: str | bytes, said: str
) -> None:
    assert said in refusal(write(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("t\n\u0663\n", "a.csv:2: t is '\u0663'; it must be the seconds from the start"),
        ("t\n\u00b2\n", "a.csv:2: t is '\u00b2'"),
        ("minute,count\n0,\u0661\n", "a.csv:2: count is '\u0661'"),
        ("t\n0\n".encode("utf-16"), "a.csv:1: is not UTF-8"),
        (
            gzipped(b"t\n0\n" + b"\n" * 100_001),
            "is the last of more than 100,000 empty lines; is it a",
        ),
        (gzipped(b"minute,count\n0,1\n" + b" \r\n" * 100_001), "of more than 100,000 empty lines"),
        (gzipped(b"t\n" + b"0" * 10_000_000), "is longer than 65,536 bytes; is it a trace?"),
    ],
    ids=[
        "a digit of another script",
        "a superscript digit",
        "a count of another script",
        "a file in UTF-16",
        "100,001 empty lines",
        "100,001 blank lines",
        "a line of 10 MB",
    ],
)
def test_what_only_python_or_a_bomb_would_take_for_a_trace_is_refused(
    write: Write, content: str | bytes, said: str
) -> None:
    assert said in refusal(write(content))


def test_a_file_that_is_not_there_or_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "a.csv").startswith("a.csv: there is no such file")
    assert refusal(tmp_path).endswith(": is a directory; name a file in it")
    assert "cannot be read: Not a directory" in refusal(Path(__file__) / "a.csv")
    assert refusal(tmp_path / "pipe").startswith("pipe: is a pipe, not a file")


def test_a_file_that_may_not_be_read_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # as root, one may read anything

    path = write("t\n0\n")
    monkeypatch.setattr(os, "open", denied)
    assert refusal(path) == "a.csv: cannot be read: Permission denied; chmod it, or run as its owner"


@pytest.mark.parametrize("content", ["t,service\n0,-5\n", "t;service\n0;5\n", "t\nx\n", "minute,count\n0,1\n1,-1\n"])
def test_the_header_and_the_first_row_are_looked_at_before_anything_is_run(write: Write, content: str) -> None:
    path = write(content)
    with pytest.raises(ConfigurationError):
        read_trace(path)


def test_the_jobs_before_a_line_that_is_wrong_are_given(write: Write) -> None:
    jobs = read_trace(write("t,service\n0,5\n1,5\n2,x\n")).jobs()
    assert [next(jobs), next(jobs)] == [(0, 5), (1, 5)]
    with pytest.raises(ConfigurationError, match=":4: service"):
        next(jobs)


@pytest.mark.parametrize("mean", [0, -1, math.nan, math.inf])
def test_a_mean_that_no_service_times_have_is_refused(write: Write, mean: float) -> None:
    with pytest.raises(ConfigurationError, match="give one above 0"):
        read_trace(write("t\n0\n"), service_mean=mean)


def test_there_is_an_end_to_how_many_jobs_a_trace_has(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST_JOBS", 3)
    assert "a.csv:5: is the row of more than 3 jobs" in refusal(write("t\n0\n1\n2\n3\n"))
    assert len(list(read_trace(write("t\n0\n1\n2\n")).jobs())) == 3


@pytest.mark.costly
@pytest.mark.parametrize("content", ["t,service\n" + "1,2\n" * 30_000, "minute,count\n0,30000\n"])
def test_memory_does_not_grow_with_the_jobs(write: Write, content: str) -> None:
    workload = read_trace(write(gzipped(content.encode())))
    tracemalloc.start()
    try:
        assert sum(1 for _ in workload.jobs()) == 30_000
        assert tracemalloc.get_traced_memory()[1] < 400_000, "bytes; a list of them would take millions"
    finally:
        tracemalloc.stop()
