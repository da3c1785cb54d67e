"""Rebuilding allocations that a damaged store lost, from what the kernel and the cluster still know. Pure.

A host end's name is a hash of its attachment's key, so the key cannot be read off it; but anyone who knows keys can
find the host end of each. The container runtime does: libcni keeps the result of every ADD in its cache
(``/var/lib/cni/results``), and GC lists the valid attachments. So:

* a host end whose key a **candidate** tells, with its route, becomes an attachment again;
* any other address that a route of ours leads to becomes an **orphan**: kept from everyone until a DEL or an ADD comes
  for its host end, or until GC proves it dead;
* a running pod's address without even a route is an orphan too if a candidate tells its key, and else is **held** until
  the pod goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_interface

import msgspec

from podwire.ipam.invariants import is_pod_route
from podwire.model.addresses import IPAddress, IPInterface
from podwire.model.attachment import Attachment, AttachmentKey, PodRef
from podwire.model.cluster import Pod
from podwire.model.kernel import Neighbour, Route


class FoundLink(msgspec.Struct, frozen=True):
    """The host end of a pod as found in the kernel; those on their way out are left out."""

    name: str
    mac: str
    mtu: int


class Candidate(msgspec.Struct, frozen=True):
    """An attachment that the runtime knows of; *netns_inode* 0 when its namespace is gone."""

    key: AttachmentKey
    netns: str
    netns_inode: int
    pod: PodRef | None = None


class Orphan(msgspec.Struct, frozen=True):
    """Addresses that belong to the host end *host_ifname* of some attachment; *owner* is the pod's name if known."""

    host_ifname: str
    addresses: tuple[IPAddress, ...]
    owner: str


class Rebuilt(msgspec.Struct, frozen=True):
    """*attachments* to put into the store; *orphans*; *holds* (address to pod); *notes*, one sentence for each."""

    attachments: tuple[Attachment, ...]
    orphans: tuple[Orphan, ...]
    holds: Mapping[IPAddress, str]
    notes: tuple[str, ...]


def rebuild(
    known: Mapping[AttachmentKey, Attachment],
    *,
    links: Iterable[FoundLink],
    routes: Iterable[Route],
    neighbours: Iterable[Neighbour],
    pods: Iterable[Pod],
    candidates: Iterable[Candidate],
    now: float,
) -> Rebuilt:
    """What *known* (the store's intact records) lacks. *pods* are this node's; *now* is seconds since the epoch."""
    taken = {addr for attachment in known.values() for addr in attachment.ips}
    by_device: defaultdict[str, list[IPInterface]] = defaultdict(list)
    for route in routes:
        if is_pod_route(route) and route.dst.network_address not in taken:
            by_device[route.dev or ""].append(ip_interface((route.dst.network_address, route.dst.prefixlen)))
    live = [pod for pod in pods if pod.live and not pod.host_network]
    pod_of = {addr: PodRef(pod.namespace, pod.name, pod.uid) for pod in live for addr in pod.ips}
    unknown = {candidate.key.host_ifname: candidate for candidate in candidates if candidate.key not in known}
    attachments = tuple(_attachments(unknown, by_device, links, neighbours, pod_of, now))
    orphans = [
        Orphan(name, ips, str(next((pod_of[addr] for addr in ips if addr in pod_of), f"unclaimed/{name}")))
        for name, ips in sorted((name, tuple(iface.ip for iface in ifaces)) for name, ifaces in by_device.items())
    ]
    taken.update(addr for attachment in attachments for addr in attachment.ips)
    taken.update(addr for orphan in orphans for addr in orphan.addresses)
    without_route: defaultdict[PodRef, list[IPAddress]] = defaultdict(list)
    for addr, ref in pod_of.items():
        if addr not in taken:
            without_route[ref].append(addr)
    names = {candidate.pod: name for name, candidate in unknown.items() if candidate.pod is not None}
    holds: dict[IPAddress, str] = {}
    for ref, ips in without_route.items():
        if ref in names:
            orphans.append(Orphan(names[ref], tuple(ips), str(ref)))
        else:
            holds.update((addr, str(ref)) for addr in ips)
    return Rebuilt(attachments, tuple(orphans), holds, tuple(_notes(attachments, orphans, holds)))


def _attachments(
    unknown: Mapping[str, Candidate],
    by_device: dict[str, list[IPInterface]],
    links: Iterable[FoundLink],
    neighbours: Iterable[Neighbour],
    pod_of: Mapping[IPAddress, PodRef],
    now: float,
) -> Iterator[Attachment]:
    """Those of which all is known; their routes are taken out of *by_device*."""
    found = {link.name: link for link in links}
    macs = {(neighbour.dev, neighbour.address): neighbour.mac for neighbour in neighbours}
    for name, candidate in unknown.items():
        if name not in found or name not in by_device or not candidate.netns_inode:
            continue
        addresses = tuple(sorted(by_device[name], key=lambda iface: (iface.version, int(iface))))
        mac = next((mac for iface in addresses if (mac := macs.get((name, iface.ip)))), "")
        if not mac:
            continue
        del by_device[name]
        yield Attachment(
            key=candidate.key,
            netns=candidate.netns,
            netns_inode=candidate.netns_inode,
            addresses=addresses,
            mac=mac,
            host_mac=found[name].mac,
            mtu=found[name].mtu,
            created_at=now,
            pod=candidate.pod or pod_of.get(addresses[0].ip),
            state="ready",
        )


def _notes(
    attachments: Iterable[Attachment], orphans: Iterable[Orphan], holds: Mapping[IPAddress, str]
) -> Iterator[str]:
    for attachment in attachments:
        yield f"{attachment.owner} is rebuilt with {', '.join(map(str, attachment.ips))}"
    for orphan in orphans:
        shown = ", ".join(map(str, orphan.addresses))
        yield f"{shown} stays with {orphan.owner} on {orphan.host_ifname}, whose attachment is not known in full"
    for addr, pod in holds.items():
        yield f"{addr} is held for the running pod {pod}, of which nothing else is known"
