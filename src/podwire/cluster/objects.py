"""The Kubernetes objects that podwire reads, decoded to the fields used, and turned into the model's neutral values."""

from __future__ import annotations

import ipaddress

import msgspec

from podwire.model import cluster as model
from podwire.model.addresses import IPAddress, IPNetwork


class Meta(msgspec.Struct, rename="camel"):
    """metadata, as far as it is used."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    deletion_timestamp: str | None = None


class NodeAddress(msgspec.Struct):
    """An entry of a Node's status.addresses."""

    type: str
    address: str


class NodeSpec(msgspec.Struct, rename="camel"):
    """A Node's spec."""

    pod_cidr: str = msgspec.field(default="", name="podCIDR")
    pod_cidrs: list[str] = msgspec.field(default_factory=list, name="podCIDRs")


class NodeStatus(msgspec.Struct):
    """A Node's status."""

    addresses: list[NodeAddress] = msgspec.field(default_factory=list)


class NodeObject(msgspec.Struct):
    """A Node."""

    metadata: Meta
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class PodIP(msgspec.Struct):
    """An entry of a Pod's status.podIPs."""

    ip: str = ""


class PodSpec(msgspec.Struct, rename="camel"):
    """A Pod's spec."""

    node_name: str = ""
    host_network: bool = False


class PodStatus(msgspec.Struct, rename="camel"):
    """A Pod's status."""

    phase: str = ""
    pod_ips: list[PodIP] = msgspec.field(default_factory=list, name="podIPs")
    pod_ip: str = msgspec.field(default="", name="podIP")


class PodObject(msgspec.Struct):
    """A Pod."""

    metadata: Meta
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


def node(decoded: NodeObject, address_cidrs: tuple[IPNetwork, ...] = ()) -> model.Node:
    """The model's Node. Addresses that are none (host names) are left out; *address_cidrs* picks among the rest."""
    addresses = [
        parsed
        for entry in decoded.status.addresses
        if entry.type == "InternalIP" and (parsed := _address(entry.address)) is not None
    ]
    if address_cidrs:
        addresses = [
            addr for addr in addresses if any(addr in net for net in address_cidrs if net.version == addr.version)
        ]
    texts = decoded.spec.pod_cidrs or ([decoded.spec.pod_cidr] if decoded.spec.pod_cidr else [])
    cidrs = [network for text in texts if (network := _network(text)) is not None]
    return model.Node(decoded.metadata.name, tuple(dict.fromkeys(addresses)), tuple(cidrs), decoded.metadata.uid)


def pod(decoded: PodObject) -> model.Pod:
    """The model's Pod."""
    texts = [entry.ip for entry in decoded.status.pod_ips] or [decoded.status.pod_ip]
    return model.Pod(
        namespace=decoded.metadata.namespace,
        name=decoded.metadata.name,
        uid=decoded.metadata.uid,
        node=decoded.spec.node_name,
        ips=tuple(parsed for text in texts if text and (parsed := _address(text)) is not None),
        host_network=decoded.spec.host_network,
        live=decoded.status.phase not in ("Succeeded", "Failed"),
    )


def _address(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> IPNetwork | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
