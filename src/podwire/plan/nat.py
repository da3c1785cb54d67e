"""Masquerade: what local pods send out of the cluster leaves under the node's address; between pods nothing is changed.

One table, ``inet podwire``. The chain is entered once per connection (NAT is decided by its first packet), and asks in this
order: is the source one of our pods, and is the destination outside the cluster? Outside means: in no pod CIDR, in none of
``masquerade.nonMasqueradeCidrs``, not multicast, and no address of a node on our own segment if the underlay carries pods'
addresses anyway (host-gw). With vxlan a pod's packet to another node's own address *is* masqueraded, since an underlay may
drop a source that it does not know. Link-local destinations are masqueraded too: a cloud's metadata service answers nodes only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import lru_cache

from podwire.model.addresses import IPAddress, IPNetwork, overlapping
from podwire.model.cluster import Node
from podwire.model.config import Config
from podwire.model.intent import Cause, Wanted
from podwire.model.kernel import NFT_TABLE, NftElement, NftTable

_FAMILIES = {4: ("ip", "ipv4_addr", "224.0.0.0/4"), 6: ("ip6", "ipv6_addr", "ff00::/8")}
_SET = """\
    set {name} {{
        type {type}
        flags interval
    }}
"""
_NODES = """\
    set nodes{version} {{
        type {type}
    }}
"""
_RULE = (
    "        {ip} saddr @local_pods{version} {ip} daddr != @cluster{version} {ip} daddr != @nodes{version} "
    "counter masquerade fully-random\n"
)
_CHAIN = """\
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
{rules}    }}
"""


def table(config: Config, node: Node) -> Iterator[Wanted]:
    """The table, and the elements that follow from the configuration and the node's own pod CIDRs."""
    if not config.masquerade.enabled:
        return
    cause = Cause("Config", "masquerade")
    versions = _versions(config, node)
    yield Wanted(NftTable("inet", NFT_TABLE, _body(versions)), cause)
    for version in versions:
        yield from _elements(f"cluster{version}", cluster_networks(config, node), version, cause)
        yield from _elements(
            f"local_pods{version}", node.pod_cidrs, version, Cause("Node", node.name, detail="pod CIDR")
        )


def spared(config: Config, me: Node, peer: Node, addresses: Iterable[IPAddress]) -> Iterator[Wanted]:
    """The elements that spare a peer's pods, and its own *addresses*, from masquerade.

    A pod CIDR within the cluster's is spared already; one that reaches beyond (which :func:`engulfed` rules out) is not
    expected here, since nft takes no overlapping intervals.
    """
    if not config.masquerade.enabled:
        return
    cause = Cause("Node", peer.name)
    versions = _versions(config, me)
    known = cluster_networks(config, me)
    beyond = [cidr for cidr in peer.pod_cidrs if not within(cidr, known)]
    for version in versions:
        yield from _elements(f"cluster{version}", beyond, version, cause)
    for addr in addresses:
        if addr.version in versions:
            yield Wanted(NftElement("inet", NFT_TABLE, f"nodes{addr.version}", str(addr)), cause)


@lru_cache(maxsize=16)  # asked once for each peer, and parsing five CIDRs costs more than the rest of a peer's part
def cluster_networks(config: Config, me: Node) -> tuple[IPNetwork, ...]:
    """Destinations that are never masqueraded, whatever peers there are; not collapsed."""
    multicast = tuple(ipaddress.ip_network(multicast) for _, _, multicast in _FAMILIES.values())
    return (*pod_networks(config, me), *config.non_masquerade_networks, *multicast)


@lru_cache(maxsize=16)
def pod_networks(config: Config, me: Node) -> tuple[IPNetwork, ...]:
    """Where pods are known to live, whatever peers there are."""
    return (*config.pod_networks, *me.pod_cidrs)


def within(cidr: IPNetwork, networks: Iterable[IPNetwork]) -> bool:
    """Whether one of *networks* holds all of *cidr*."""
    return any(net.version == cidr.version and cidr.subnet_of(net) for net in networks)  # type: ignore[arg-type]


def engulfed(cidr: IPNetwork, networks: Iterable[IPNetwork]) -> IPNetwork | None:
    """The first of *networks* that is a proper part of *cidr*."""
    return next((net for net in networks if overlapping(net, cidr) and net.prefixlen > cidr.prefixlen), None)


def _versions(config: Config, me: Node) -> list[int]:
    return sorted({net.version for net in pod_networks(config, me)})


def _body(versions: Iterable[int]) -> str:
    known = list(versions)
    text = ""
    rules = ""
    for version in known:
        ip, type_, _ = _FAMILIES[version]
        for name in (f"cluster{version}", f"local_pods{version}"):
            text += _SET.format(name=name, type=type_)
        text += _NODES.format(version=version, type=type_)
        rules += _RULE.format(ip=ip, version=version)
    return text + _CHAIN.format(rules=rules)


def _elements(name: str, networks: Iterable[IPNetwork], version: int, cause: Cause) -> Iterator[Wanted]:
    """Elements of an interval set; nft refuses overlapping intervals, so they are collapsed first."""
    of_family = [net for net in networks if net.version == version]
    for net in ipaddress.collapse_addresses(of_family):  # type: ignore[type-var]
        yield Wanted(NftElement("inet", NFT_TABLE, name, _spelled(net)), cause)


def _spelled(net: IPNetwork) -> str:
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)
