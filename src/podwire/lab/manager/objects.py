"""The objects that the manager judges, decoded to the fields that it uses. Source: the Kubernetes 1.34 API reference."""

from __future__ import annotations

from typing import Any

import msgspec

from podwire.cluster.objects import Meta as _Meta


class OwnerReference(msgspec.Struct, rename="camel"):
    """Who an object belongs to."""

    kind: str
    name: str
    uid: str
    controller: bool = False


class Meta(_Meta, rename="camel"):
    """metadata."""

    generation: int = 0
    creation_timestamp: str = ""
    owner_references: list[OwnerReference] = msgspec.field(default_factory=list)

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return (self.namespace, self.name)

    @property
    def controller_uid(self) -> str:
        """The uid of the object that manages this one, or ""."""
        return next((owner.uid for owner in self.owner_references if owner.controller), "")


Key = tuple[str, str]


class Expression(msgspec.Struct):
    """A requirement of a label selector or of node affinity."""

    key: str
    operator: str
    values: list[str] = msgspec.field(default_factory=list)


class Selector(msgspec.Struct, rename="camel"):
    """A label selector."""

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)
    match_expressions: list[Expression] = msgspec.field(default_factory=list)


class Toleration(msgspec.Struct, rename="camel", frozen=True):
    """What a pod puts up with."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class Taint(msgspec.Struct, rename="camel", frozen=True):
    """What keeps pods off a node."""

    key: str
    effect: str
    value: str = ""
    time_added: str = ""


class NodeSelectorTerm(msgspec.Struct, rename="camel"):
    """One alternative of required node affinity: all of its requirements must hold."""

    match_expressions: list[Expression] = msgspec.field(default_factory=list)
    match_fields: list[Expression] = msgspec.field(default_factory=list)


class RequiredNodeAffinity(msgspec.Struct, rename="camel"):
    """Alternatives of which one must hold."""

    node_selector_terms: list[NodeSelectorTerm] = msgspec.field(default_factory=list)


class NodeAffinity(msgspec.Struct):
    """spec.affinity.nodeAffinity; preferences are not weighed."""

    required: RequiredNodeAffinity | None = msgspec.field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class Affinity(msgspec.Struct, rename="camel"):
    """spec.affinity."""

    node_affinity: NodeAffinity | None = None


class PodSpec(msgspec.Struct, rename="camel"):
    """A pod's spec, as far as it decides where the pod runs."""

    node_name: str = ""
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    tolerations: list[Toleration] = msgspec.field(default_factory=list)
    affinity: Affinity | None = None
    scheduler_name: str = "default-scheduler"
    scheduling_gates: list[dict[str, Any]] = msgspec.field(default_factory=list)
    host_network: bool = False


class Condition(msgspec.Struct, rename="camel"):
    """A condition of any object."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    last_update_time: str = ""


class PodStatus(msgspec.Struct):
    """A pod's status."""

    phase: str = "Pending"
    conditions: list[Condition] = msgspec.field(default_factory=list)

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((one for one in self.conditions if one.type == kind), None)


class Pod(msgspec.Struct):
    """A pod."""

    metadata: Meta
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    @property
    def active(self) -> bool:
        """Whether it counts: neither over nor on its way out."""
        return self.status.phase not in ("Succeeded", "Failed") and not self.metadata.deletion_timestamp

    @property
    def ready(self) -> bool:
        """Whether its Ready condition is true."""
        condition = self.status.condition("Ready")
        return condition is not None and condition.status == "True"


class NodeSpec(msgspec.Struct):
    """A node's spec."""

    unschedulable: bool = False
    taints: list[Taint] = msgspec.field(default_factory=list)


class NodeStatus(msgspec.Struct):
    """A node's status."""

    conditions: list[Condition] = msgspec.field(default_factory=list)
    allocatable: dict[str, str] = msgspec.field(default_factory=dict)


class Node(msgspec.Struct):
    """A node."""

    metadata: Meta
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)

    @property
    def ready(self) -> str:
        """The status of its Ready condition: True, False or Unknown."""
        return next((one.status for one in self.status.conditions if one.type == "Ready"), "Unknown")


class LeaseSpec(msgspec.Struct, rename="camel"):
    """A lease's spec."""

    renew_time: str = ""


class Lease(msgspec.Struct):
    """A lease."""

    metadata: Meta
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)


class Namespace(msgspec.Struct):
    """A namespace."""

    metadata: Meta


class ServiceAccount(msgspec.Struct):
    """A service account."""

    metadata: Meta


class RollingUpdate(msgspec.Struct, rename="camel"):
    """How far a rollout may go at once: numbers or percentages."""

    max_surge: int | str | None = None
    max_unavailable: int | str | None = None


class Strategy(msgspec.Struct, rename="camel"):
    """How a workload replaces its pods."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = msgspec.field(default_factory=RollingUpdate)


class WorkloadSpec(msgspec.Struct, rename="camel"):
    """The spec of a Deployment, ReplicaSet or DaemonSet."""

    template: dict[str, Any]
    selector: Selector = msgspec.field(default_factory=Selector)
    replicas: int = 1
    min_ready_seconds: int = 0
    strategy: Strategy = msgspec.field(default_factory=Strategy)
    update_strategy: Strategy = msgspec.field(default_factory=Strategy)
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    paused: bool = False


class Workload(msgspec.Struct):
    """A Deployment, ReplicaSet or DaemonSet; *status* stays as it came, since it is written back."""

    metadata: Meta
    spec: WorkloadSpec
    status: dict[str, Any] = msgspec.field(default_factory=dict)
