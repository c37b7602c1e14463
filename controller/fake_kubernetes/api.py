"""Requests to the fake: who calls, and then what the API server would do. Pure: without a server, and in no time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from controller.fake_kubernetes import kinds, views
from controller.fake_kubernetes.answers import Answer, status
from controller.fake_kubernetes.cluster import Cluster, Pod, Workload
from controller.fake_kubernetes.faults import Faults

_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<below>[^/]+))?"
)
_PATCHES = {"application/merge-patch+json", "application/strategic-merge-patch+json"}
_SCALE_ONLY_MERGE = "application/merge-patch+json"
_MOST_REPLICAS = 2**31 - 1


class Request(NamedTuple):
    """query: what follows the path. The rest are headers; authorization is None where there is none."""

    method: str
    path: str
    body: bytes = b""
    authorization: str | None = None
    agent: str = ""
    content_type: str = ""
    query: Mapping[str, str] = {}


class _Refusal(Exception):  # noqa: N818  # it ends a request with a Status, which may be no error of ours
    def __init__(self, code: int, reason: str, message: str, name: str = "") -> None:
        self.answer = status(code, reason, message, name=name)
        super().__init__(message)


class Api:
    """denied: verbs and resources that access reviews and requests are refused, such as "patch deployments/scale"."""

    def __init__(self, cluster: Cluster, token: str) -> None:
        self.cluster, self.token = cluster, token
        self.faults = Faults()
        self.denied: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        """Method and path of each, in their order."""
        self.changes: list[dict[str, Any]] = []
        """Each write of a count that was carried out."""

    def answer(self, request: Request) -> Answer:
        try:
            # kubectl sends no token over plain HTTP; then it is taken for one that came through `kubectl proxy`.
            if request.authorization not in {None, f"Bearer {self.token}"}:
                raise _Refusal(401, "Unauthorized", "Unauthorized")
            return Answer(200, json.dumps(self._answer(request)).encode())
        except _Refusal as refusal:
            return refusal.answer

    def _answer(self, request: Request) -> dict[str, Any]:
        path = request.path.rstrip("/")
        known = _discovery(path)
        if known is not None:
            return known
        if path.endswith("/selfsubjectaccessreviews"):
            return self._review(_object(request.body))
        match = _PATH.fullmatch(path)
        if match is None:
            raise _Refusal(404, "NotFound", "the server could not find the requested resource")
        return self._of_resource(request, match.groupdict())

    def _of_resource(self, request: Request, asked: Mapping[str, Any]) -> dict[str, Any]:
        group, plural, name = asked["group"] or "", asked["plural"], asked["name"]
        self._check_that_it_may(request, asked)
        is_scaler = plural == "horizontalpodautoscalers"
        if is_scaler and asked["version"] == "v1":  # as every version of Kubernetes has it
            return views.listed(self.cluster, "HorizontalPodAutoscaler", "autoscaling/v1", self.cluster.scalers)
        if plural == "pods" and not group:
            return self._pods(request, asked)
        kind = next((one for one in kinds.SCALED if (one.group, one.plural) == (group, plural)), None)
        if kind is None or asked["version"] != kind.version:
            raise _Refusal(404, "NotFound", "the server could not find the requested resource")
        if not name:
            found = [views.shown(self.cluster, one) for one in self.cluster.of(kind, asked["namespace"])]
            return views.listed(self.cluster, kind.kind, kind.api_version, found)
        one = self.cluster.workloads.get((kind.name, asked["namespace"], name))
        if one is None:
            raise _Refusal(404, "NotFound", f'{kind.name} "{name}" not found', name)
        if asked["below"] not in {None, "scale"}:
            raise _Refusal(404, "NotFound", "the server could not find the requested resource")
        view = views.scale if asked["below"] else views.shown
        if request.method != "GET":
            self._write(request, one)
        return view(self.cluster, one)

    def _check_that_it_may(self, request: Request, asked: Mapping[str, Any]) -> None:
        """The caller has the right, and the fake the means."""
        plural, name, below = asked["plural"], asked["name"], asked["below"]
        verb = {"GET": "get" if name else "list", "PATCH": "patch", "PUT": "update"}.get(request.method, "")
        resource = f"{plural}/{below}" if below else plural
        if f"{verb} {resource}" in self.denied:
            who = f'User "system:serviceaccount:default:autoscaler" cannot {verb} {resource}'
            raise _Refusal(403, "Forbidden", f"{resource}.{asked['group'] or ''} is forbidden: {who}")
        is_scaler = plural == "horizontalpodautoscalers"
        if not verb or (request.method != "GET" and (is_scaler or not name)):
            # kubectl would take any other answer for success, and wait for an object to go that stays.
            raise _Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if request.query.get("watch") in {"1", "true"}:
            raise _Refusal(405, "MethodNotAllowed", "the fake has no watch; ask again instead")

    def _write(self, request: Request, one: Workload) -> None:
        kind = request.content_type.partition(";")[0]
        if request.method == "PATCH" and (kind not in _PATCHES or (kind != _SCALE_ONLY_MERGE and not one.kind.builtin)):
            raise _Refusal(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}")
        given = _object(request.body)
        meta, spec = _part(given, "metadata"), _part(given, "spec")
        version = meta.get("resourceVersion")
        if version and version != str(one.version):
            words = "the object has been modified; please apply your changes to the latest version and try again"
            raise _Refusal(409, "Conflict", f'Operation cannot be fulfilled on {one.kind.name} "{one.name}": {words}')
        absent = 0 if request.method == "PUT" else one.replicas
        replicas = spec.get("replicas", absent)
        if not isinstance(replicas, int) or isinstance(replicas, bool) or not 0 <= replicas <= _MOST_REPLICAS:
            words = f"spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0"
            raise _Refusal(422, "Invalid", f'{one.kind.kind}.{one.kind.group} "{one.name}" is invalid: {words}')
        if one.kind.most is not None and replicas > one.kind.most:
            words = f"spec.replicas: Invalid value: {replicas}: should be less than or equal to {one.kind.most}"
            raise _Refusal(422, "Invalid", f'{one.kind.kind}.{one.kind.group} "{one.name}" is invalid: {words}')
        one.annotations |= {key: str(value) for key, value in _part(meta, "annotations").items()}
        self.changes.append({"target": one.name, "from": one.replicas, "to": replicas, "by": request.agent})
        self.cluster.scale(one, replicas)
        self.cluster.advance(self.cluster.now)

    def _pods(self, request: Request, asked: Mapping[str, Any]) -> dict[str, Any]:
        every = [(one, pod) for one in self.cluster.workloads.values() for pod in one.pods]
        here = [(one, pod) for one, pod in every if asked["namespace"] in {None, one.namespace}]
        if not asked["name"]:
            return self._listed_pods(request, here)
        for one, pod in here:
            if pod.name == asked["name"]:
                if request.method == "PATCH":
                    _annotate(pod, request)
                return views.pod(self.cluster, one, pod)
        raise _Refusal(404, "NotFound", f'pods "{asked["name"]}" not found', asked["name"])

    def _listed_pods(self, request: Request, here: list[tuple[Workload, Pod]]) -> dict[str, Any]:
        """A page of those with the labels. The token of the next one is a place, and not a moment as the API's is."""
        wants = _labels(request.query.get("labelSelector", ""))
        found = [(one, pod) for one, pod in here if wants.items() <= pod.labels.items()]
        begin, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 0) or len(found)
        page = found[begin : begin + limit]
        shown = views.listed(self.cluster, "Pod", "v1", [views.pod(self.cluster, one, pod) for one, pod in page])
        if begin + limit < len(found):
            left = len(found) - begin - limit
            shown["metadata"] |= {"continue": str(begin + limit), "remainingItemCount": left}
        return shown

    def _review(self, review: Mapping[str, Any]) -> dict[str, Any]:
        asked = _part(_part(review, "spec"), "resourceAttributes")
        below = f"/{asked['subresource']}" if asked.get("subresource") else ""
        allowed = f"{asked.get('verb')} {asked.get('resource')}{below}" not in self.denied
        return {**review, "status": {"allowed": allowed}}


def _object(body: bytes) -> dict[str, Any]:
    """Kubectl sends some objects in the API's own binary form."""
    try:
        found = json.loads(body)
    except ValueError:
        raise _Refusal(400, "BadRequest", "the fake reads JSON only") from None
    if not isinstance(found, dict):
        raise _Refusal(400, "BadRequest", "the object provided is unrecognized")
    return found


def _part(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name) or {}
    if not isinstance(found, dict):
        raise _Refusal(400, "BadRequest", f"{name} is no object")
    return found


def _labels(selector: str) -> dict[str, str]:
    """Of a selector that asks for equal values; the fake knows no other."""
    pairs = [one.replace("==", "=").partition("=") for one in filter(None, selector.split(","))]
    if not all(sign and not key.endswith("!") for key, sign, _ in pairs):
        raise _Refusal(400, "BadRequest", f"unable to parse requirement: {selector}")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _annotate(pod: Pod, request: Request) -> None:
    """A merge-patch; null takes an annotation away."""
    kind = request.content_type.partition(";")[0]
    if kind not in _PATCHES:
        raise _Refusal(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}")
    try:
        annotations = _object(request.body)["metadata"]["annotations"].items()
    except (KeyError, TypeError, AttributeError):
        raise _Refusal(400, "BadRequest", "the fake takes annotations of a pod, and nothing else") from None
    if not all(value is None or isinstance(value, str) for _, value in annotations):
        raise _Refusal(400, "BadRequest", "annotations are strings")
    for key, value in annotations:
        pod.annotations.pop(key, None)
        if value is not None:
            pod.annotations[key] = value


def _discovery(path: str) -> dict[str, Any] | None:
    if path == "/version":
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.0-fake", "platform": "fake"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        return kinds.groups()
    parts = path.strip("/").split("/")
    if parts == ["api", "v1"]:
        return kinds.resources("v1")
    names = {kind.group: kind.version for kind in kinds.SCALED}
    if parts[0] == "apis" and parts[1] in names:
        if len(parts) == 2:
            return kinds.group(parts[1])
        if parts[2:] == [names[parts[1]]]:
            return kinds.resources(f"{parts[1]}/{parts[2]}")
    return None
