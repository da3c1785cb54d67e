"""An attachment: one network interface of one container, as CNI counts them.

The CNI specification 1.1.0 (section 2, "Deleting and garbage collection") identifies an attachment by network name,
container id and interface name; so do we, everywhere.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from podwire.model.addresses import IPAddress, IPInterface
from podwire.model.kernel import LINK_PREFIX


class AttachmentKey(msgspec.Struct, frozen=True, order=True):
    """What makes an attachment unique."""

    network: str
    container_id: str
    ifname: str

    def __str__(self) -> str:
        return f"{self.network}/{self.container_id}/{self.ifname}"

    @property
    def host_ifname(self) -> str:
        """Name of the host end: stable, 13 characters, so that a log line of last week still finds its pod."""
        digest = hashlib.sha256("\0".join((self.network, self.container_id, self.ifname)).encode()).hexdigest()
        return LINK_PREFIX + digest[:11]


class PodRef(msgspec.Struct, frozen=True):
    """The pod that an attachment belongs to (from CNI_ARGS K8S_POD_*); the uid tells a pod from its namesake."""

    namespace: str
    name: str
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Attachment(msgspec.Struct, frozen=True):
    """Everything that is kept of an attachment, enough to answer CHECK and to rebuild it after a crash.

    ``state`` is ``allocated`` from the moment that the addresses are taken and ``ready`` once the wiring stands; an
    agent that dies in between finds ``allocated`` at its start, undoes it, and the runtime's retry succeeds.
    *netns* is the path that the runtime gave; *netns_inode* identifies the namespace where the path means nothing.
    *created_at* is seconds since the epoch.
    """

    key: AttachmentKey
    netns: str
    netns_inode: int
    addresses: tuple[IPInterface, ...]
    mac: str
    host_mac: str
    mtu: int
    created_at: float
    pod: PodRef | None = None
    wiring: Literal["routed"] = "routed"
    state: Literal["allocated", "ready"] = "allocated"

    @property
    def ips(self) -> tuple[IPAddress, ...]:
        return tuple(iface.ip for iface in self.addresses)

    @property
    def owner(self) -> str:
        """The pod's name where there is one, else the key: what a message should call it."""
        return str(self.pod) if self.pod else str(self.key)
