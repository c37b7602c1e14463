"""`autoscaler fake-kubernetes`: a fake API server alone, for integration tests and to try a policy without a cluster.

A process of its own, so that a controller of any version and kubectl can be run against it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.arguments import port, replicas, takes
from controller.cli.output import complain

if TYPE_CHECKING:
    from controller.cli.parser import Commands

_MORE = """\
It has a Deployment `worker` in the namespace `default`, and writes a kubeconfig file for kubectl and the controller:

  autoscaler fake-kubernetes --port 4001 --kubeconfig fake.yaml
  kubectl --kubeconfig fake.yaml get deployments

Besides the API it answers:

  GET /fake/changes\tevery count that was written: from, to, by whom
  POST /fake/faults\tsets faults for the next matching requests: {"fault": "503", "times": 1, "on": "change"}
  POST /fake/workloads/worker\tchanges it: {"replicas": 3}, {"trouble": "crash"} (or exit, image, unschedulable), \
{"quota": 2}, {"paused": true}

Faults: 401, 403, 404, 409, 422, 429, 500, 503, html (a page of a load balancer), hang, lost (carried out, and the
answer lost), slow, late. "on" is any, read, change, or a part of the path.
"""


def add(commands: Commands) -> None:
    parser = commands.add(
        "fake-kubernetes",
        run,
        "serve a fake Kubernetes alone",
        _MORE,
        touches="the port that it listens on; writes the kubeconfig file",
        listed="",
    )
    parser.add_argument("--port", type=port, required=True, metavar="N", help="the port to listen on (0: any free one)")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on, default %(default)s"
    )
    parser.add_argument(
        "--replicas", type=replicas, default=0, metavar="N", help="replicas of the Deployment at the start, default 0"
    )
    told = "write a kubeconfig file there"
    takes(parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help=told), "file")


def run(parsed: argparse.Namespace) -> int:
    import asyncio

    from controller.fake_kubernetes import FakeKubernetes
    from controller.loop import signals

    async def serve() -> int:
        fake = FakeKubernetes()
        stop = asyncio.Event()
        signals.on_end_in(asyncio.get_running_loop(), lambda _: stop.set())
        try:
            await fake.listen(parsed.host, parsed.port)
        except OSError as error:
            complain(f"cannot listen on port {parsed.port} ({error.strerror or error}); choose another")
            return 2
        try:
            fake.begin(parsed.replicas)
            if parsed.kubeconfig is not None:
                fake.write_kubeconfig(parsed.kubeconfig)
            print(f"fake Kubernetes at {fake.url}", flush=True)
            await stop.wait()
        except OSError as error:
            complain(f"{parsed.kubeconfig} cannot be written ({error.strerror or error})")
            return 2
        finally:
            await fake.close()
        return 0

    return asyncio.run(serve())
