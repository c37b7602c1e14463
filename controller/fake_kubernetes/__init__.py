"""A fake Kubernetes API server over HTTP: Deployments, StatefulSets and a custom resource with a scale subresource.

    kinds.py     the resources that it has, and what discovery says of them
    cluster.py   objects and their pods, which take time to become ready and to end
    api.py       requests: discovery, get, list, patch, put, and /scale
    faults.py    what it does wrong on order
    handler.py   both over HTTP
    kubelet.py   real processes in its pods
    fake.py      the server: begins, ends, and writes a kubeconfig

It leaves out what the controller and kubectl's get and scale do not need: watch, protobuf, server-side apply, tables.
`kubectl` judges it: tests/fake_kubernetes/test_kubectl.py.
"""

from controller.fake_kubernetes.cluster import Cluster, Workload
from controller.fake_kubernetes.fake import FakeKubernetes
from controller.fake_kubernetes.timings import Timings

__all__ = ["Cluster", "FakeKubernetes", "Timings", "Workload"]
