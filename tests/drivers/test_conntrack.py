"""The connection table as the kernel has it: plain and translated connections, and what it filters for us."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from podwire.drivers import netns
from podwire.drivers.conntrack import ICMP, TCP, UDP, Entry, Match, Tuple, entries
from tests.support.netns import namespace, needs_root, run_in

pytestmark = needs_root

RULES = """
table inet track {
  chain out {
    type nat hook output priority -100; policy accept;
    udp dport 5000 dnat ip to 127.0.0.1:5001
  }
  chain in {
    type filter hook input priority 0; policy accept;
    ct state new counter
  }
}
"""


@pytest.fixture
def node() -> Iterator[int]:
    with namespace() as fd:
        run_in(fd, "nft", RULES)
        yield fd


def udp(node: int, destination: tuple[str, int], family: int = socket.AF_INET) -> tuple[socket.socket, int]:
    with netns.entered(node):
        sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.connect(destination)
    sock.send(b"hello")
    return sock, sock.getsockname()[1]


def listen(node: int, port: int) -> socket.socket:
    with netns.entered(node):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", port))
    return sock


def ask(node: int, match: Match | None = None) -> list[Entry]:
    return netns.in_namespace(node, lambda: entries(match))


HOME = ip_address("127.0.0.1")


def test_a_plain_connection_is_no_nat(node: int) -> None:
    with listen(node, 7000):
        sock, port = udp(node, ("127.0.0.1", 7000))
        with sock:
            (entry,) = ask(node)
    assert entry.original == Tuple(HOME, HOME, UDP, port, 7000)
    assert entry.reply == entry.original.reversed
    assert not entry.is_nat


def test_a_translated_connection_is_nat(node: int) -> None:
    with listen(node, 5001):
        sock, port = udp(node, ("127.0.0.1", 5000))
        with sock:
            (entry,) = ask(node)
    assert entry.original == Tuple(HOME, HOME, UDP, port, 5000)
    assert entry.reply == Tuple(HOME, HOME, UDP, 5001, port)
    assert entry.is_nat


def test_ipv6_and_icmp_are_decoded(node: int) -> None:
    sock, port = udp(node, ("::1", 7000), socket.AF_INET6)
    with sock:
        run_in(node, "ping", "-c1", "-W2", "127.0.0.1")
        found = ask(node)
    loopback = ip_address("::1")
    assert Tuple(loopback, loopback, UDP, port, 7000) in [entry.original for entry in found]
    (ping,) = [entry for entry in found if entry.original.protocol == ICMP]
    assert ping.original.sport == ping.original.dport != 0
    assert not ping.is_nat


@pytest.mark.parametrize(
    ("match", "ports"),
    [
        (Match(dport=7000, protocol=UDP), {7000}),
        (Match(dport=7000), {7000}),
        (Match(src=ip_address("127.0.0.1")), {7000, 7001}),
        (Match(dst=ip_address("127.0.0.2")), {7002}),
        (Match(src=ip_address("127.0.0.9")), set()),
        (Match(protocol=TCP), set()),
        (Match(zone=0), {7000, 7001, 7002}),
        (Match(zone=7), set()),
        (Match(dst=ip_address("::1")), set()),
        (Match(), {7000, 7001, 7002}),
    ],
)
def test_only_what_is_asked_for(node: int, match: Match, ports: set[int]) -> None:
    targets = [("127.0.0.1", 7000), ("127.0.0.1", 7001), ("127.0.0.2", 7002)]
    socks = [udp(node, target)[0] for target in targets]
    with socks[0], socks[1], socks[2]:
        found = ask(node, match)
    ports_seen = {entry.original.dport for entry in found}
    if match.src == HOME:  # the source towards 127.0.0.2 is 127.0.0.1 as well, unless the kernel chose otherwise
        ports_seen.discard(7002)
    assert ports_seen == ports


def test_a_namespace_without_connections_has_none() -> None:
    with namespace() as fd:
        assert ask(fd) == []
