"""FakeRailway: starts and stops the whole fake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from controller.fake_railway import config, ids
from controller.fake_railway.access import TOKENS, TokenKind
from controller.fake_railway.admin import Admin
from controller.fake_railway.api import Api
from controller.fake_railway.by_hand import Dashboard
from controller.fake_railway.endpoint import Endpoint
from controller.fake_railway.faults import Fault, Faults
from controller.fake_railway.lifecycle import Lifecycle, manifest
from controller.fake_railway.mutations import Mutations
from controller.fake_railway.processes import NoProcesses
from controller.fake_railway.queries import Queries
from controller.fake_railway.record import Record
from controller.fake_railway.scaling import Scaling
from controller.fake_railway.state import Deployment, RailwayState, Service, Switches
from controller.fake_railway.timings import Timings

if TYPE_CHECKING:
    from types import TracebackType

    from controller.fake_railway.processes import Launcher

EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 -- to recognise it, not to bind it


class FakeRailway:
    """A Railway of one project with one environment, on one port.

    As a context manager it starts on a free port of the loopback; `start` chooses another. Leaving it ends every
    process it has started.
    """

    def __init__(
        self,
        *,
        launcher: Launcher | None = None,
        timings: Timings | None = None,
        quota: int = 1000,
        enforce_quota: bool = False,
        grace: float = 2.0,
    ) -> None:
        self.state = RailwayState()
        self.record = Record()
        self.faults = Faults()
        self.lifecycle = Lifecycle(launcher or NoProcesses(), timings or Timings())
        self.base_url = ""
        """Where /mutations, /state and their like are; empty until it has started."""
        scaling = Scaling(self.lifecycle)
        self._dashboard = Dashboard(self.lifecycle, scaling)
        resolvers = {
            **Queries(self.state).resolvers(),
            **Mutations(self.state, self.lifecycle, scaling).resolvers(),
        }
        self._endpoint = Endpoint(Api(resolvers), self.faults, self.record, quota=quota, enforce_quota=enforce_quota)
        self._grace = grace
        self._runner: web.AppRunner | None = None

    @classmethod
    def create(
        cls,
        replicas: int = 0,
        *,
        deploy: dict[str, Any] | None = None,
        switches: Switches | None = None,
        launcher: Launcher | None = None,
        timings: Timings | None = None,
        quota: int = 1000,
        enforce_quota: bool = False,
        grace: float = 2.0,
    ) -> Self:
        """With the one service `worker`. No replicas: deployed once with one replica, and stopped."""
        fake = cls(launcher=launcher, timings=timings, quota=quota, enforce_quota=enforce_quota, grace=grace)
        fake.add_service("worker", replicas, service_id=ids.WORKER_SERVICE_ID, deploy=deploy, switches=switches)
        return fake

    def add_service(
        self,
        name: str,
        replicas: int = 0,
        *,
        service_id: str | None = None,
        deploy: dict[str, Any] | None = None,
        switches: Switches | None = None,
        deployed: bool = True,
    ) -> Service:
        """`deploy` is the stored configuration apart from the replicas, such as {"drainingSeconds": 30}."""
        service = Service(name, service_id or ids.named(name), instance_id=ids.named(f"instance of {name}"))
        service.switches = switches or Switches()
        service.deploy = {
            "multiRegionConfig": config.as_map({config.DEFAULT_REGION: max(replicas, 1)}),
            **(deploy or {}),
        }
        self.state.services[service.id] = service
        if deployed:
            target = config.counts(service.deploy)
            first = Deployment(service, manifest(service.deploy, target), target, id=ids.named(f"first of {name}"))
            first.halted = replicas == 0
            service.deployments.append(first)
            if self._runner is not None:
                self.lifecycle.adopt(first)
        return service

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Returns when the initial instances run. OSError if the port is taken."""
        await self.listen(host, port)
        await self.begin()

    async def listen(self, host: str, port: int) -> None:
        app = web.Application()
        app.router.add_post("/graphql/v2", self._endpoint.handle)
        app.add_routes(Admin(self.state, self.record, self.faults, self._dashboard).routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        address = "127.0.0.1" if host in EVERYWHERE else host
        self.base_url = f"http://{f'[{address}]' if ':' in address else address}:{runner.addresses[0][1]}"

    async def begin(self) -> None:
        deployments = [each for service in self.state.services.values() for each in service.deployments]
        for each in deployments:
            self.lifecycle.adopt(each)
        began = [replica for each in deployments if not each.halted for replica in each.replicas]
        await asyncio.gather(*(each.tried.wait() for each in began))

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self.lifecycle.close(self._grace)

    async def __aenter__(self) -> Self:
        if self._runner is None:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        return f"{self.base_url}/graphql/v2"

    @property
    def mutations(self) -> list[dict[str, Any]]:
        return [each.as_json() for each in self.record.mutations]

    @property
    def worker(self) -> Service:
        return self.state.services[ids.WORKER_SERVICE_ID]

    def service(self, service_id: str) -> Service:
        return self.state.services[service_id]

    def inject(self, fault: str, **options: Any) -> Fault:
        """One fault, with the options of POST /faults: times, on, retry_after, seconds, limit, applied."""
        return self.faults.add({"fault": fault, **options})[0]

    def by_hand(self, service_id: str = ids.WORKER_SERVICE_ID, **change: Any) -> None:
        """What POST /services/{id} does, such as replicas=2."""
        service = self.state.services[service_id]
        self._dashboard.change(service, change)
        self.record.hand(service.name, change)

    def environment_variables(
        self,
        token_kind: TokenKind = "account",  # noqa: S107 -- the name of a kind
    ) -> dict[str, str]:
        """What an autoscaler needs to meet this Railway instead of the real one."""
        token = "RAILWAY_TOKEN" if token_kind == "project" else "RAILWAY_API_TOKEN"  # noqa: S105 -- a variable's name
        return {
            "RAILWAY_API_URL": self.url,
            token: TOKENS[token_kind],
            "RAILWAY_PROJECT_ID": ids.PROJECT_ID,
            "RAILWAY_ENVIRONMENT_ID": ids.ENVIRONMENT_ID,
            "RAILWAY_WORKER_SERVICE_ID": ids.WORKER_SERVICE_ID,
        }
