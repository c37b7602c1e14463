"""The vocabulary of misfortunes: what each is called, and what it is.

Both harnesses arrange them under these names: tests/virtual all of them in virtual time, tests/faults with real
processes those that a simulation only claims to know.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

MISFORTUNES = {
    # Processes
    "kill": "a process is killed with SIGKILL, more often the leader than another; later it is replaced",
    "kill all": "all processes are killed at once, and as many start together later",
    "terminate": "a process gets SIGTERM and ends by itself; later it is replaced",
    "deploy the controller": "new replicas start; a moment later the old ones get SIGTERM",
    "pause": "a process stands still, for less than the lease lasts or for longer, and goes on as if nothing had been",
    "set a wall clock": "the wall clock of a process is set forward or back; its monotonic clock is not",
    "two policies": "one replica gets another policy, by its file or by a deploy; the next time, all get the same",
    "worst moment": "a fault strikes right after the next intent is written, or right after the next change is made",
    # Redis
    "restart redis": "Redis is away for some seconds and comes back with its data",
    "restart redis with old data": "Redis comes back with the data of an earlier snapshot",
    "restart redis empty": "Redis comes back without data",
    "freeze redis": "Redis stands still; commands that wait are run late",
    "flush redis": "FLUSHALL",
    "lose the lease": "the key of the lease is deleted, and the rest stays",
    "lose a key": "the key of the epoch, of the leader or of the worker's record is deleted",
    "make the lease endless": "the key of the lease no longer expires",
    "refuse writes to redis": "Redis is out of memory, or read only",
    "set the clock of redis": "the wall clock of Redis is set forward or back",
    # The network
    "spoil a link": "one link of one process is in another LinkMode for a while",
    "isolate": "every link of one process drops what is sent",
    "cut": "connections of one link end with a reset; new ones work",
    # The platform
    "bad reads": "for a while, readings of the platform fail in one way",
    "bad mutations": "for a while, changes asked of the platform fail in one way",
    "change by hand": "somebody changes the number of workers",
    "deploy the workers": "the workers are deployed anew, which may reset their number",
    # Railway
    "move regions": "somebody moves the workers to other regions, at once or with a deployment, now or later",
    # Kubernetes
    "overtake": "somebody writes right after the next intent is written, so that its change was decided on old data",
    "another scaler": "for a while, something else sets a count of its own again and again",
    "pause a rollout": "a rollout stands still in its middle for a while",
    "hold up pods": "for a while, pods crash, cannot get their image or a node, or are over a quota",
    "rotate the token": "the token is valid no longer, and its file has the new one at once or some seconds later",
    # PostgreSQL
    "stop postgres": "PostgreSQL is away for a while",
    "lock the queue": "PostgreSQL takes connections, and no reading of the queue gets an answer",
    "lag postgres": "readings of the queue show how it was some seconds ago",
    "fail queries": "some or all readings of the queue end with an error",
    "slow postgres": "readings of the queue take seconds, some of them longer than their timeout",
}


class LinkMode(StrEnum):
    """What happens to what is sent over a link."""

    OPEN = "open"
    REFUSE = "refuse"
    """No server listens."""
    DROP = "drop"
    """Connections are taken, and what is said in them goes nowhere, in either direction."""
    HALF_DROP = "half-drop"
    """Requests arrive, their answers do not."""
    SLOW = "slow"
    """Everything arrives, late."""
    HOLD = "hold"
    """Requests may arrive long after their sender has given up."""


class Move(StrEnum):
    """When a change of the regions by hand reaches the running deployment."""

    AT_ONCE = "at once"
    DEPLOYED = "with a deployment"
    WAITING = "with a later deployment"
    """Until then it is stored."""


class Fate(StrEnum):
    """What happens to a request that arrived at Railway."""

    DONE = "done"
    TOO_MANY = "429"
    """With the seconds to stay away for."""
    CLOUDFLARE = "cloudflare"
    """HTTP 429 from the gateway, which does not say for how long."""
    BAD_GATEWAY = "502"
    HANG = "hang"
    PROBLEM = "problem"
    NO_DATA = "no data"
    DELAYED = "delayed"
    """Done at once, answered after seconds."""
    LOST_ANSWER = "lost answer"
    LATE = "late"
    """Done and answered late, perhaps long after its sender has given up."""
    NOT_HONOURED = "not honoured"
    REFUSED = "refused"
    STALE = "stale"


def name_of(arranged: Callable[..., object]) -> str:
    """The misfortune that a function is named after."""
    name = arranged.__name__.strip("_").replace("_", " ")
    assert name in MISFORTUNES, f"{name} is not in the vocabulary"
    return name
