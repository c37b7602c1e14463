"""Objects as the API shows them. A count of 0 is left out of a status and of a Scale's spec, as Go's omitempty does."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from controller.fake_kubernetes.cluster import Cluster, Pod, Workload, since
from controller.fake_kubernetes.kinds import DEPLOYMENT


def shown(cluster: Cluster, one: Workload) -> dict[str, Any]:
    """The object itself."""
    template = {
        "metadata": {"labels": one.labels},
        "spec": {"terminationGracePeriodSeconds": one.grace_s, "containers": [{"name": "worker", "image": "worker:1"}]},
    }
    spec = {"replicas": one.replicas, "selector": {"matchLabels": one.labels}, "template": template}
    if one.paused:
        spec["paused"] = True
    return {
        "apiVersion": one.kind.api_version,
        "kind": one.kind.kind,
        "metadata": {**_meta(cluster, one), "generation": one.generation, "annotations": _annotations(one)},
        "spec": spec,
        "status": _status(cluster, one),
    }


def scale(cluster: Cluster, one: Workload) -> dict[str, Any]:
    """Its scale subresource."""
    selector = ",".join(f"{key}={value}" for key, value in one.labels.items())
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": _meta(cluster, one),
        "spec": {"replicas": one.replicas} if one.replicas else {},
        "status": {"replicas": len(one.living), "selector": selector},
    }


def pod(cluster: Cluster, one: Workload, which: Pod) -> dict[str, Any]:
    ready = one.ready(which, cluster.now, cluster.timings)
    meta: dict[str, Any] = {
        "name": which.name,
        "namespace": one.namespace,
        "uid": f"{one.uid[:-12]}{crc32(which.name.encode()):012d}",
        "labels": which.labels,
        "annotations": which.annotations,
        "resourceVersion": str(one.version),
        "creationTimestamp": since(cluster.now, which.born),
    }
    if which.ends is not None:
        meta["deletionTimestamp"] = since(cluster.now, cluster.now)
    scheduled = one.trouble != "unschedulable"
    conditions = [
        {"type": "Ready", "status": "True" if ready else "False"},
        {"type": "PodScheduled", "status": "True"}
        if scheduled
        else {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu.",
        },
    ]
    status: dict[str, Any] = {"phase": "Running" if ready or one.trouble in {"crash", "exit"} else "Pending"}
    status["conditions"] = conditions
    if scheduled:
        status["containerStatuses"] = [{"name": "worker", "ready": ready, **_container(cluster, one, which)}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status}


def listed(cluster: Cluster, kind: str, api_version: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    meta = {"resourceVersion": cluster.version}
    return {"kind": f"{kind}List", "apiVersion": api_version, "metadata": meta, "items": items}


def _container(cluster: Cluster, one: Workload, which: Pod) -> dict[str, Any]:
    ended = {
        "exitCode": 1 if one.trouble == "crash" else 0,
        "reason": "Error" if one.trouble == "crash" else "Completed",
    }
    is_early = cluster.now < which.born + cluster.timings.backs_off
    if one.trouble in {"crash", "exit"}:
        if is_early:
            return {"restartCount": 0, "state": {"terminated": ended}, "lastState": {}}
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}
        return {"restartCount": 3, "state": {"waiting": waiting}, "lastState": {"terminated": ended}}
    if one.trouble == "image":
        reason = "ErrImagePull" if is_early else "ImagePullBackOff"
        return {"restartCount": 0, "state": {"waiting": {"reason": reason}}, "lastState": {}}
    if one.ready(which, cluster.now, cluster.timings):
        return {"restartCount": 0, "state": {"running": {}}, "lastState": {}}
    return {"restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {}}


def _meta(cluster: Cluster, one: Workload) -> dict[str, Any]:
    return {
        "name": one.name,
        "namespace": one.namespace,
        "uid": one.uid,
        "resourceVersion": str(one.version),
        "creationTimestamp": since(cluster.now, one.born),
    }


def _annotations(one: Workload) -> dict[str, str]:
    revision = {"deployment.kubernetes.io/revision": str(one.revision)} if one.kind is DEPLOYMENT else {}
    return {**revision, **one.annotations}


def _status(cluster: Cluster, one: Workload) -> dict[str, Any]:
    ready, every = one.ready_count(cluster.now, cluster.timings), len(one.living)
    if not one.kind.builtin:
        return {"replicas": every, "selector": ",".join(f"{key}={value}" for key, value in one.labels.items())}
    counts = {"replicas": every, "updatedReplicas": one.updated, "readyReplicas": ready, "availableReplicas": ready}
    status: dict[str, Any] = {"observedGeneration": one.generation, **{key: n for key, n in counts.items() if n}}
    if one.kind is DEPLOYMENT:
        reason = "NewReplicaSetAvailable" if one.updated == every else "ReplicaSetUpdated"
        status["conditions"] = [{"type": "Progressing", "status": "True", "reason": reason}]
        if one.lacks_quota:
            message = f'pods "{one.name}-" is forbidden: exceeded quota: compute, limited: pods={one.quota}'
            failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
            status["conditions"].append(failure)
    return status
