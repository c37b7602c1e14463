"""`autoscaler demo`: a burst of jobs, on this machine alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.arguments import seconds, takes
from controller.cli.output import needs_extra
from controller.core.problems import ConfigurationError, Problem

if TYPE_CHECKING:
    from controller.cli.parser import Commands


def add(commands: Commands) -> None:
    parser = commands.add(
        "demo",
        run,
        "watch a burst of jobs scale real workers",
        touches="a temporary folder and free ports on 127.0.0.1; it starts a PostgreSQL, a Redis, a fake platform, the "
        "controller and up to 5 workers, and leaves nothing behind; an Engine of yours only with --docker",
        last="It needs: pip install '.[demo]', in a checkout",
    )
    parser.add_argument("--seconds", type=seconds, default=None, metavar="N", help="end after N seconds at the latest")
    parser.add_argument("--keep", action="store_true", help="continue until Ctrl-C; prints the servers' addresses")
    told = "the platform whose fake runs the workers: %(choices)s; default %(default)s"
    parser.add_argument("--platform", choices=("railway", "kubernetes", "swarm"), default="railway", help=told)
    takes(
        parser.add_argument(
            "--docker",
            type=_engine,
            metavar="HOST",
            help="with --platform swarm: a real Engine of this machine that manages a Swarm, such as "
            "unix:///var/run/docker.sock; a service and an image are made there, and removed at the end",
        ),
        "file",
    )
    parser.add_argument(
        "--page", action="store_true", help="open the controller's page in a browser, or print where it is"
    )
    record = parser.add_argument("--record", type=Path, metavar="DIR", help="leave its jobs and cycles for `simulate`")
    takes(record, "folder")


def _engine(text: str) -> str:
    """Containers on another machine would not reach the demo's servers."""
    if not text.startswith("unix:///"):
        raise argparse.ArgumentTypeError(f"must be unix:///PATH of an Engine's socket, not {text}")
    return text


def run(parsed: argparse.Namespace) -> int:
    if parsed.docker is not None and parsed.platform != "swarm":
        problem = "has an effect only with --platform swarm; add that, or leave --docker out"
        raise ConfigurationError([Problem("--docker", problem)])
    try:
        from controller.demo.show import demo  # it needs the extra
    except ModuleNotFoundError as error:
        return needs_extra("demo", error)
    code: int = demo(
        seconds=parsed.seconds,
        keep=parsed.keep,
        record=parsed.record,
        page=parsed.page,
        platform=parsed.platform,
        docker=parsed.docker,
    )
    return code
