"""The controller's API on the Kubernetes REST client: one conditional merge patch a write."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from podwire.cluster.client import Client
from podwire.cluster.objects import NodeObject, node
from podwire.cluster.resources import EVENTS, LEASES, NODES
from podwire.cluster.watch import Changed, Reflector
from podwire.controller.api import CLAIM_ANNOTATION, LeaseRecord, NodeRecord
from podwire.model.addresses import IPNetwork, network
from podwire.model.errors import ClusterError, InputError

COMPONENT = "podwire-controller"
EVENT_NAMESPACE = "default"
"""Where Kubernetes itself puts the Events of Nodes, which have no namespace."""


class _LeaseMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _LeaseSpec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime.datetime | None = None
    renew_time: datetime.datetime | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct):
    metadata: _LeaseMeta
    spec: _LeaseSpec = msgspec.field(default_factory=_LeaseSpec)


class KubeApi:
    """:class:`~podwire.controller.api.ControllerApi` on a :class:`~podwire.cluster.client.Client`."""

    def __init__(self, client: Client, now: Callable[[], float]) -> None:
        """*now* is seconds since the epoch, for Events."""
        self._client = client
        self._now = now
        self._event_numbers = itertools.count()

    async def list_nodes(self) -> list[NodeRecord]:
        """Without a resourceVersion the server reads what is committed, and further pages are of the same moment."""
        listed = await self._client.list(NODES, type=NodeObject)
        return [_record(decoded) for decoded in listed.items]

    async def watch_nodes(self) -> AsyncIterator[NodeRecord | None]:
        """Never ends by itself; the reflector meets every failure."""
        async for event in Reflector[NodeObject](self._client, NODES, type=NodeObject):
            if isinstance(event, Changed) and not event.deleted:
                yield _record(event.object)
            else:
                yield None

    async def claim(self, node: NodeRecord, cidrs: Sequence[IPNetwork]) -> NodeRecord:
        """See the protocol."""
        return await self._patch(node, {}, ",".join(map(str, cidrs)) or None)

    async def assign(self, node: NodeRecord, cidrs: Sequence[IPNetwork]) -> NodeRecord:
        """See the protocol."""
        texts = [str(cidr) for cidr in cidrs]
        return await self._patch(node, {"spec": {"podCIDR": texts[0], "podCIDRs": texts}}, None)

    async def warn(self, node: NodeRecord, reason: str, message: str) -> None:
        """See the protocol. The involved object's uid is the Node's name, as kubelet writes it and kubectl expects."""
        moment = self._now()
        stamp = _time(moment)
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{node.name}.{int(moment * 1e6):x}{next(self._event_numbers):x}",
                "namespace": EVENT_NAMESPACE,
            },
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.name},
            "reason": reason,
            "message": message[:1024],
            "type": "Warning",
            "count": 1,
            "firstTimestamp": stamp[:19] + "Z",
            "lastTimestamp": stamp[:19] + "Z",
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": COMPONENT,
        }
        await self._client.create(EVENTS, body, EVENT_NAMESPACE)

    async def get_lease(self, namespace: str, name: str) -> LeaseRecord:
        """See the protocol."""
        return _lease(await self._client.get(LEASES, name, namespace, type=_Lease))

    async def put_lease(self, namespace: str, name: str, lease: LeaseRecord) -> LeaseRecord:
        """See the protocol."""
        metadata: dict[str, Any] = {"name": name, "namespace": namespace}
        if lease.resource_version:
            metadata["resourceVersion"] = lease.resource_version
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": lease.holder,
                "leaseDurationSeconds": lease.duration,
                "acquireTime": _time(lease.acquired),
                "renewTime": _time(lease.renewed),
                "leaseTransitions": lease.transitions,
            },
        }
        if lease.resource_version:
            written = await self._client.replace(LEASES, body, namespace)
        else:
            written = await self._client.create(LEASES, body, namespace)
        return _lease(_convert(written, _Lease))

    async def _patch(self, node: NodeRecord, body: dict[str, Any], claim: str | None) -> NodeRecord:
        metadata = {
            "resourceVersion": node.resource_version,
            "uid": node.uid,
            "annotations": {CLAIM_ANNOTATION: claim},
        }
        written = await self._client.patch(NODES, node.name, {**body, "metadata": metadata})
        return _record(_convert(written, NodeObject))


def _record(decoded: NodeObject) -> NodeRecord:
    parsed = node(decoded)
    return NodeRecord(
        name=parsed.name,
        uid=parsed.uid,
        resource_version=decoded.metadata.resource_version,
        pod_cidrs=parsed.pod_cidrs,
        claim=_claim(decoded.metadata.annotations.get(CLAIM_ANNOTATION, "")),
        addresses=parsed.addresses,
        deleting=decoded.metadata.deletion_timestamp is not None,
    )


def _claim(text: str) -> tuple[IPNetwork, ...]:
    """What cannot be read is no claim: it is written anew."""
    try:
        return tuple(network(part, CLAIM_ANNOTATION) for part in text.split(",") if part)
    except InputError:
        return ()


def _lease(decoded: _Lease) -> LeaseRecord:
    spec = decoded.spec
    return LeaseRecord(
        holder=spec.holder_identity or "",
        duration=spec.lease_duration_seconds or 0,
        acquired=spec.acquire_time.timestamp() if spec.acquire_time else 0.0,
        renewed=spec.renew_time.timestamp() if spec.renew_time else 0.0,
        transitions=spec.lease_transitions or 0,
        resource_version=decoded.metadata.resource_version,
    )


def _time(moment: float) -> str:
    """metav1.MicroTime."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _convert(raw: dict[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ClusterError(f"the API server's answer cannot be read: {error}") from error
