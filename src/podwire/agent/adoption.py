"""After a damaged journal: who do the host ends belong to that the kernel has and the journal does not?

The kernel knows the address (a host route of ours that leads to the link), the cluster knows the pod that has it. Neither
knows the container's id, so such a pod cannot be answered for in CHECK; but its address stays taken, its network stays up, and
its DEL, which names the link by the same hash, takes both away.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from podwire.cni.attachments import Attachments, Orphan
from podwire.cni.recovery import Recovery
from podwire.model.addresses import IPAddress
from podwire.model.cluster import Pod
from podwire.model.intent import NodeState
from podwire.model.kernel import Route

__all__ = ["Recovery", "describe", "settle"]

_LOG = logging.getLogger(__name__)


def describe(found: Recovery) -> Iterator[str]:
    """What was found at the start, one sentence each, of what people should know."""
    if found.damaged:
        yield f"the journal of allocations was damaged: {found.damaged}"
    for attachment in found.undone:
        yield f"undid the unfinished ADD of {attachment.owner}"
    for attachment in found.vanished:
        yield f"the host end of {attachment.owner} is gone; its address is kept until its DEL, or until both witnesses agree"
    for attachment in found.disputed:
        yield f"{attachment.owner} is left out: another pod has its address"
    for link in found.unknown:
        yield f"{link.name} belongs to no attachment in the journal; its address will be held"


async def settle(attachments: Attachments, found: Recovery, observed: NodeState, pods: Iterable[Pod]) -> None:
    """Hold the addresses of unknown host ends; those whose pod the cluster does not have become strays, and are swept."""
    owners = {
        addr: f"{pod.namespace}/{pod.name}" for pod in pods if pod.live and not pod.host_network for addr in pod.ips
    }
    unknown = {link.name for link in found.unknown}
    addresses: dict[str, list[IPAddress]] = {}
    for value in observed.values():
        if isinstance(value, Route) and value.dev in unknown and value.dst.prefixlen == value.dst.max_prefixlen:
            addresses.setdefault(value.dev, []).append(value.dst.network_address)
    orphans = [
        Orphan(name, tuple(addrs), next(owners[addr] for addr in addrs if addr in owners))
        for name, addrs in addresses.items()
        if any(addr in owners for addr in addrs)
    ]
    for orphan in orphans:
        _LOG.warning(
            "%s is %s of %s: its address stays taken",
            orphan.host_ifname,
            ", ".join(map(str, orphan.addresses)),
            orphan.owner,
        )
    await attachments.adopt(orphans=orphans)
