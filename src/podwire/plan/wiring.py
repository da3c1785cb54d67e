"""A pod's wiring: both ends of its veth pair, with the addresses, routes and neighbours that hang on them.

**Routed** wiring has no bridge. The pod's address stands alone (a /32 or /128), its default route goes to a link-local
gateway that is the same in every pod (169.254.1.1, fe80::1), and a permanent neighbour says that the gateway is the
host end; so nothing is ever resolved, no packet is flooded, and two pods of a node meet in the node's routing table
like two pods of two nodes. The node has one route and one permanent neighbour for each address of the pod.

Does not choose addresses (``ipam``) and does not touch the kernel (``drivers.wirer``).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator

from podwire.model.addresses import V4_GATEWAY, V6_GATEWAY, IPAddress, IPNetwork, host_network
from podwire.model.attachment import Attachment
from podwire.model.intent import Cause, Wanted
from podwire.model.kernel import Neighbour, Route, Value
from podwire.model.wiring import PodWiring

ADDR_GEN_MODE_NONE = 1
"""IN6_ADDR_GEN_MODE_NONE: the interface gets no fe80 address of its own, hence no duplicate address detection."""

RP_FILTER_STRICT = 1

_HOST_CONF_ALWAYS = ((6, "addr_gen_mode", ADDR_GEN_MODE_NONE), (6, "accept_ra", 0))
"""accept_ra: a pod must not be able to give its node a default route by a forged router advertisement
(CVE-2020-10749), whether the cluster uses IPv6 or not."""

_HOST_CONF = {
    # Strict reverse path filtering on a host end admits only the pod's own addresses: it stops spoofing.
    4: ((4, "forwarding", 1), (4, "proxy_arp", 1), (4, "rp_filter", RP_FILTER_STRICT)),
    6: ((6, "forwarding", 1), (6, "accept_dad", 0)),
}
_POD_CONF_ALWAYS = ((6, "addr_gen_mode", ADDR_GEN_MODE_NONE),)
_POD_CONF: dict[int, tuple[tuple[int, str, int], ...]] = {4: (), 6: ((6, "accept_dad", 0), (6, "accept_ra", 0))}
_DEFAULT: dict[int, IPNetwork] = {4: ipaddress.ip_network("0.0.0.0/0"), 6: ipaddress.ip_network("::/0")}
_GATEWAY: dict[int, IPAddress] = {4: V4_GATEWAY, 6: V6_GATEWAY}


def pod_wiring(attachment: Attachment) -> PodWiring:
    """The wiring of *attachment*, a function of the attachment alone: ADD makes it, CHECK compares it, DEL undoes it.

    The pod's addresses get full-length prefixes whatever prefix the attachment carries: on-link neighbours would be
    resolved by ARP, and there is nobody on the link to answer but the gateway.
    """
    key = attachment.key
    versions = sorted({addr.version for addr in attachment.ips})
    pod_routes: list[Route] = []
    pod_neighbours: list[Neighbour] = []
    for version in versions:
        gateway = _GATEWAY[version]
        pod_routes.append(Route(dst=host_network(gateway), dev=key.ifname))
        pod_routes.append(Route(dst=_DEFAULT[version], dev=key.ifname, via=gateway, onlink=True))
        pod_neighbours.append(Neighbour(dev=key.ifname, address=gateway, mac=attachment.host_mac))
    return PodWiring(
        host_ifname=key.host_ifname,
        host_mac=attachment.host_mac,
        ifname=key.ifname,
        mac=attachment.mac,
        mtu=attachment.mtu,
        addresses=tuple(ipaddress.ip_interface((addr, addr.max_prefixlen)) for addr in attachment.ips),
        pod_routes=tuple(pod_routes),
        pod_neighbours=tuple(pod_neighbours),
        host_routes=tuple(Route(dst=host_network(addr), dev=key.host_ifname) for addr in attachment.ips),
        host_neighbours=tuple(
            Neighbour(dev=key.host_ifname, address=addr, mac=attachment.mac) for addr in attachment.ips
        ),
        host_conf=_HOST_CONF_ALWAYS + tuple(conf for version in versions for conf in _HOST_CONF[version]),
        pod_conf=_POD_CONF_ALWAYS + tuple(conf for version in versions for conf in _POD_CONF[version]),
    )


def wanted(attachment: Attachment) -> Iterator[Wanted]:
    """What a plan wants on the node for *attachment*: the host end's neighbours and routes, so that they heal.

    The veth pair itself is no part of a plan: only ADD can make it, since only ADD holds the pod's namespace.
    """
    wiring = pod_wiring(attachment)
    cause = cause_of(attachment)
    for neighbour in wiring.host_neighbours:
        yield Wanted(neighbour, cause)
    for route in wiring.host_routes:
        yield Wanted(route, cause)


def cause_of(attachment: Attachment) -> Cause:
    """The pod that *attachment* belongs to, or the attachment itself where the runtime named no pod."""
    if attachment.pod is None:
        return Cause("Attachment", str(attachment.key))
    return Cause("Pod", attachment.pod.name, attachment.pod.namespace, detail=attachment.key.ifname)


def unfinished(attachments: Iterable[Attachment]) -> Callable[[Value], bool]:
    """A ``keep`` predicate for ``reconcile.diff``: what belongs to attachments that an ADD is still making.

    A plan leaves them out (their host end may not exist yet), and a resync must not take away what ADD just put there.
    """
    devices = frozenset(a.key.host_ifname for a in attachments if a.state != "ready")
    return lambda value: isinstance(value, Neighbour | Route) and value.dev in devices
