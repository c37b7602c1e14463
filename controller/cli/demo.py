"""`autoscaler demo`: a burst of jobs, on this machine alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.arguments import seconds, takes
from controller.cli.output import needs_extra

if TYPE_CHECKING:
    from controller.cli.parser import Commands


def add(commands: Commands) -> None:
    parser = commands.add(
        "demo",
        run,
        "watch a burst of jobs scale real workers",
        touches="a temporary folder and free ports on 127.0.0.1; it starts a PostgreSQL, a Redis, a fake platform, the "
        "controller and up to 5 workers, and leaves nothing behind",
        last="It needs: pip install '.[demo]', in a checkout",
    )
    parser.add_argument("--seconds", type=seconds, default=None, metavar="N", help="end after N seconds at the latest")
    parser.add_argument("--keep", action="store_true", help="continue until Ctrl-C; prints the servers' addresses")
    told = "the platform whose fake runs the workers: %(choices)s; default %(default)s"
    parser.add_argument("--platform", choices=("railway", "kubernetes"), default="railway", help=told)
    parser.add_argument(
        "--page", action="store_true", help="open the controller's page in a browser, or print where it is"
    )
    record = parser.add_argument("--record", type=Path, metavar="DIR", help="leave its jobs and cycles for `simulate`")
    takes(record, "folder")


def run(parsed: argparse.Namespace) -> int:
    try:
        from controller.demo.show import demo  # it needs the extra
    except ModuleNotFoundError as error:
        return needs_extra("demo", error)
    code: int = demo(
        seconds=parsed.seconds, keep=parsed.keep, record=parsed.record, page=parsed.page, platform=parsed.platform
    )
    return code
