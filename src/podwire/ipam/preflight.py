"""Preflight: does the address plan collide with what the node's network already uses?

An overlap is silent until the day that a pod talks to the machine whose address it shares; so it is looked for before
the first pod. Pure: the caller collects what is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Literal

import msgspec

from podwire.model.addresses import IPAddress, IPNetwork, contains, overlapping
from podwire.model.cluster import Underlay
from podwire.model.kernel import LINK_PREFIX, ROUTE_PROTOCOL

_OWNERS: tuple[tuple[str, str], ...] = (
    (r"docker0|br-[0-9a-f]{12}", "a Docker bridge"),
    (r"docker_gwbridge", "Docker Swarm's gateway bridge"),
    (r"podman\d+|cni-podman\d+", "a Podman bridge"),
    (r"virbr\d+", "a libvirt bridge"),
    (r"lxcbr\d+|lxdbr\d+|incusbr\d+", "an LXC bridge"),
    (r"cni0|flannel\.\d+|kube-bridge|cilium_\w+|lxc\w+|tunl0|vxlan\.calico|cali\w+|antrea-gw0|weave|ovn-k8s-mp0",
     "another CNI plugin"),
    (r"tun\d+|tap\d+|wg\d+|tailscale\d+|ppp\d+|utun\d+|nebula\d+|zt\w+", "a VPN"),
)  # fmt: skip


class HostRoute(msgspec.Struct, frozen=True):
    """A route of the node as found: *protocol* is rtm_protocol; the default route may be among them."""

    dst: IPNetwork
    device: str
    protocol: int = 0


class Finding(msgspec.Struct, frozen=True):
    """Something that will go wrong (*error*) or may (*warning*), *subject* in the address plan, and what to do."""

    severity: Literal["error", "warning"]
    subject: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.subject} {self.problem}; {self.remedy}"


class Site(msgspec.Struct, frozen=True):
    """What the node's own network uses: *hosts* are addresses that pods must reach, by what a message calls them."""

    underlays: tuple[Underlay, ...] = ()
    routes: tuple[HostRoute, ...] = ()
    hosts: Mapping[str, IPAddress] = msgspec.field(default_factory=dict)


def preflight(pod_cidrs: Sequence[IPNetwork], service_cidrs: Sequence[IPNetwork], site: Site) -> list[Finding]:
    """All collisions, errors first. *hosts* of *site* are such as name servers and the API server."""
    findings: list[Finding] = []
    for field, cidrs in (("cluster.podCidrs", pod_cidrs), ("cluster.serviceCidrs", service_cidrs)):
        for cidr in cidrs:
            subject = f"{field} {cidr}"
            findings += _against_underlays(subject, cidr, site.underlays)
            findings += _against_routes(subject, cidr, site)
            findings += _against_hosts(subject, cidr, site.hosts)
    for cidr in pod_cidrs:
        findings += _against_services(cidr, service_cidrs)
        findings += _against_the_world(cidr)
    return sorted(dict.fromkeys(findings), key=lambda finding: finding.severity)


def owner_of(device: str) -> str:
    """Whose device this is by its name, for a message: ``a Docker bridge``; empty when nobody known."""
    return next((owner for pattern, owner in _OWNERS if re.fullmatch(pattern, device)), "")


def _against_underlays(subject: str, cidr: IPNetwork, underlays: Iterable[Underlay]) -> Iterable[Finding]:
    for underlay in underlays:
        for subnet in underlay.connected:
            if overlapping(cidr, subnet):
                yield Finding(
                    "error",
                    subject,
                    f"overlaps the nodes' own subnet {subnet} on {underlay.device}",
                    "choose a range that the underlay does not use",
                )
        if contains([cidr], underlay.address) and not contains(underlay.connected, underlay.address):
            yield Finding(
                "error",
                subject,
                f"holds this node's address {underlay.address} on {underlay.device}",
                "choose a range that the underlay does not use",
            )


def _against_routes(subject: str, cidr: IPNetwork, site: Site) -> Iterable[Finding]:
    known = [subnet for underlay in site.underlays for subnet in underlay.connected]
    for route in site.routes:
        ours = route.protocol == ROUTE_PROTOCOL or route.device.startswith(LINK_PREFIX)
        if ours or route.dst.prefixlen == 0 or route.dst in known or not overlapping(cidr, route.dst):
            continue
        owner = owner_of(route.device)
        where = f"{route.device} ({owner})" if owner else route.device or "no device"
        if owner == "another CNI plugin":
            remedy = "remove what that plugin left behind, then restart the agent"
        elif owner.startswith("a Docker"):
            remedy = "choose another range, or set `bip` and `default-address-pools` in Docker's daemon.json"
        else:
            remedy = "choose another range, or remove that route"
        # A longer route of the host wins over ours and takes the pods' packets; ours wins over a shorter one.
        longer = route.dst.prefixlen >= cidr.prefixlen
        effect = "which takes packets meant for it" if longer else "whose destinations pods and nodes lose"
        yield Finding(
            "error" if longer else "warning",
            subject,
            f"overlaps the route {route.dst} on {where}, {effect}",
            remedy,
        )


def _against_hosts(subject: str, cidr: IPNetwork, hosts: Mapping[str, IPAddress]) -> Iterable[Finding]:
    for name, addr in hosts.items():
        if contains([cidr], addr):
            yield Finding(
                "error", subject, f"holds the address {addr} of the {name}, which no pod would reach",
                f"choose a range without it, or give the {name} another address",
            )  # fmt: skip


def _against_services(cidr: IPNetwork, services: Iterable[IPNetwork]) -> Iterable[Finding]:
    for service in services:
        if overlapping(cidr, service):
            yield Finding(
                "error",
                f"cluster.podCidrs {cidr}",
                f"overlaps the Service CIDR {service}",
                "choose ranges that share no address",
            )


_SHARED = IPv4Network("100.64.0.0/10")
_SPECIAL: tuple[tuple[IPNetwork, str], ...] = (
    (ip_network("127.0.0.0/8"), "loopback"),
    (ip_network("169.254.0.0/16"), "link-local, where pods have their gateway"),
    (ip_network("224.0.0.0/3"), "multicast or reserved"),
    (ip_network("0.0.0.0/8"), "this network"),
    (ip_network("::/127"), "loopback"),
    (ip_network("fe80::/10"), "link-local, where pods have their gateway"),
    (ip_network("ff00::/8"), "multicast"),
)


def _against_the_world(cidr: IPNetwork) -> Iterable[Finding]:
    subject = f"cluster.podCidrs {cidr}"
    remedy = "use a private range such as 10.244.0.0/16" if cidr.version == 4 else "use a range of fd00::/8 (RFC 4193)"
    for special, name in _SPECIAL:
        if overlapping(cidr, special):
            yield Finding("error", subject, f"overlaps {special} ({name})", remedy)
            return
    shared = isinstance(cidr.network_address, IPv4Address) and cidr.network_address in _SHARED
    if not cidr.is_private and not shared:
        yield Finding(
            "warning", subject, "is not a private range: pods cannot reach the Internet hosts that own it", remedy
        )
