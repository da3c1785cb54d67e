"""Observing a node: what the kernel has, from both sides of a pod, and the tree that is drawn of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest

from podwire.drivers import netns
from podwire.drivers.wirer import VethWirer
from podwire.model.addresses import interface, stable_mac
from podwire.model.attachment import Attachment, AttachmentKey, PodRef
from podwire.plan.wiring import pod_wiring
from podwire.verify import observe, wiring_tree
from podwire.verify.observation import SeenNode
from podwire.verify.wiring_tree import Branch
from tests.support.netns import namespace, needs_root, run_in

pytestmark = [needs_root, pytest.mark.root]

RULES = """
table inet podwire {
  set pod_cidrs4 { type ipv4_addr; flags interval; elements = { 10.244.0.0/16 } }
  set others { type ipv4_addr; elements = { 192.0.2.7 } }
  chain post {
    type nat hook postrouting priority 100;
    ip saddr @pod_cidrs4 ip daddr != @pod_cidrs4 counter masquerade
    ip saddr @others accept
  }
}
table ip strangers {
  chain c {
    ip daddr 10.244.1.0/28 counter drop
    ip daddr 10.9.9.9 accept
  }
}
"""


@dataclass
class Site:
    """A node with one pod that podwire's own wirer made, an uplink and an overlay."""

    node: int
    pod: int
    attachment: Attachment

    def observed(self) -> SeenNode:
        with netns.entered(self.node):
            return wiring_tree.read(observe.observe_node([self.attachment], "node1"))

    def tree(self, pod: str = "", verbose: bool = False) -> Branch:
        seen = self.observed()
        return wiring_tree.pod_tree(seen, pod, verbose) if pod else wiring_tree.node_tree(seen, verbose)

    def wrongs(self, pod: str = "") -> list[str]:
        """Everything that the tree marks as wrong."""

        def walk(branch: Branch) -> Iterator[str]:
            if branch.wrong:
                yield f"{branch.label}: {branch.wrong}"
            for child in branch.children:
                yield from walk(child)

        return list(walk(self.tree(pod)))


@pytest.fixture
def site() -> Iterator[Site]:
    with namespace() as node, namespace() as pod, namespace() as beyond:
        key = AttachmentKey("podwire", "c0ffee", "eth0")
        attachment = Attachment(
            key, f"/proc/{os.getpid()}/fd/{pod}", netns.inode(pod), (interface("10.244.1.5/32", "address"),),
            stable_mac("pod", str(key)), stable_mac("host", str(key)), 1450, 0.0, PodRef("default", "web"),
        )  # fmt: skip
        for command in (
            f"link add uplink type veth peer name x netns /proc/{os.getpid()}/fd/{beyond}",
            "addr add 10.89.0.11/24 dev uplink", "link set uplink up", "route add default via 10.89.0.1",
            "link add pwvxlan mtu 1450 type vxlan id 4096 dstport 4789 local 10.89.0.11 dev uplink nolearning",
            "link set pwvxlan up", "neigh add 10.244.2.0 lladdr 02:00:00:00:00:02 dev pwvxlan nud permanent",
            "route add 10.244.2.0/24 via 10.244.2.0 dev pwvxlan onlink proto 112",
        ):  # fmt: skip
            run_in(node, "ip", *command.split())
        run_in(beyond, "ip", "link", "set", "x", "up")
        run_in(node, "bridge", "fdb", "add", "02:00:00:00:00:02", "dev", "pwvxlan", "dst", "10.89.0.12")
        run_in(node, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run_in(node, "nft", RULES)
        with netns.entered(node):
            wirer = VethWirer()
            wirer.attach(pod_wiring(attachment), pod)
        try:
            yield Site(node, pod, attachment)
        finally:
            wirer.close()


def test_a_node_and_its_pod_are_seen_from_both_sides(site: Site) -> None:
    seen = site.observed()
    host = seen.network.link(site.attachment.key.host_ifname)
    inside = seen.attachments[0].inside
    assert host is not None and inside is not None
    eth0 = inside.link("eth0")
    assert eth0 is not None and (eth0.peer, host.peer) == (host.index, eth0.index)
    assert (eth0.mac, host.mac) == (site.attachment.mac, site.attachment.host_mac)
    overlay = seen.network.link("pwvxlan")
    assert overlay is not None and overlay.vxlan is not None
    assert msgspec.structs.astuple(overlay.vxlan) == (4096, 4789, "10.89.0.11", "uplink", False)
    assert [(entry.mac, entry.dst) for entry in seen.network.fdb] == [("02:00:00:00:00:02", "10.89.0.12")]
    assert {
        (route.dst, route.protocol) for route in seen.network.routes if route.dev == host.name and route.table == 254
    } == {("10.244.1.5/32", 112)}


def test_the_kernels_own_lookup_is_asked(site: Site) -> None:
    with netns.entered(site.node):
        assert observe.lookup("10.244.1.5").dev == site.attachment.key.host_ifname
        there = observe.lookup("10.244.2.9")
        assert (there.matched, there.dev, there.via) == ("10.244.2.0/24", "pwvxlan", "10.244.2.0")
        assert observe.lookup("198.51.100.1").default
        run_in(site.node, "ip", "route", "add", "unreachable", "10.244.0.0/16")
        refused = observe.lookup("10.244.9.9")
        assert (refused.error, refused.type, refused.matched) == ("EHOSTUNREACH", "unreachable", "10.244.0.0/16")
        run_in(site.node, "ip", "route", "del", "default")
        assert observe.lookup("198.51.100.1").error == "ENETUNREACH"
        run_in(site.node, "ip", "rule", "add", "to", "198.51.100.0/24", "lookup", "100")
        run_in(site.node, "ip", "route", "add", "default", "via", "10.89.0.99", "table", "100")
        assert observe.lookup("198.51.100.1").via == "10.89.0.99", "policy routing counts"


def test_the_pods_tree_tells_the_whole_way(site: Site) -> None:
    text = wiring_tree.render(site.tree("default/web"))
    host_end = site.attachment.key.host_ifname
    for expected in (
        "default/web  10.244.1.5/32 on node1", "gateway  default via 169.254.1.1 dev eth0",
        f"neighbour  169.254.1.1 → {site.attachment.host_mac}, permanent, the host end",
        f"route  10.244.1.5/32 dev {host_end}, by podwire", f"neighbour  10.244.1.5 → {site.attachment.mac}, permanent",
        "ip saddr @pod_cidrs4 ip daddr != @pod_cidrs4 masquerade  [0 packets, 0 B]", "ip daddr 10.244.1.0/28 drop",
    ):  # fmt: skip
        assert expected in text, text
    assert "@others" not in text and "10.9.9.9" not in text, "rules that do not touch the pod"
    assert site.wrongs("default/web") == []


def test_the_nodes_tree_shows_peers_owners_and_pods(site: Site) -> None:
    text = wiring_tree.render(site.tree())
    for expected in (
        "pwvxlan  VXLAN, VNI 4096, UDP port 4789, over uplink, MTU 1450",
        "10.244.2.0/24  via 10.244.2.0 → 02:00:00:00:00:02 → node 10.89.0.12",
        "podwire  2", "default/web  10.244.1.5, eth0 ⇄", "default via 10.89.0.1 dev uplink", "ip_forward  1",
    ):  # fmt: skip
        assert expected in text, text
    assert "strangers" not in text and "strangers" in wiring_tree.render(site.tree(verbose=True))
    assert site.wrongs() == []


@pytest.mark.parametrize(
    ("inside", "command", "expected"),
    [
        (False, "route del 10.244.1.5/32", "no host route: packets for 10.244.1.5 go to default via 10.89.0.1"),
        (False, "link set {host} mtu 1400", "the host end's MTU is 1400, the pod's 1450"),
        (False, "link set {host} down", "the host end is down"),
        (True, "link set eth0 mtu 1400", "eth0: MTU 1400, handed out was 1450"),
        (True, "addr flush dev eth0", "address: not on the interface"),
        (True, "addr add 10.244.1.77/32 dev eth0", "address: nobody handed it out"),
        (True, "route flush default", "gateway: no default route"),
        (True, "neigh replace 169.254.1.1 lladdr 02:00:00:00:00:99 dev eth0", "not the host end's MAC"),
        (True, "link del eth0", "eth0: the interface is gone from the pod"),
    ],
)
def test_what_is_wrong_with_a_pod_is_marked(site: Site, inside: bool, command: str, expected: str) -> None:
    words = command.format(host=site.attachment.key.host_ifname).split()
    run_in(site.pod if inside else site.node, "ip", *words)
    assert any(expected in wrong for wrong in site.wrongs("default/web")), site.wrongs("default/web")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            ("bridge", "fdb", "del", "02:00:00:00:00:02", "dev", "pwvxlan", "dst", "10.89.0.12"),
            "no FDB entry for its VTEP",
        ),
        (("ip", "neigh", "del", "10.244.2.0", "dev", "pwvxlan"), "no neighbour entry for its VTEP"),
        (("ip", "link", "set", "uplink", "mtu", "1450"), "MTU 1450 and 50 bytes of VXLAN do not fit uplink's 1450"),
        (("sysctl", "-qw", "net.ipv4.ip_forward=0"), "the node forwards nothing"),
    ],
)
def test_what_is_wrong_with_a_node_is_marked(site: Site, command: tuple[str, ...], expected: str) -> None:
    run_in(site.node, *command)
    assert any(expected in wrong for wrong in site.wrongs()), site.wrongs()


def test_a_namespace_that_is_gone_or_another_by_now_is_told_not_raised(site: Site) -> None:
    for changed, expected in (
        (msgspec.structs.replace(site.attachment, netns="/nowhere"), "ENOENT"),
        (msgspec.structs.replace(site.attachment, netns_inode=1), "is another namespace by now"),
    ):
        site.attachment = changed
        assert any(expected in wrong for wrong in site.wrongs("default/web"))


def test_tracked_connections_are_found_by_any_address(site: Site) -> None:
    run_in(site.pod, "ping", "-c1", "-W2", "10.89.0.11", check=False)
    with netns.entered(site.node):
        (entry,) = observe.connections(frozenset({"10.244.1.5"}))
        assert entry.original[:2] == ("icmp", "10.244.1.5") and not entry.translated
        assert observe.connections(frozenset({"192.0.2.99"})) == []


def test_observing_leaves_the_thread_where_it_was(site: Site) -> None:
    home = netns.current()
    try:
        site.observed()
        here = netns.current()
        assert netns.inode(here) == netns.inode(home)
        os.close(here)
    finally:
        os.close(home)
