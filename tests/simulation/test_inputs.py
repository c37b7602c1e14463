"""The simulator caches its answers by what plan() gets: each input is varied, given, or left out for a reason."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import fields

import pytest

from controller.core.model import History, QueueDepth, Replicas
from controller.core.plan import Seen
from controller.simulation.contenders import own_worker
from controller.simulation.own import Given, Inputs, Part

KINDS = (Seen, QueueDepth, Replicas, History)

VARIED = {
    Seen: {"queue", "replicas", "history", "service"},
    QueueDepth: {"pending", "processing", "oldest_age_s", "parts"},
    Replicas: {"configured", "running", "alive", "state", "leaving"},
    History: {"last_up", "last_down", "recommendations", "count", "start_ups"},
}
"""By the key of the cache, Inputs."""
GIVEN = {
    Seen: {"policy", "retention"},
    QueueDepth: set[str](),
    Replicas: {"draining_s"},
    History: {"window"},
}
"""By Given: other values of these have other answers."""
THE_SAME = {
    Seen: {"now": "what is earlier is set relative to it", "sources": "names", "landing_bound": "no change is late"},
    History: {
        "since": "long ago: down_at has the cooldown of a beginning",
        "unbroken_since": "long ago: `stays` has the memory's beginning",
        "remembered_at": "no reading is missing",
        "learned_at": "just now: it is learned beside the plans",
    },
}
LEFT_OUT = {
    Seen: {
        "rate": "the simulator has no rate limit",
        "unmeasured": "only words",
        "epoch": "there is one leader",
        "ident": "only a name",
        "unsent": "each change is sent",
        "looks": "`stays` has them",
        "is_woken": "the same counts are wanted",
        "worker": "only a name",
        "shared": "no budget is simulated",
        "pool": "no pool is simulated",
    },
    QueueDepth: {
        "stale": "no worker dies with a job",
        "limit": "counting is exact",
        "lag_s": "there is no standby",
        "unnamed": "there are no unknown statuses",
        "remarks": "only words",
        "soon": "no workload says for when its jobs were scheduled",
        "ahead_s": "only words",
        "holders": "workers have no names",
    },
    Replicas: {
        "deployment": "there is one",
        "coordinates": "no request is made",
        "smallest": "there is one region",
        "largest": "no volume",
        "crashed": "no worker crashes",
        "exited": "no worker exits",
        "under_way": "no deployment hangs",
        "limits": "no budget is simulated",
        "instances": "workers have no names",
        "contenders": "only a warning",
        "words": "only words",
    },
    History: {
        "change": "a change is made at once",
        "refused_at": "nothing is refused",
        "refused_to": "nothing is refused",
        "setbacks": "nothing is refused",
        "unconfirmed_stop": "a stop is made at once",
        "queue_seen": "no depth is doubtful",
        "start": "it is measured beside the plans",
        "apart_s": "`stays` has the tolerance",
        "pauses": "`stays` has what is learned from them",
        "kept_s": "`stays` has it",
        "long_run": "the time per job has it",
        "overrides": "no operator takes part",
        "spent": "no budget is simulated",
        "scaled_within": "there is one policy",
        "schedule": "it says which event was told, and decides nothing",
        "promise": "the target wait that it moved is in the policy",
        "load": "`stays` has what follows from it",
        "read_at": "the queue can be read",
        "unread": "the queue can be read",
        "unread_at": "the queue can be read",
        "watch": "no worker crashes",
    },
}


def test_every_input_of_a_plan_is_in_the_key_or_left_out_for_a_reason() -> None:
    for kind in KINDS:
        places = [VARIED[kind], GIVEN[kind], set(THE_SAME.get(kind, {})), set(LEFT_OUT[kind])]
        known = [name for place in places for name in place]
        assert sorted(known) == sorted(field.name for field in fields(kind)), kind.__name__


@pytest.mark.costly
def test_what_differs_between_two_keys_and_two_policies_is_what_is_named() -> None:
    counts, both = (0, 3), (False, True)
    means, stays = (None, 1.0), (0, 2)
    kinds = (counts, means, counts, counts, counts, both, both, both, stays)
    parts = ((), (Part(1, 2, None), Part(0, 1, 3.0)))
    late = list(itertools.product(both, both, parts))
    two = {"queue": None, "queues": {"a": {"table": "a"}, "b": {"table": "b"}}}
    keys = [Inputs(*one, *two) for one in itertools.product(*kinds) for two in late]
    first, second = (
        Given(own_worker({"max_replicas": most, "target_wait": "5s", "scale_up": {"cooldown": "9s"}, **two}), rest)
        for most, rest in ((4, 0.0), (5, 3.0))
    )
    assert differing([first.seen(key) for key in keys]) == VARIED
    idle_off = own_worker({"max_replicas": 4, "target_wait": "5s", "scale_down": {"idle_off": "9s"}})
    others = [given.seen(keys[0]) for given in (first, second, Given(idle_off, 0.0))]
    assert {kind: names - VARIED[kind] for kind, names in differing(others).items()} == GIVEN


def differing(seen: list[Seen]) -> dict[type, set[str]]:
    """By kind of value: the fields that are not the same everywhere."""
    every: dict[type, Iterable[object]] = {
        Seen: seen,
        QueueDepth: [one.queue for one in seen],
        Replicas: [one.replicas for one in seen],
        History: [one.history for one in seen],
    }
    return {
        kind: {
            name
            for name in (field.name for field in fields(kind))
            if len({repr(getattr(one, name)) for one in ones}) > 1
        }
        for kind, ones in every.items()
    }
