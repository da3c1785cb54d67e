"""A small cluster of network namespaces, wired by ``ip`` alone: no code of podwire's has a hand in it.

Three nodes on one segment (a switch namespace with a bridge), on each two pods behind veth pairs with routes; between
nodes plain routes or a vxlan overlay, as asked. The proof under test is thus tried on a network that it did not make.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from podwire.model.cluster import Node, Pod
from podwire.verify.transport_netns import Stage
from podwire.verify.values import NodeStatus, Topology
from tests.support.netns import namespace, run_in


@dataclass
class HandWired:
    """The namespaces' descriptors, and what an API would say."""

    switch: int
    nodes: dict[str, int] = field(default_factory=dict)
    pods: dict[str, tuple[str, int, tuple[str, ...]]] = field(default_factory=dict)
    ips: dict[str, str] = field(default_factory=dict)

    def on(self, node: str, *command: str) -> str:
        """Run a command in a node's namespace."""
        return run_in(self.nodes[node], *command).stdout

    def inside(self, pod: str, *command: str) -> str:
        """Run a command in a pod's namespace."""
        return run_in(self.pods[pod][1], *command).stdout

    def topology(self) -> Topology:
        nodes = {
            name: NodeStatus(Node(name, (ip_address(node_ip(number)),), (ip_network(cidr(number)),)))
            for number, name in enumerate(self.nodes, 1)
        }
        pods = tuple(
            Pod(pod.partition("/")[0], pod.partition("/")[2], node=node, ips=(ip_address(self.ips[pod]),))
            for pod, (node, _, _) in self.pods.items()
        )
        return Topology(nodes, pods)

    def stage(self) -> Stage:
        return Stage(self.topology(), self.nodes, self.pods)


def node_ip(number: int) -> str:
    return f"10.89.0.{10 + number}"


def cidr(number: int) -> str:
    return f"10.244.{number}.0/24"


def vtep_mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


@contextmanager
def hand_wired(nodes: int = 3, vxlan: bool = False) -> Iterator[HandWired]:
    """Up when entered; gone, with all its namespaces, when left."""
    with ExitStack() as stack:
        cluster = HandWired(stack.enter_context(namespace()))
        _batch(cluster.switch, "link add br0 type bridge", "link set br0 up")
        for number in range(1, nodes + 1):
            name = f"node{number}"
            cluster.nodes[name] = node = stack.enter_context(namespace())
            _uplink(cluster.switch, node, number)
            for last, containers in ((5, ("main", "side")), (6, ("main",))):
                pod = f"default/p{number}-{last}"
                cluster.pods[pod] = (name, stack.enter_context(namespace()), containers)
                cluster.ips[pod] = f"10.244.{number}.{last}"
                wire_pod(cluster, pod, f"pod{last}", 1450 if vxlan else 1500)
            if vxlan:
                _overlay(node, number)
            for peer in range(1, nodes + 1):
                if peer != number:
                    _peer(node, peer, vxlan)
        yield cluster


def wire_pod(cluster: HandWired, pod: str, host_end: str, mtu: int) -> None:
    """A veth pair between the pod and its node, with a host route, a link-local gateway and proxy ARP."""
    node, inside, _ = cluster.pods[pod]
    with _path(inside) as path:
        run_in(
            cluster.nodes[node], "ip", "link", "add", host_end, "mtu", str(mtu), "type", "veth",
            "peer", "name", "eth0", "mtu", str(mtu), "netns", path,
        )  # fmt: skip
    run_in(cluster.nodes[node], "sysctl", "-qw", f"net.ipv4.conf.{host_end}.proxy_arp=1")
    _batch(cluster.nodes[node], f"link set {host_end} up", f"route add {cluster.ips[pod]}/32 dev {host_end}")
    _batch(
        inside,
        f"addr add {cluster.ips[pod]}/32 dev eth0",
        "link set eth0 up",
        "route add 169.254.1.1 dev eth0 scope link",
        "route add default via 169.254.1.1 dev eth0",
    )


def _uplink(switch: int, node: int, number: int) -> None:
    with _path(node) as path:
        run_in(switch, "ip", "link", "add", f"n{number}", "type", "veth", "peer", "name", "uplink", "netns", path)
    _batch(switch, f"link set n{number} master br0 up")
    _batch(node, f"addr add {node_ip(number)}/24 dev uplink", "link set uplink up", "route add default via 10.89.0.1")
    run_in(node, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def _overlay(node: int, number: int) -> None:
    _batch(
        node,
        f"link add ov0 address {vtep_mac(number)} mtu 1450 type vxlan id 7 dstport 4789 "
        f"local {node_ip(number)} dev uplink nolearning df set",
        f"addr add 10.244.{number}.0/32 dev ov0",
        "link set ov0 up",
    )


def _peer(node: int, peer: int, vxlan: bool) -> None:
    if not vxlan:
        _batch(node, f"route add {cidr(peer)} via {node_ip(peer)}")
        return
    _batch(
        node,
        f"neigh add 10.244.{peer}.0 lladdr {vtep_mac(peer)} dev ov0 nud permanent",
        f"route add {cidr(peer)} via 10.244.{peer}.0 dev ov0 onlink",
    )
    run_in(node, "bridge", "fdb", "add", vtep_mac(peer), "dev", "ov0", "dst", node_ip(peer))


def _batch(namespace_fd: int, *commands: str) -> None:
    for command in commands:
        run_in(namespace_fd, "ip", *command.split())


@contextmanager
def _path(descriptor: int) -> Iterator[str]:
    """A path that ``ip`` in another process can open."""
    yield f"/proc/{os.getpid()}/fd/{descriptor}"
