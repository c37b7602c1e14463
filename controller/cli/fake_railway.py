"""`autoscaler fake-railway`: the fake Railway alone, for integration tests.

A process of its own, so that a controller of any version can be run against it, and by a test in any language. What it
prints first is for a shell; what it did is at /mutations.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from controller.cli.arguments import port, replicas, shell_words
from controller.cli.output import complain, needs_extra

if TYPE_CHECKING:
    from controller.cli.parser import Commands

_MORE = """\
The first lines on stdout are `export NAME=value` lines that point a controller at it. Copy them, or:

  eval "$(autoscaler fake-railway --port 4000 | head -n 5 &)"

Besides the API at /graphql/v2 it answers:

  GET /mutations\tevery mutation as JSON: when, by whom, with what effect
  GET /state\tthe services, deployments and instances as JSON
  POST /faults\tsets faults for the next matching requests: one object or a list of them (see below)
  GET /faults\tthe faults that are still to come
  DELETE /faults\tremoves them
  POST /services/ID\tchanges a service as a person in the dashboard would: {"replicas": 3}, {"stopped": true}, \
{"on_start": "crash", "crash": 9} (or "exit"), {"hangs_in": "BUILDING", "deploy": true}, …

  curl localhost:4000/faults -d \\
    '{"fault": "429", "retry_after": 2, "times": 1, "on": "query"}'

Faults: 429, cloudflare (its page 1015), 502, problem ("Problem processing request"), hang, lost (applied, and
the answer lost), not_honoured (true, and nothing happens), null, plan_clamp, slow, not_authorized. "on" is any,
query, mutation, or an operation's name.
"""


def add(commands: Commands) -> None:
    parser = commands.add(
        "fake-railway",
        run,
        "serve the fake Railway alone",
        _MORE,
        touches="the port that it listens on",
        last="It needs: pip install '.[fake]', in a checkout",
        listed="serve the fake Railway alone; see also fake-kubernetes",
    )
    parser.add_argument("--port", type=port, required=True, metavar="N", help="the port to listen on (0: any free one)")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on, default %(default)s"
    )
    parser.add_argument(
        "--replicas", type=replicas, default=0, metavar="N", help="replicas that run at the start, default 0 (stopped)"
    )
    parser.add_argument(
        "--exec",
        type=shell_words,
        default=None,
        metavar="CMD",
        help="start each replica as a process, with this command",
    )


def run(parsed: argparse.Namespace) -> int:
    import asyncio

    try:
        from controller.fake_railway.cli import CannotListenError, serve  # it needs the extra
    except ModuleNotFoundError as error:
        return needs_extra("fake", error)
    try:
        asyncio.run(serve(parsed.port, parsed.replicas, host=parsed.host, exec_command=parsed.exec))
    except CannotListenError as error:
        complain(f"cannot listen on port {parsed.port} ({error}); choose another")
        return 2
    return 0
