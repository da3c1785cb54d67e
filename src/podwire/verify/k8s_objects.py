"""The Kubernetes objects of a proof: what is created, and what a pod's status tells of its start. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from podwire.cluster.objects import Meta, PodIP
from podwire.verify.values import Seat

LABEL = "podwire.io/verify"
DEADLINE = "podwire.io/verify-until"
STARTED_BY = "podwire.io/verify-by"
FIRST, SECOND, HOST = "first", "second", "node"
DAEMON_SETS: Mapping[str, tuple[str, ...]] = {FIRST: ("probe", "neighbour"), SECOND: ("probe",), HOST: ("probe",)}
"""DaemonSet -> its containers. The second pod of a node is what the first one talks to on the same node."""


class _Waiting(msgspec.Struct):
    reason: str = ""
    message: str = ""


class _State(msgspec.Struct):
    waiting: _Waiting | None = None
    running: dict[str, Any] | None = None
    terminated: _Waiting | None = None


class _ContainerStatus(msgspec.Struct):
    name: str = ""
    state: _State = msgspec.field(default_factory=_State)


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class _PodSpec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    affinity: dict[str, Any] = msgspec.field(default_factory=dict)


class _PodStatus(msgspec.Struct, rename="camel"):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: list[PodIP] = msgspec.field(default_factory=list, name="podIPs")
    conditions: list[_Condition] = msgspec.field(default_factory=list)
    container_statuses: list[_ContainerStatus] = msgspec.field(default_factory=list)
    message: str = ""
    reason: str = ""


class ProbePod(msgspec.Struct):
    """A pod of a proof, decoded to what its start is judged by."""

    metadata: Meta
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)

    @property
    def role(self) -> str:
        return self.metadata.labels.get("role", "")

    @property
    def node(self) -> str:
        """The node that runs it; while it waits for the scheduler, the one that its DaemonSet wants it on."""
        if self.spec.node_name:
            return self.spec.node_name
        required = self.spec.affinity.get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
        for term in required.get("nodeSelectorTerms", []):
            for field in term.get("matchFields", []):
                if field.get("key") == "metadata.name" and field.get("values"):
                    return str(field["values"][0])
        return ""

    @property
    def running(self) -> bool:
        states = [each.state.running is not None for each in self.status.container_statuses]
        wanted = len(DAEMON_SETS.get(self.role, ()))
        return (
            len(states) == wanted and all(states) and bool(self.status.pod_ip) and not self.metadata.deletion_timestamp
        )

    def obstacle(self) -> str:
        """Why it does not run, in its status's own words."""
        for each in self.status.container_statuses:
            for state in (each.state.waiting, each.state.terminated):
                if state is not None and (state.message or state.reason):
                    return f"{state.reason}: {state.message}".strip(": ")
        for condition in self.status.conditions:
            if condition.status == "False" and condition.message and condition.type != "Ready":
                return f"{condition.reason}: {condition.message}"
        return self.status.message or f"it is {self.status.phase or 'Pending'}, and its status does not say why"

    def seats(self) -> list[Seat]:
        """One seat per container, in order."""
        name = f"{self.metadata.namespace}/{self.metadata.name}"
        return [Seat(self.node, name, container, self.role == HOST) for container in DAEMON_SETS[self.role]]


def namespace(name: str, until: float, by: str) -> dict[str, Any]:
    """The namespace of one run, marked so that a later run can tell that nobody needs it any more."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {LABEL: "probe", "pod-security.kubernetes.io/enforce": "privileged"},
            "annotations": {DEADLINE: str(int(until)), STARTED_BY: by},
        },
    }


def daemon_set(role: str, image: str, prefix: Sequence[str]) -> dict[str, Any]:
    """A DaemonSet of probe pods on every node, whatever its taints. Without *prefix* the image's own command holds."""
    host = role == HOST
    capabilities = ["NET_RAW", "NET_ADMIN"] if host else ["NET_RAW"]
    containers: list[dict[str, Any]] = []
    for name in DAEMON_SETS[role]:
        container: dict[str, Any] = {
            "name": name,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "securityContext": {"capabilities": {"add": capabilities}, "runAsUser": 0},
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        }
        if prefix:
            container["command"] = [*prefix, "--hold"]
        containers.append(container)
    labels = {LABEL: "probe", "role": role}
    spec: dict[str, Any] = {
        "containers": containers,
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
    }
    if host:
        spec["hostNetwork"] = True
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": role, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
            "updateStrategy": {"type": "OnDelete"},
        },
    }


def missing(pods: Iterable[ProbePod], nodes: Iterable[str]) -> list[tuple[str, str, str]]:
    """What does not run yet, as (node, role, why)."""
    found = {(pod.node, pod.role): pod for pod in pods}
    gaps = []
    for node in nodes:
        for role in DAEMON_SETS:
            pod = found.get((node, role))
            if pod is None:
                gaps.append((node, role, "its DaemonSet has made no pod for this node"))
            elif not pod.running:
                gaps.append((node, role, pod.obstacle()))
    return gaps
