"""Attachments for tests, each field plausible and each different."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import Literal

from podwire.model.addresses import stable_mac
from podwire.model.attachment import Attachment, AttachmentKey, PodRef


def attachment(
    number: int,
    *addresses: str,
    network: str = "podwire",
    pod: bool = True,
    state: Literal["allocated", "ready"] = "ready",
    created_at: float = 1000.0,
) -> Attachment:
    """The attachment of pod ``default/pod-<number>``; its address is ``10.244.1.<number>`` unless *addresses* say."""
    key = AttachmentKey(network, f"container-{number}", "eth0")
    return Attachment(
        key=key,
        netns=f"/run/netns/cni-{number}",
        netns_inode=4026530000 + number,
        addresses=tuple(map(ip_interface, addresses or (f"10.244.1.{number}/32",))),
        mac=stable_mac("pod", str(key)),
        host_mac=stable_mac("host", str(key)),
        mtu=1450,
        created_at=created_at,
        pod=PodRef("default", f"pod-{number}", f"uid-{number}") if pod else None,
        state=state,
    )
