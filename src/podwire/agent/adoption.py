"""After a damaged journal: who do the host ends belong to that the kernel has and the journal does not?

The kernel knows the address (a host route of ours that leads to the link), the cluster knows the pod that has it. Neither
knows the container's id, so such a pod cannot be answered for in CHECK; but its address stays taken, its network stays up, and
its DEL, which names the link by the same hash, takes both away. The reasoning is :mod:`podwire.ipam.rebuild`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator

from podwire.cni.attachments import Attachments
from podwire.cni.recovery import Recovery
from podwire.ipam.rebuild import FoundLink, rebuild
from podwire.model.cluster import Pod
from podwire.model.intent import NodeState
from podwire.model.kernel import Neighbour, Route

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
    rebuilt = rebuild(
        attachments.snapshot(),
        links=[FoundLink(link.name, link.mac, 0) for link in found.unknown],
        routes=[value for value in observed.values() if isinstance(value, Route)],
        neighbours=[value for value in observed.values() if isinstance(value, Neighbour)],
        pods=list(pods),
        candidates=(),
        now=time.time(),
    )
    for note in rebuilt.notes:
        _LOG.warning("%s", note)
    await attachments.adopt(rebuilt.attachments, rebuilt.orphans)
