"""What the witnesses of the invariant say about this node, gathered, and what of the address plan collides with it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping

from podwire.cni import sandbox
from podwire.drivers.netlink import route
from podwire.drivers.netlink.route import MAIN_TABLE
from podwire.drivers.netlink.socket import NetlinkSocket
from podwire.ipam.invariants import World
from podwire.ipam.preflight import Finding, HostRoute, Site, preflight
from podwire.model.attachment import Attachment, AttachmentKey
from podwire.model.cluster import Pod, Underlay
from podwire.model.config import Config
from podwire.model.kernel import Route
from podwire.reconcile.driver import KernelDriver, PodWirer


def gather(
    kernel: KernelDriver, wirer: PodWirer, attachments: Mapping[AttachmentKey, Attachment], pods: Iterable[Pod] | None
) -> World:
    """Ask the kernel now; *pods* are this node's as the cluster has them, None when it cannot be asked. Blocks."""
    return World(
        now=time.time(),
        pods=None if pods is None else list(pods),
        routes=[value for value in kernel.observe({"route"}).values() if isinstance(value, Route)],
        links=[link.name for link in wirer.host_links() if not link.reaping],
        namespaces={key: sandbox.stands(found) for key, found in attachments.items()},
    )


def collisions(config: Config, underlays: tuple[Underlay, ...]) -> list[Finding]:
    """What of the configured address plan this node's network already uses. Blocks."""
    routes = []
    with NetlinkSocket() as sock:
        for version in (4, 6):
            for info in map(route.decode, sock.dump(route.dump(version, table=MAIN_TABLE), "list routes")):
                if info.table == MAIN_TABLE and info.index:
                    try:
                        device = socket.if_indextoname(info.index)
                    except OSError:  # gone meanwhile
                        continue
                    routes.append(HostRoute(info.dst, device, info.protocol))
    return preflight(config.pod_networks, config.service_networks, Site(underlays, tuple(routes)))
