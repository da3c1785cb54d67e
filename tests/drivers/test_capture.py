"""Capture: exactly the packets asked for, the kernel's timestamps, and a file that tcpdump opens."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from podwire.drivers import netns
from podwire.drivers.capture import Capture, Packet
from podwire.drivers.pcap import PcapWriter
from podwire.model.errors import KernelError
from tests.support.netns import namespace, needs_root, run_in

pytestmark = needs_root

UDP = 17


@pytest.fixture
def node() -> Iterator[int]:
    with namespace() as fd:
        for addr in ("10.0.0.1/8", "fd00::1/64", "fd00::2/64"):
            run_in(fd, "ip", "addr", "add", addr, "dev", "lo", *(["nodad"] if ":" in addr else []))
        yield fd


def send(node: int, host: str, port: int, payload: bytes = b"x") -> None:
    with (
        netns.entered(node),
        socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.sendto(payload, (host, port))


def udp_ports(packets: list[Packet]) -> list[int]:
    """Destination ports of the UDP packets that went out (loopback shows each twice; ICMP errors follow)."""
    ports = []
    for packet in packets:
        version, header = packet.data[14] >> 4, 14 + (40 if packet.data[14] >> 4 == 6 else 4 * (packet.data[14] & 15))
        protocol = packet.data[20] if version == 6 else packet.data[23]
        if protocol == UDP and packet.outgoing:
            ports.append(struct.unpack_from("!H", packet.data, header + 2)[0])
    return ports


TARGETS = [("127.0.0.1", 7000), ("127.0.0.1", 7001), ("10.0.0.1", 7002), ("fd00::1", 7003), ("fd00::2", 7004)]


@pytest.mark.parametrize(
    ("hosts", "ports", "expected"),
    [
        ([], [], {7000, 7001, 7002, 7003, 7004}),
        (["127.0.0.1"], [], {7000, 7001}),
        (["10.0.0.1"], [], {7002}),
        (["fd00::2"], [], {7004}),
        (["fd00::2", "10.0.0.1"], [], {7002, 7004}),
        ([], [7001, 7003], {7001, 7003}),
        (["127.0.0.1", "fd00::1"], [7003, 7000, 7004], {7000, 7003}),
        (["192.0.2.1"], [], set()),
        ([], [9], set()),
    ],
)
def test_the_filter_keeps_what_was_asked_for(node: int, hosts: list[str], ports: list[int], expected: set[int]) -> None:
    with Capture(node, device="lo", hosts=[ip_address(host) for host in hosts], ports=ports) as capture:
        for host, port in TARGETS:
            send(node, host, port)
        # The last packet of all is known to match, so that its arrival says that the others are through.
        seen = capture.read(timeout=5 if expected else 0.0)
        assert set(udp_ports(seen)) == expected
        assert capture.dropped() == 0


def test_what_came_before_is_not_captured(node: int) -> None:
    send(node, "127.0.0.1", 7000)
    with Capture(node, ports=[7000]) as capture:
        assert capture.read() == []
        send(node, "127.0.0.1", 7000)
        assert udp_ports(capture.read(timeout=5)) == [7000]


def test_a_packet_carries_its_time_device_and_length(node: int) -> None:
    with Capture(node, snap_length=60, ports=[7000]) as capture:
        send(node, "127.0.0.1", 7000, b"y" * 500)
        send(node, "127.0.0.1", 7000, b"y" * 500)
        packets = [packet for packet in capture.read(timeout=5) if packet.outgoing and packet.data[23] == UDP]
    first, second = packets
    assert (first.device, first.length, len(first.data)) == ("lo", 14 + 20 + 8 + 500, 60)
    assert 1_600_000_000 * 10**9 < first.nanoseconds <= second.nanoseconds


def test_a_device_that_is_not_there_is_an_error_that_names_it(node: int) -> None:
    with pytest.raises(KernelError, match="capture packets on nosuch: ENODEV"):
        Capture(node, device="nosuch")


def test_too_many_hosts_are_refused_without_a_leak(node: int) -> None:
    with pytest.raises(ValueError, match="socket filter"):
        Capture(node, hosts=[ip_address(f"fd00::{number:x}") for number in range(1, 60)])


def test_a_full_buffer_is_counted(node: int) -> None:
    with Capture(node, ports=[7000]) as capture:
        with netns.entered(node), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(12_000):
                sock.sendto(b"z" * 1200, ("127.0.0.1", 7000))
        assert capture.dropped() > 0
        assert capture.dropped() > 0, "the count is of the whole capture"


def test_tcpdump_reads_the_file(node: int, tmp_path: Path) -> None:
    with Capture(node, ports=[17000]) as capture:
        send(node, "127.0.0.1", 17000, b"hello")
        send(node, "fd00::1", 17000, b"hello")
        packets = [
            packet
            for packet in capture.read(timeout=5)
            if packet.outgoing and packet.data[20 if packet.data[14] >> 4 == 6 else 23] == UDP
        ]
    path = tmp_path / "evidence.pcap"
    with path.open("wb") as stream:
        writer = PcapWriter(stream)
        for packet in packets:
            writer.write(packet.nanoseconds, packet.data, packet.length)
    shown = subprocess.run(
        ["tcpdump", "-Z", "root", "-n", "--nano", "-tt", "-r", str(path), "udp"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = shown.stdout.splitlines()
    assert len(lines) == 2
    assert "127.0.0.1.17000: UDP, length 5" in lines[0]
    assert "fd00::1.17000: UDP, length 5" in lines[1]
    nanoseconds = [int(line.split()[0].replace(".", "")) for line in lines]
    assert nanoseconds == [packet.nanoseconds for packet in packets]
