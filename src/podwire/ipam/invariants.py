"""The invariant of a node's addresses: allocations = pods = routes = namespaces.

Four witnesses speak of the same attachments: the store (allocations), the API server (pods), the kernel's host side
(links and routes) and the pods' namespaces. Where they disagree there is a **violation**. Each says whether what it
names is **safe to free**, which takes two independent proofs of death:

* ``pod``: the API server knows no such live pod (a pod's uid tells it from its namesake);
* ``namespace``: the pod's network namespace is gone, or its path leads to another one;
* ``runtime``: the container runtime does not list the attachment (CNI's GC verb tells).

A missing link or route is no proof: a stranger can delete those while the pod lives, and healing puts them back. What
a witness was not asked (None) proves nothing, nor does the API server about an attachment so young that a watch may
not have told of its pod yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

import msgspec

from podwire.model.addresses import IPAddress, host_network
from podwire.model.attachment import Attachment, AttachmentKey
from podwire.model.cluster import Pod
from podwire.model.kernel import LINK_PREFIX, Route

GRACE = 60.0
"""Seconds that an attachment must have lived before the API server's not knowing its pod counts."""

Kind: TypeAlias = Literal[
    "duplicate-allocation",
    "duplicate-pod-address",
    "no-pod",
    "no-namespace",
    "no-link",
    "no-route",
    "not-in-runtime",
    "pod-without-allocation",
    "pod-address-differs",
    "route-without-allocation",
    "link-without-allocation",
]


class World(msgspec.Struct, frozen=True):
    """What the witnesses say about one node; None where one was not asked.

    *pods*: the node's pods by the API server. *routes*: ours, of the main table. *links*: names of the pods' host ends,
    without those on their way out (``HostLink.reaping``). *namespaces*: whether the namespace with the attachment's
    inode is still at its path, for the attachments that were looked at. *runtime*: the attachments that the runtime
    lists as valid, and *runtime_network* the one network that it speaks for.
    """

    now: float
    pods: Collection[Pod] | None = None
    routes: Collection[Route] | None = None
    links: Collection[str] | None = None
    namespaces: Mapping[AttachmentKey, bool] | None = None
    runtime: Collection[AttachmentKey] | None = None
    runtime_network: str = ""


class Violation(msgspec.Struct, frozen=True):
    """One disagreement. *subject* is the pod or the kernel object; *proofs* are those of its attachment's death."""

    kind: Kind
    subject: str
    detail: str
    address: IPAddress | None = None
    key: AttachmentKey | None = None
    proofs: tuple[str, ...] = ()
    safe_to_free: bool = False

    def __str__(self) -> str:
        free = "; safe to free" if self.safe_to_free else ""
        return f"{self.address or self.subject}: {self.detail}{free}"


def check(allocations: Mapping[AttachmentKey, Attachment], world: World) -> list[Violation]:
    """All violations, in a stable order; empty when the witnesses agree."""
    found: list[Violation] = list(_duplicates(allocations.values()))
    for attachment in sorted(allocations.values(), key=lambda attachment: attachment.key):
        found += _attachment(attachment, world)
    if world.pods is not None:
        found += _pods(allocations.values(), [pod for pod in world.pods if pod.live and not pod.host_network])
    found += _strays(allocations.values(), world)
    return found


def proofs_of_death(attachment: Attachment, world: World) -> tuple[str, ...]:
    """Which of ``pod``, ``namespace``, ``runtime`` prove that *attachment* is dead."""
    proofs: list[str] = []
    if (
        world.pods is not None
        and attachment.pod is not None
        and world.now - attachment.created_at >= GRACE
        and not any(_is_pod_of(attachment, pod) and pod.live for pod in world.pods)
    ):
        proofs.append("pod")
    if world.namespaces is not None and world.namespaces.get(attachment.key) is False:
        proofs.append("namespace")
    if (
        world.runtime is not None
        and attachment.key.network == world.runtime_network
        and attachment.key not in world.runtime
    ):
        proofs.append("runtime")
    return tuple(proofs)


def safe_to_free(attachment: Attachment, world: World) -> bool:
    """Whether two independent witnesses prove that *attachment* is dead."""
    return len(proofs_of_death(attachment, world)) >= 2


def _duplicates(attachments: Iterable[Attachment]) -> Iterator[Violation]:
    holders: defaultdict[IPAddress, list[Attachment]] = defaultdict(list)
    for attachment in sorted(attachments, key=lambda attachment: attachment.key):
        for addr in attachment.ips:
            holders[addr].append(attachment)
    for addr, several in holders.items():
        if len(several) > 1:
            names = " and ".join(attachment.owner for attachment in several)
            yield Violation(
                "duplicate-allocation", several[0].owner, f"is allocated more than once: {names}", addr, several[0].key
            )


def _attachment(attachment: Attachment, world: World) -> Iterator[Violation]:
    """What the other witnesses lack of one allocation."""
    proofs = proofs_of_death(attachment, world)
    addr = attachment.ips[0] if attachment.ips else None
    owner = attachment.owner

    def violation(kind: Kind, detail: str, at: IPAddress | None = addr) -> Violation:
        return Violation(kind, owner, detail, at, attachment.key, proofs, len(proofs) >= 2)

    if "pod" in proofs:
        yield violation("no-pod", f"is allocated to {owner}, and no such pod runs on this node")
    if "namespace" in proofs:
        yield violation("no-namespace", f"is allocated to {owner}, whose namespace {attachment.netns} is gone")
    if "runtime" in proofs:
        yield violation("not-in-runtime", f"is allocated to {owner}, which the container runtime does not know")
    if attachment.state != "ready":
        return
    name = attachment.key.host_ifname
    if world.links is not None and name not in world.links:
        yield violation("no-link", f"is allocated to {owner}, whose host end {name} is missing")
    if world.routes is not None:
        routes = {route.dst: route for route in world.routes}
        for iface in attachment.addresses:
            route = routes.get(host_network(iface.ip))
            if route is None:
                yield violation("no-route", f"is allocated to {owner}, and has no route", iface.ip)
            elif route.dev != name:
                yield violation(
                    "no-route", f"is allocated to {owner} on {name}, and its route leads to {route.dev}", iface.ip
                )


def _pods(attachments: Iterable[Attachment], pods: list[Pod]) -> Iterator[Violation]:
    """What the store lacks of the API server's pods, and what the API server itself has twice."""
    by_pod: defaultdict[tuple[str, str], list[Attachment]] = defaultdict(list)
    for attachment in attachments:
        if attachment.pod is not None:
            by_pod[attachment.pod.namespace, attachment.pod.name].append(attachment)
    holders: defaultdict[IPAddress, list[str]] = defaultdict(list)
    for pod in sorted(pods, key=lambda pod: (pod.namespace, pod.name)):
        name = f"{pod.namespace}/{pod.name}"
        for addr in pod.ips:
            holders[addr].append(name)
        if not pod.ips:
            continue
        own = [entry for entry in by_pod[pod.namespace, pod.name] if _is_pod_of(entry, pod)]
        allocated = {addr for attachment in own for addr in attachment.ips}
        if not own:
            yield Violation(
                "pod-without-allocation", name, f"is the address of the running pod {name}, and not allocated",
                pod.ips[0],
            )  # fmt: skip
        elif not set(pod.ips) <= allocated:
            shown = ", ".join(sorted(map(str, allocated)))
            wrong = next(addr for addr in pod.ips if addr not in allocated)
            yield Violation(
                "pod-address-differs", name, f"is the address of pod {name} by its status, and {shown} is allocated",
                wrong, own[0].key,
            )  # fmt: skip
    for addr, names in holders.items():
        if len(names) > 1:
            yield Violation(
                "duplicate-pod-address", names[0], f"is the address of more than one pod: {' and '.join(names)}", addr
            )


def _strays(attachments: Iterable[Attachment], world: World) -> Iterator[Violation]:
    """Kernel objects of ours without an allocation. Never safe to free by themselves: a pod may live behind them."""
    known_names: set[str] = set()
    known_addresses: set[IPAddress] = set()
    for attachment in attachments:
        known_names.add(attachment.key.host_ifname)
        known_addresses.update(attachment.ips)
    for route in sorted(world.routes or (), key=lambda route: (route.dst.version, int(route.dst.network_address))):
        if not is_pod_route(route) or route.dst.network_address in known_addresses:
            continue
        yield Violation(
            "route-without-allocation", str(route.dst), f"has a route to {route.dev}, and is not allocated",
            route.dst.network_address,
        )  # fmt: skip
    for link in sorted(set(world.links or ()) - known_names):
        yield Violation("link-without-allocation", link, "is a pod's host end without an allocation")


def is_pod_route(route: Route) -> bool:
    """Whether *route* leads to one pod: a host route without a gateway to one of our links."""
    return (
        route.type == "unicast"
        and route.via is None
        and route.dst.prefixlen == route.dst.max_prefixlen
        and (route.dev or "").startswith(LINK_PREFIX)
    )


def _is_pod_of(attachment: Attachment, pod: Pod) -> bool:
    """Same name, and same uid where both know it."""
    ref = attachment.pod
    return (
        ref is not None
        and (ref.namespace, ref.name) == (pod.namespace, pod.name)
        and (not ref.uid or not pod.uid or ref.uid == pod.uid)
    )
