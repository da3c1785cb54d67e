"""The kernel driver among other programs: what is not ours stays, what was broken is seen, a restart knows its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_interface, ip_network

import msgspec
import pytest

from podwire.drivers import netns, offload
from podwire.drivers.kernel import Kernel
from podwire.drivers.nftables import CHANGED
from podwire.model.addresses import stable_mac
from podwire.model.errors import InputError
from podwire.model.kernel import Address, Fdb, Link, Neighbour, NftElement, NftTable, Route, Sysctl, Value, Vxlan
from tests.drivers.test_contract_kernel import DEVICE, ELEMENT, EVERYTHING, MAC, PEER, TABLE, VXLAN, drop, put
from tests.support.netns import namespace, needs_root, run_in

pytestmark = needs_root


@pytest.fixture
def node() -> Iterator[int]:
    with namespace() as fd:
        run_in(fd, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
        run_in(fd, "ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        run_in(fd, "ip", "link", "set", "eth0", "up")
        run_in(fd, "ip", "link", "set", "wire", "up")
        yield fd


@pytest.fixture
def kernel(node: int) -> Iterator[Kernel]:
    with netns.entered(node):
        driver = Kernel()
    yield driver
    driver.close()


def state(kernel: Kernel) -> set[Value]:
    return set(kernel.observe().values())


STRANGERS = (
    ("ip", "route", "add", "10.244.2.0/24", "dev", "eth0", "proto", "static"),
    ("ip", "neigh", "add", "192.0.2.99", "lladdr", "02:00:00:00:00:99", "dev", "eth0"),
    ("ip", "link", "add", "br-docker", "type", "bridge"),
    ("nft", "add table inet other { chain forward { type filter hook forward priority 0; } ; }"),
)


def test_what_is_not_ours_is_neither_observed_nor_touched(node: int, kernel: Kernel) -> None:
    for command in STRANGERS:
        run_in(node, *command)
    assert kernel.observe() == {}
    failures = kernel.apply(put(*EVERYTHING))
    assert [(failed.value, failed.errno) for failed in failures] == [(PEER[2], errno.EEXIST)]
    assert "another program has a route" in failures[0].message
    assert kernel.apply(drop(*EVERYTHING)) == []
    assert "proto static" in run_in(node, "ip", "route", "show", "10.244.2.0/24").stdout
    assert "02:00:00:00:00:99" in run_in(node, "ip", "neigh").stdout
    assert "br-docker" in run_in(node, "ip", "link").stdout
    assert run_in(node, "nft", "list", "tables").stdout == "table inet other\n"


def test_a_restarted_driver_recognises_everything(node: int, kernel: Kernel) -> None:
    kernel.apply(put(*EVERYTHING))
    before = run_in(node, "nft", "-a", "list", "table", "inet", "podwire").stdout
    with netns.entered(node):
        again = Kernel()
    recognised = state(again)
    assert {value for value in EVERYTHING if not isinstance(value, NftTable)} - recognised == {EVERYTHING[0]}
    assert again.apply(put(*EVERYTHING)) == []
    assert state(again) == set(EVERYTHING)
    assert run_in(node, "nft", "-a", "list", "table", "inet", "podwire").stdout == before, "it was loaded again"
    again.close()


@pytest.mark.parametrize(
    "command",
    [
        "flush chain inet podwire postrouting",
        "add rule inet podwire postrouting accept",
        "delete set inet podwire podwire_loaded",
        "add chain inet podwire extra",
    ],
)
def test_a_skeleton_that_was_tampered_with_is_seen_and_loaded_again(node: int, kernel: Kernel, command: str) -> None:
    kernel.apply(put(TABLE, ELEMENT))
    assert state(kernel) == {TABLE, ELEMENT}
    run_in(node, "nft", command)
    assert state(kernel) == {NftTable("inet", "podwire", CHANGED), ELEMENT}
    assert kernel.apply(put(TABLE)) == []
    assert state(kernel) == {TABLE, ELEMENT}


def test_a_flushed_ruleset_is_seen(node: int, kernel: Kernel) -> None:
    kernel.apply(put(TABLE, ELEMENT))
    run_in(node, "nft", "flush", "ruleset")
    assert kernel.observe() == {}
    assert kernel.apply(put(TABLE, ELEMENT)) == []
    assert state(kernel) == {TABLE, ELEMENT}


def test_a_skeleton_with_an_error_is_refused_and_the_old_one_stands(kernel: Kernel) -> None:
    kernel.apply(put(TABLE, ELEMENT))
    other = NftElement("inet", "podwire", "pod_cidrs4", "172.16.0.0/12")
    bad = NftTable("inet", "podwire", "  chain x {\n    type nonsense hook nowhere priority 0;\n  }\n")
    failures = kernel.apply(put(bad, other))
    assert [failed.value for failed in failures] == [bad]
    assert state(kernel) == {TABLE, ELEMENT, other}


def test_an_element_cannot_smuggle_in_commands(node: int, kernel: Kernel) -> None:
    kernel.apply(put(TABLE))
    evil = NftElement("inet", "podwire", "pod_cidrs4", "10.0.0.0/8 }; add table inet evil; #")
    foreign = NftElement("inet", "other", "pod_cidrs4", "10.0.0.0/8")
    table = NftTable("inet", "other", "")
    assert {failed.value for failed in kernel.apply(put(evil, foreign, table))} == {evil, foreign, table}
    assert run_in(node, "nft", "list", "tables").stdout == "table inet podwire\n"


@pytest.mark.parametrize(
    "commands",
    [
        ["ip link set pwvxlan down"],
        ["ip link del pwvxlan", "ip link add pwvxlan type bridge"],
        ["ip link set pwvxlan type vxlan id 4096 learning"],
        ["ip link set pwvxlan mtu 1300", "ip link set pwvxlan address 02:00:00:00:00:07"],
        ["ip link del pwvxlan"],
    ],
    ids=lambda commands: commands[0],
)
def test_a_link_that_was_broken_heals(node: int, kernel: Kernel, commands: list[str]) -> None:
    wanted = (*DEVICE, *PEER)
    kernel.apply(put(*wanted))
    for command in commands:
        run_in(node, *command.split())
    assert VXLAN not in state(kernel)
    assert kernel.apply(put(*wanted)) == []
    assert state(kernel) == set(wanted)


def test_what_a_stranger_changes_is_observed_as_it_is(node: int, kernel: Kernel) -> None:
    kernel.apply(put(*DEVICE, *PEER))
    run_in(node, "ip", "neigh", "replace", "10.244.2.0", "lladdr", "02:00:00:00:00:09", "dev", "pwvxlan")
    run_in(node, "bridge", "fdb", "replace", MAC, "dev", "pwvxlan", "dst", "192.0.2.66")
    seen = state(kernel)
    assert PEER[0] not in seen
    assert PEER[1] not in seen
    assert kernel.apply(put(*PEER)) == []
    assert state(kernel) == {*DEVICE, *PEER}
    run_in(node, "ip", "neigh", "replace", "10.244.2.0", "lladdr", MAC, "dev", "pwvxlan", "nud", "stale")
    assert Neighbour("pwvxlan", ip_address("10.244.2.0"), MAC) not in state(kernel)


def test_a_route_of_ours_left_by_a_dead_agent_is_replaced(node: int, kernel: Kernel) -> None:
    run_in(node, "ip", "route", "add", "10.244.2.0/24", "dev", "eth0", "proto", "112")
    run_in(node, "ip", "route", "add", "10.244.0.0/16", "dev", "eth0", "proto", "112", "metric", "9999")
    assert kernel.apply(put(*EVERYTHING)) == []
    assert state(kernel) == set(EVERYTHING)


def test_the_vxlan_device_is_set_up_as_it_must_be(node: int, kernel: Kernel) -> None:
    kernel.apply(put(*DEVICE))
    shown = run_in(node, "ip", "-d", "link", "show", "pwvxlan").stdout
    for part in ("nolearning", "noudpcsum", "id 4096", "dstport 4789", "local 192.0.2.1", "dev eth0", "mtu 1450"):
        assert part in shown
    assert "fe80" not in run_in(node, "ip", "addr", "show", "pwvxlan").stdout


def test_an_mtu_that_does_not_fit_the_underlay_is_refused_by_name(kernel: Kernel) -> None:
    (failed,) = kernel.apply(put(msgspec.structs.replace(VXLAN, mtu=1480)))
    assert failed.errno == errno.EINVAL
    assert "put link pwvxlan for Node node-2: EINVAL: set its MTU to 1480 (a vxlan" in failed.message


def test_the_checksum_offload_is_off_on_kernels_with_the_bug_alone(node: int, kernel: Kernel) -> None:
    kernel.apply(put(*DEVICE))
    with netns.entered(node):
        for release, offloaded in (("5.7.0-1-amd64", True), ("6.18.44", True), ("5.4.0-150-generic", False)):
            offload.avoid_checksum_bug(node, "pwvxlan", release)
            assert offload.tx_checksum("pwvxlan") is offloaded
        offload.set_tx_checksum("pwvxlan", True)
        assert offload.tx_checksum("pwvxlan")


def test_an_unknown_kind_is_refused_by_name(kernel: Kernel) -> None:
    with pytest.raises(InputError, match=r"kinds: 'routes' is no kind.*route"):
        kernel.observe(["routes"])


def test_a_sysctl_that_does_not_exist_is_a_failure(kernel: Kernel) -> None:
    value = Sysctl("net/ipv4/conf/nosuch/rp_filter", "2")
    (failed,) = kernel.apply(put(value))
    assert (failed.value, failed.errno) == (value, errno.ENOENT)
    (failed,) = kernel.apply(put(Sysctl("../etc/passwd", "x")))
    assert "not a path below /proc/sys" in failed.message


def vtep(mine: int, theirs: int, outer: str) -> tuple[Value, ...]:
    """What node *mine* of two needs to reach node *theirs*; *outer* is the nodes' network, of either family."""
    link = Link(
        "pwvxlan",
        "vxlan",
        1500 - (50 if ":" not in outer else 70),
        stable_mac("vtep", str(mine)),
        Vxlan(4096, 4789, ip_address(f"{outer}{mine}"), "eth0"),
    )
    mac, inner = stable_mac("vtep", str(theirs)), ip_address(f"10.244.{theirs}.0")
    return (
        link,
        Address("pwvxlan", ip_interface(f"10.244.{mine}.0/32")),
        Fdb("pwvxlan", mac, ip_address(f"{outer}{theirs}")),
        Neighbour("pwvxlan", inner, mac),
        Route(ip_network(f"10.244.{theirs}.0/24"), dev="pwvxlan", via=inner, onlink=True),
    )


@pytest.mark.parametrize("outer", ["192.0.2.", "fd00:192:0:2::"])
def test_a_packet_crosses_two_nodes_in_vxlan(outer: str) -> None:
    with namespace() as one, namespace() as two, ExitStack() as drivers:
        with netns.entered(one):
            path = f"/proc/{os.getpid()}/fd/{two}"
            run_in(one, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", path)
        for number, node in ((1, one), (2, two)):
            length, flags = ("24", []) if ":" not in outer else ("64", ["nodad"])
            run_in(node, "ip", "addr", "add", f"{outer}{number}/{length}", "dev", "eth0", *flags)
            run_in(node, "ip", "link", "set", "eth0", "up")
            with netns.entered(node):
                driver = Kernel()
            drivers.callback(driver.close)
            assert driver.apply(put(*vtep(number, 3 - number, outer))) == []
        largest = 1500 - (50 if ":" not in outer else 70) - 28
        run_in(one, "ping", "-c1", "-W2", "-M", "do", "-s", str(largest), "10.244.2.0")
        refused = run_in(one, "ping", "-c1", "-W2", "-M", "do", "-s", str(largest + 1), "10.244.2.0", check=False)
        assert "message too long" in refused.stdout + refused.stderr
