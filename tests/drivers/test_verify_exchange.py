"""One exchange between two namespaces with a router between, in both IP versions: sizes, don't-fragment, what is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from podwire.drivers import netns
from podwire.verify.packets import Tuple5
from podwire.verify.probe.listeners import Sightings, listen
from podwire.verify.probe.senders import Target, largest, send
from podwire.verify.probe.tap import Tap
from tests.support.netns import namespace, needs_root, run_in

pytestmark = [needs_root, pytest.mark.root]

ADDRESS = {4: "10.2.0.2", 6: "fd00:2::2"}
SOURCE = {4: "10.1.0.2", 6: "fd00:1::2"}
HEADERS = {4: 28, 6: 48}
NARROW = 1400
NONCE = "0123456789abcdef"


@dataclass
class Path:
    sender: int
    router: int
    receiver: int
    sightings: Sightings
    ports: dict[tuple[str, int], int]

    def target(self, proto: str, version: int, packet: int, nonce: str = NONCE) -> Target:
        port = self.ports[proto, version]
        return Target(proto, ADDRESS[version], port, packet - HEADERS[version], nonce, 3.0)


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    """sender -1500- router -1400- receiver; the router tells who sends too much."""
    with namespace() as sender, namespace() as router, namespace() as receiver:
        for number, end, mtu in ((1, sender, 1500), (2, receiver, NARROW)):
            for command in (
                f"link add to{number} mtu {mtu} type veth peer name eth0 mtu {mtu} netns /proc/{os.getpid()}/fd/{end}",
                f"addr add 10.{number}.0.1/24 dev to{number}", f"addr add fd00:{number}::1/64 dev to{number} nodad",
                f"link set to{number} up",
            ):  # fmt: skip
                run_in(router, "ip", *command.split())
            for command in (
                f"addr add 10.{number}.0.2/24 dev eth0", f"addr add fd00:{number}::2/64 dev eth0 nodad",
                "link set eth0 up", f"route add default via 10.{number}.0.1", f"route add default via fd00:{number}::1",
            ):  # fmt: skip
                run_in(end, "ip", *command.split())
        run_in(router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        sightings = Sightings()
        with netns.entered(receiver):
            ports = {
                (proto, version): listen(proto, {4: "0.0.0.0", 6: "::"}[version], 0, sightings)
                for proto in ("tcp", "udp", "icmp")
                for version in (4, 6)
            }
        yield Path(sender, router, receiver, sightings, ports)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("proto", ["tcp", "udp", "icmp"])
def test_what_fits_arrives_unchanged_and_is_captured_at_both_ends(path: Path, proto: str, version: int) -> None:
    nonce = os.urandom(8).hex()
    with netns.entered(path.sender):
        here = Tap()
    with netns.entered(path.receiver):
        there = Tap()
    try:
        with netns.entered(path.sender):
            report = send(path.target(proto, version, NARROW, nonce))
        assert report["delivered"], report
        sent = Tuple5(proto, SOURCE[version], report["port"], ADDRESS[version], path.ports[proto, version])
        if proto == "icmp":
            sent = sent._replace(dport=report["port"])
        seen = path.sightings.of([nonce])[nonce]
        assert (seen["peer"], seen["port"], seen["intact"]) == (SOURCE[version], report["port"], True)
        for tap, outgoing in ((here, True), (there, False)):
            packets = tap.of([nonce])[nonce]
            ways = {(tuple(packet["header"]), packet["out"]) for packet in packets}
            assert ways == {(sent, outgoing), (sent.reverse, not outgoing)}
            assert all(packet["df"] for packet in packets if tuple(packet["header"]) == sent)
            assert tap.lost() == 0
    finally:
        here.close()
        there.close()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("proto", ["udp", "icmp"])
def test_what_does_not_fit_is_told_by_the_router_with_the_size_that_does(path: Path, proto: str, version: int) -> None:
    for _ in range(2):  # a remembered path MTU must not keep the second packet from going out
        with netns.entered(path.sender):
            report = send(path.target(proto, version, NARROW + 1))
        assert (report["delivered"], report["problem"]) == (False, "EMSGSIZE")
        assert report["told"]["mtu"] == NARROW
        assert report["told"]["by"] == {4: "10.1.0.1", 6: "fd00:1::1"}[version]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("proto", ["udp", "icmp"])
def test_the_largest_size_that_passes_is_found(path: Path, proto: str, version: int) -> None:
    with netns.entered(path.sender):
        found = largest(path.target(proto, version, 0)._replace(timeout=0.5), 128, 1500 - HEADERS[version])
    assert found + HEADERS[version] == NARROW


@pytest.mark.parametrize("version", [4, 6])
def test_more_than_the_own_interface_takes_is_refused_at_home(path: Path, version: int) -> None:
    with netns.entered(path.sender):
        report = send(path.target("udp", version, 1501))
    assert (report["delivered"], report["problem"]) == (False, "EMSGSIZE")


@pytest.mark.parametrize("version", [4, 6])
def test_echoes_to_one_host_do_not_hear_of_each_others_errors(path: Path, version: int) -> None:
    """A raw socket is told of every ICMP error from its destination: those of other echoes must not count."""
    import threading

    failures: list[dict[str, object]] = []

    def small() -> None:
        with netns.entered(path.sender):
            for _ in range(30):
                report = send(path.target("icmp", version, 200))
                if not report["delivered"]:
                    failures.append(report)

    def large() -> None:
        with netns.entered(path.sender):
            for _ in range(60):
                send(path.target("icmp", version, NARROW + 1))

    threads = [threading.Thread(target=work) for work in (small, large)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("version", [4, 6])
def test_a_destination_without_a_route_is_told(path: Path, version: int) -> None:
    nowhere = {4: "192.0.2.1", 6: "2001:db8::1"}[version]
    with netns.entered(path.sender):
        report = send(path.target("udp", version, 200)._replace(dst=nowhere))
    assert report["problem"] in ("ENETUNREACH", "EHOSTUNREACH"), report
    assert report["told"]["by"] == {4: "10.1.0.1", 6: "fd00:1::1"}[version]
