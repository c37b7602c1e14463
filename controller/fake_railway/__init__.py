"""A faithful fake of the part of Railway's API that scales a service, with real processes if wanted.

Each behaviour was observed on the real API, or is marked as invented in the code. Start with `FakeRailway`. A query or
mutation that the controller newly uses belongs here (queries, mutations, and views for its answer), a way to fail in
faults, what a deployment goes through in lifecycle. It imports nothing of the adapter that it is the other end of.
"""

from controller.fake_railway.access import (
    ACCOUNT_TOKEN,
    OTHER_PROJECT_TOKEN,
    PROJECT_TOKEN,
    WORKSPACE_TOKEN,
    TokenKind,
)
from controller.fake_railway.fake import FakeRailway
from controller.fake_railway.ids import (
    ENVIRONMENT_ID,
    OTHER_ENVIRONMENT_ID,
    PROJECT_ID,
    WORKER_SERVICE_ID,
    WORKSPACE_ID,
)
from controller.fake_railway.processes import CommandLauncher, Launcher, NoProcesses, Place, Process
from controller.fake_railway.state import Deployment, Mode, Service, Switches
from controller.fake_railway.timings import Timings

__all__ = [
    "ACCOUNT_TOKEN",
    "ENVIRONMENT_ID",
    "OTHER_ENVIRONMENT_ID",
    "OTHER_PROJECT_TOKEN",
    "PROJECT_ID",
    "PROJECT_TOKEN",
    "WORKER_SERVICE_ID",
    "WORKSPACE_ID",
    "WORKSPACE_TOKEN",
    "CommandLauncher",
    "Deployment",
    "FakeRailway",
    "Launcher",
    "Mode",
    "NoProcesses",
    "Place",
    "Process",
    "Service",
    "Switches",
    "Timings",
    "TokenKind",
]
