"""Attachments and their routed wirings, by number, for tests that need some and care little which."""

from __future__ import annotations

from ipaddress import ip_interface

from podwire.model.addresses import stable_mac
from podwire.model.attachment import Attachment, AttachmentKey, PodRef
from podwire.model.wiring import PodWiring
from podwire.plan.wiring import pod_wiring


def attachment(number: int, *, ipv6: bool = False, mtu: int = 1450, ifname: str = "eth0") -> Attachment:
    """Attachment *number* (1 to 65535): 10.244.x.y, and fd00:10:244::n with *ipv6*."""
    key = AttachmentKey("podwire", f"container-{number}", ifname)
    addresses = [ip_interface(f"10.244.{number >> 8}.{number & 255}/24")]
    if ipv6:
        addresses.append(ip_interface(f"fd00:10:244::{number:x}/64"))
    return Attachment(
        key=key,
        netns=f"/run/netns/{number}",
        netns_inode=number,
        addresses=tuple(addresses),
        mac=stable_mac("pod", str(key)),
        host_mac=stable_mac("host", str(key)),
        mtu=mtu,
        created_at=0.0,
        pod=PodRef("default", f"pod-{number}", f"uid-{number}"),
        state="ready",
    )


def routed(number: int, *, ipv6: bool = False, mtu: int = 1450, ifname: str = "eth0") -> PodWiring:
    """The wiring of :func:`attachment`."""
    return pod_wiring(attachment(number, ipv6=ipv6, mtu=mtu, ifname=ifname))
