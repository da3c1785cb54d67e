"""What the controller needs of the Kubernetes API, as values and a protocol (:mod:`podwire.controller.kube` has it)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from podwire.model.addresses import IPAddress, IPNetwork

CLAIM_ANNOTATION = "podwire.io/pod-cidrs-claim"
"""On a Node without podCIDRs: the CIDRs it is about to get, comma-separated."""


class NodeRecord(msgspec.Struct, frozen=True):
    """A Node as the controller sees it. *deleting*: it has a deletionTimestamp."""

    name: str
    uid: str
    resource_version: str
    pod_cidrs: tuple[IPNetwork, ...] = ()
    claim: tuple[IPNetwork, ...] = ()
    addresses: tuple[IPAddress, ...] = ()
    deleting: bool = False


class LeaseRecord(msgspec.Struct, frozen=True):
    """A Lease of coordination.k8s.io/v1; times are seconds since the epoch, *resource_version* empty for a new one."""

    holder: str
    duration: int
    acquired: float
    renewed: float
    transitions: int = 0
    resource_version: str = ""


class ControllerApi(Protocol):
    """The API server. All raise :class:`~podwire.model.errors.ClusterError`; Unavailable may mean that a write took
    place and its answer was lost."""

    async def list_nodes(self) -> list[NodeRecord]:
        """All Nodes at one moment, which lies after the beginning of the call (a consistent read, not a cached one)."""
        ...

    def watch_nodes(self) -> AsyncIterator[NodeRecord | None]:
        """Every Node that was added or changed; None when one went, or when changes may have been missed."""
        ...

    async def claim(self, node: NodeRecord, cidrs: Sequence[IPNetwork]) -> NodeRecord:
        """Set the claim (none: remove it), if the Node is still at this resourceVersion, else Conflict or NotFound."""
        ...

    async def assign(self, node: NodeRecord, cidrs: Sequence[IPNetwork]) -> NodeRecord:
        """Set spec.podCIDRs and remove the claim in one write, under the same condition."""
        ...

    async def warn(self, node: NodeRecord, reason: str, message: str) -> None:
        """Record an Event of type Warning about the Node."""
        ...

    async def get_lease(self, namespace: str, name: str) -> LeaseRecord:
        """The Lease; NotFound if there is none."""
        ...

    async def put_lease(self, namespace: str, name: str, lease: LeaseRecord) -> LeaseRecord:
        """Create it (no resource_version) or replace it, if it is still at this resourceVersion; else Conflict."""
        ...
