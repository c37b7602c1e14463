"""`python -m tests.bench`: what a reading costs, and how soon a first job is acted on."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

import psycopg

from controller.core.ports import Unavailable
from controller.demo.servers import MissingExtra, ServerError, Servers, start_servers
from tests.bench import depth, reaction, report
from tests.bench.crowded_table import Say

LEAST_ROWS = 2 * 10 * depth.SHALLOW
_BYTES_PER_ROW = 900
"""With its indexes, what the churn leaves behind, and room to breathe."""
_MORE = """\
Real parts: a PostgreSQL and a Redis of its own, in a temporary folder, and `autoscaler run` as a process of its own.

depth     The queue of the shipped policy, with millions of finished jobs in its table. What a reading costs with 0,
          100, ROWS/1000 and ROWS/10 jobs pending, on the table's own indexes and on those that are recommended:
          depth() end to end as the controller calls it, and its statement alone against SELECT count(*) of all pending
          jobs, by turns on one connection. Then once more after the deepest backlog was worked off without a vacuum,
          while an older snapshot is open, when it is closed, and after VACUUM. 10 million rows: 9 minutes and 9 GB.

reaction  From the COMMIT of the first job on an empty queue to the moment when the fake Railway has received the
          request for a worker: woken by NOTIFY with the shipped interval of 10 s, and polled with an interval of 1 s,
          so that it ends (expect half of it). Cooldowns are 0. 120 jobs: 4 and 5 minutes.

Progress goes to stderr, the results to stdout. The ratios within one run are what counts: the milliseconds are those of
this machine, with whatever else it does.

Exit codes: 0 measured; 1 something did not answer; 2 wrong arguments, or no room; 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parse(arguments)
    began = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {words}", file=sys.stderr, flush=True)

    try:
        with start_servers() as servers:
            if given.only != "reaction":
                if (lacking := _lacking(servers, given.rows)) is not None:
                    print(lacking, file=sys.stderr)
                    return 2
                _measure_depth(servers, given.rows, say)
            if given.only != "depth":
                _measure_reaction(servers, given.wakes, say)
    except MissingExtra as missing:
        print(missing, file=sys.stderr)
        return 2
    except (ServerError, TimeoutError, Unavailable, psycopg.Error) as error:
        print(f"nothing more was measured: {error or 'something did not happen in time'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _lacking(servers: Servers, rows: int) -> str | None:
    needed, free = rows * _BYTES_PER_ROW, shutil.disk_usage(servers.folder).free
    if needed < free:
        return None
    return (
        f"{rows:,} rows take up to {needed / 1e9:.0f} GB in {servers.folder.parent}, and {free / 1e9:.0f} GB are free "
        "there; set TMPDIR to a larger folder, or --rows to less"
    )


def _measure_depth(servers: Servers, rows: int, say: Say) -> None:
    # From version 18 on other processes read for the one that asks; where all is in memory, they only add a long way.
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        if connection.info.server_version >= 180000:
            connection.execute("ALTER SYSTEM SET io_method = 'sync'")
    servers.stop_postgres()
    servers.start_postgres()
    with depth.opened(_database(servers, "crowded"), rows, say) as bench:
        _print(report.by_backlog(rows, list(bench.by_backlog(rows))))
        _print(report.after_churn(rows, list(bench.after_churn(rows))))


def _measure_reaction(servers: Servers, wakes: int, say: Say) -> None:
    measured: dict[reaction.Arrangement, list[float]] = {}
    for number, way in enumerate((reaction.WOKEN, reaction.POLLED), start=1):
        redis_url = urlsplit(servers.redis_url)._replace(path=f"/{number}").geturl()
        database_url = _database(servers, way.name)
        measured[way] = asyncio.run(reaction.reactions(way, database_url, redis_url, wakes, say))
    _print(report.reactions(measured))


def _database(servers: Servers, name: str) -> str:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return urlsplit(servers.database_url)._replace(path=f"/{name}").geturl()


def _print(lines: Iterable[str]) -> None:
    print("\n".join((*lines, "")), flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measures what a reading of a crowded queue costs, and how soon a first job is acted on.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows", type=_whole(LEAST_ROWS, 200_000_000), default=10_000_000, metavar="N", help="default %(default)s"
    )
    parser.add_argument("--wakes", type=_whole(1, 10_000), default=120, metavar="N", help="default %(default)s")
    parser.add_argument("--only", choices=("depth", "reaction"), default=None, help="default: both")
    return parser.parse_args(arguments)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        digits = text.replace("_", "")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 12 or not least <= int(digits) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {least} to {most}")
        return int(digits)

    return read


if __name__ == "__main__":
    sys.exit(main())
