"""Netlink sockets against the kernel: large batches, refusals in place, dumps under change, pools and their ends."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from podwire.drivers import netns
from podwire.drivers.kernel import Kernel
from podwire.drivers.netlink import link, route, wire
from podwire.drivers.netlink.socket import (
    NetlinkSocket,
    Overrun,
    SocketPool,
    is_own_port,
)
from podwire.drivers.netlink.wire import Message, Request
from podwire.model.addresses import stable_mac
from podwire.model.errors import KernelError, NotSupported
from podwire.model.kernel import Fdb, Neighbour, NftElement, Route, Value
from tests.drivers.test_contract_kernel import DEVICE, TABLE, drop, put
from tests.support.netns import namespace, needs_root, run_in

pytestmark = needs_root

PEERS = 5000 if os.environ.get("PODWIRE_TEST_FULL") == "1" else 600


@pytest.fixture
def node() -> Iterator[int]:
    with namespace() as fd:
        run_in(fd, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
        run_in(fd, "ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        run_in(fd, "ip", "link", "set", "eth0", "up")
        yield fd


@pytest.fixture
def sock(node: int) -> Iterator[NetlinkSocket]:
    with NetlinkSocket(netns=node) as sock:
        yield sock


def unreachable(number: int) -> Route:
    return Route(ip_network((0x0A000000 + number * 256, 24)), type="unreachable")


def test_refusals_of_a_large_batch_name_their_place(sock: NetlinkSocket) -> None:
    routes = [unreachable(number) for number in range(3000)]
    assert sock.execute([route.put(value, 0) for value in routes[::7]]) == []
    refusals = sock.execute([route.put(value, 0) for value in routes])
    assert {refusal.place for refusal in refusals} == set(range(0, 3000, 7))
    assert {refusal.errno for refusal in refusals} == {errno.EEXIST}
    found = sock.dump(route.dump(4, protocol=112), "list routes")
    assert {route.decode(message).dst for message in found} == {value.dst for value in routes}


def test_a_batch_in_which_everything_is_refused(sock: NetlinkSocket) -> None:
    bad = Route(ip_network("10.0.0.0/24"), dev="eth0", via=ip_address("198.51.100.1"))
    refusals = sock.execute([route.put(bad, 999_999)] * 2500)
    assert [refusal.place for refusal in refusals] == list(range(2500))
    assert sock.execute([]) == []
    assert sock.clean


def test_the_kernels_own_sentence_is_in_the_error(sock: NetlinkSocket) -> None:
    bad = Route(ip_network("10.0.0.0/24"), dev="eth0", via=ip_address("198.51.100.1"))
    (index,) = [link.decode(m).index for m in sock.dump(link.dump(), "list links") if link.decode(m).name == "eth0"]
    with pytest.raises(KernelError, match="add a route: ENETUNREACH: Nexthop has invalid gateway"):
        sock.run(route.put(bad, index), "add a route")


def test_what_this_kernel_does_not_know_is_not_supported(sock: NetlinkSocket) -> None:
    with pytest.raises(NotSupported, match="Unknown device type"):
        sock.run(link.create("pwx", "nosuchkind", "02:00:00:00:00:01", 1500), "make a link")


def test_a_link_that_is_not_there_is_none(sock: NetlinkSocket) -> None:
    assert sock.get(link.get("nosuch"), "look") is None


def test_a_dump_while_links_come_and_go_is_of_one_moment(node: int, sock: NetlinkSocket) -> None:
    stop = threading.Event()

    def churn() -> None:
        with NetlinkSocket(netns=node) as other:
            while not stop.is_set():
                other.run(link.create("pwchurn", "bridge", "02:00:00:00:00:01", 1500), "create")
                message = other.get(link.get("pwchurn"), "look")
                assert message is not None
                other.run(link.delete(link.decode(message).index), "delete")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(50):
            names = [link.decode(message).name for message in sock.dump(link.dump(), "list links")]
            assert len(names) == len(set(names))
            assert {"lo", "eth0", "wire"} <= set(names)
    finally:
        stop.set()
        thread.join()


def test_a_dump_that_is_always_interrupted_gives_up(sock: NetlinkSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    received = sock._receive

    def interrupted() -> Iterator[Message]:
        return iter([message._replace(flags=message.flags | wire.NLM_F_DUMP_INTR) for message in received()])

    monkeypatch.setattr(sock, "_receive", interrupted)
    with pytest.raises(KernelError, match="kept changing"):
        sock.dump(link.dump(), "list links")
    assert sock.clean


def read_all(listener: NetlinkSocket) -> None:
    while True:
        listener.notifications()


def test_notifications_that_were_lost_are_told(node: int, sock: NetlinkSocket) -> None:
    with NetlinkSocket(groups=(7,), netns=node) as listener:
        values = [unreachable(number) for number in range(9000)]
        for _ in range(3):
            sock.execute([route.put(value, 0) for value in values])
            sock.execute([route.remove(value, 0) for value in values])
        with pytest.raises(Overrun):
            read_all(listener)


def test_a_socket_with_outstanding_answers_is_not_used_again(node: int) -> None:
    with netns.entered(node):
        pool = SocketPool()
    with pool.socket() as first:
        first._send(wire.pack(link.dump(), 99, wire.NLM_F_DUMP))
    with pool.socket() as second:
        assert second is not first
        assert second.get(link.get("lo"), "look") is not None
        with pool.socket() as third:
            assert third is not second
    with pool.socket() as again:
        assert again in (second, third)
        assert is_own_port(again.port)
    pool.close()
    assert not is_own_port(again.port)
    with pytest.raises(KernelError, match="the driver is closed"), pool.socket():
        pass


def test_a_pool_stays_in_the_namespace_in_which_it_was_made(node: int) -> None:
    with netns.entered(node):
        pool = SocketPool()
    with namespace() as other, netns.entered(other), pool.socket() as sock:
        assert sock.get(link.get("eth0"), "look") is not None
    pool.close()


def test_an_answer_that_does_not_come_is_a_timeout(sock: NetlinkSocket) -> None:
    sock._socket.setsockopt(1, 20, b"\0" * 8 + (1000).to_bytes(8, "little"))
    with pytest.raises(KernelError, match="ETIMEDOUT"):
        list(sock._receive())
    request = Request(link.RTM_GETLINK, 0, b"")
    sock._send(wire.pack(request, 1))
    with pytest.raises(KernelError, match="EBUSY"):
        sock._send(wire.pack(request, 2))


def peers(count: int) -> list[Value]:
    values: list[Value] = []
    for number in range(1, count + 1):
        cidr = ip_network((0x0A000000 + number * 256, 24))
        mac = stable_mac("vtep", str(number))
        outer = ip_address(0xC6120000 + number)
        values += [
            Fdb("pwvxlan", mac, outer),
            Neighbour("pwvxlan", cidr.network_address, mac),
            Route(cidr, dev="pwvxlan", via=cidr.network_address, onlink=True),
            NftElement("inet", "podwire", "pod_cidrs4", str(cidr)),
        ]
    return values


def test_many_peers_at_once(node: int) -> None:
    with netns.entered(node):
        kernel = Kernel()
    wanted = {value.key: value for value in (*DEVICE, TABLE, *peers(PEERS))}
    assert kernel.apply(put(*wanted.values())) == []
    assert kernel.observe() == wanted
    assert kernel.apply(drop(*wanted.values())) == []
    assert kernel.observe() == {}
    kernel.close()
