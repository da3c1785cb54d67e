"""Classic BPF: socket filters, assembled by hand. Source: ``include/uapi/linux/filter.h``.

A program is a list of instructions; it returns how many bytes of a packet to keep, 0 to drop it. Multi-byte loads are
big-endian. Offsets from :data:`NETWORK` on count from the IP header, whatever the link's own header is.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from podwire.drivers.netlink import link, route
from podwire.model.addresses import IPAddress

_SO_ATTACH_FILTER = 26
LD_B, LD_H, LD_W = 0x30, 0x28, 0x20
"""A = the byte, half-word or word at k."""
_LD_H_X = 0x48
_LDX_IP_HEADER = 0xB1
_JEQ, _JSET, _JA = 0x15, 0x45, 0x05
_RET = 0x06
NETWORK = 0x1_0000_0000 - 0x100000
"""SKF_NET_OFF: offsets from here on count from the network header."""
_PROTOCOL = 0x1_0000_0000 - 0x1000
"""SKF_AD_OFF + SKF_AD_PROTOCOL: the Ethernet type."""
_ETH_IPV4, _ETH_IPV6 = 0x0800, 0x86DD
_TCP, _UDP = 6, 17
KEEP_ALL = 0x40000


class Step(NamedTuple):
    """An instruction whose jumps name labels; *label* names the instruction itself."""

    code: int
    k: int = 0
    then: str = ""
    otherwise: str = ""
    label: str = ""


class HasOptions(Protocol):
    """A socket, ours or Python's."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None:
        """As ``socket.setsockopt``."""
        ...


def assemble(steps: Sequence[Step]) -> bytes:
    """The instructions as the kernel takes them; an empty jump target is the next instruction.

    ValueError when a conditional jump spans more than 255 instructions.
    """
    places = {step.label: place for place, step in enumerate(steps) if step.label}
    program = b""
    for place, step in enumerate(steps):
        then, otherwise = (places[name] - place - 1 if name else 0 for name in (step.then, step.otherwise))
        if step.code == _JA:
            program += struct.pack("=HBBI", step.code, 0, 0, then)
            continue
        if max(then, otherwise) > 255:
            raise ValueError("a socket filter can compare some 100 addresses and ports, not more")
        program += struct.pack("=HBBI", step.code, then, otherwise, step.k)
    return program


def attach(sock: HasOptions, program: bytes) -> None:
    """Filter what *sock* receives from now on."""
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def nothing() -> bytes:
    """Receive nothing: for the moment between opening a packet socket and binding it."""
    return assemble([Step(_RET, 0)])


def without_host_ends() -> bytes:
    """For a socket of rtnetlink notifications: drop what is told of links with an ifindex from 2**24 up.

    Those are pods' host ends (``elements.FIRST_HOST_INDEX``). Still told are deletions of links, and routes, whose
    ifindex stands at no fixed place. Link, address and neighbour messages have it four bytes into their body.
    """
    highest_byte = 16 + 4 + (3 if sys.byteorder == "little" else 0)
    told_always = (link.RTM_DELLINK, route.RTM_NEWROUTE, route.RTM_DELROUTE)
    return assemble(
        [
            Step(LD_H, 4),
            *(Step(_JEQ, int.from_bytes(struct.pack("=H", kind), "big"), "keep") for kind in told_always),
            Step(LD_B, highest_byte),
            Step(_JEQ, 0, "keep"),
            Step(_RET, 0),
            Step(_RET, KEEP_ALL, label="keep"),
        ]
    )


def packets(hosts: Sequence[IPAddress] = (), ports: Sequence[int] = ()) -> bytes:
    """For a packet socket: keep IP packets to or from any of *hosts* (default: all) and, of TCP and UDP, to or from
    any of *ports* (default: all). Other protocols and later fragments, which have no ports, pass on their hosts.

    ValueError above some 100 hosts and ports (an IPv6 address counts as eight).
    """
    steps = [Step(LD_H, _PROTOCOL), Step(_JEQ, _ETH_IPV4, "ipv4"), Step(_JEQ, _ETH_IPV6, "ipv6", "drop")]
    steps += _ipv4(hosts, ports)
    steps += _ipv6(hosts, ports)
    return assemble([*steps, Step(_RET, 0, label="drop"), Step(_RET, KEEP_ALL, label="keep")])


def _ipv4(hosts: Sequence[IPAddress], ports: Sequence[int]) -> list[Step]:
    steps = [Step(LD_W, NETWORK + 12, label="ipv4")]
    wanted = [Step(_JEQ, int(host), "ports4") for host in hosts if host.version == 4]
    steps += [*wanted, Step(LD_W, NETWORK + 16), *wanted]
    if hosts:
        steps.append(Step(_JA, then="drop"))
    steps.append(Step(LD_H, NETWORK + 6, label="ports4"))
    steps.append(Step(_JSET, 0x1FFF, "keep"))  # a later fragment
    steps.append(Step(_LDX_IP_HEADER, NETWORK))
    return steps + _ports(9, ports, "4", lambda offset: Step(_LD_H_X, NETWORK + offset))


def _ipv6(hosts: Sequence[IPAddress], ports: Sequence[int]) -> list[Step]:
    steps = [Step(LD_B, NETWORK, label="ipv6")]
    blocks = [(host, offset) for host in hosts if host.version == 6 for offset in (8, 24)]
    for number, (host, offset) in enumerate(blocks):
        for place, word in enumerate(struct.unpack("!4I", host.packed)):
            label = f"block{number}" if place == 0 else ""
            steps.append(Step(LD_W, NETWORK + offset + 4 * place, label=label))
            steps.append(Step(_JEQ, word, "ports6" if place == 3 else "", f"block{number + 1}"))
    if hosts:
        steps.append(Step(_JA, then="drop", label=f"block{len(blocks)}"))
    steps.append(Step(LD_B, NETWORK + 6, label="ports6"))
    return steps + _ports(6, ports, "6", lambda offset: Step(LD_H, NETWORK + 40 + offset))


def _ports(protocol: int, ports: Sequence[int], name: str, load: Callable[[int], Step]) -> list[Step]:
    """Keep when there are no ports to compare; *protocol* is the offset of the protocol number."""
    if not ports:
        return [Step(_JA, then="keep")]
    steps = [
        Step(LD_B, NETWORK + protocol),
        Step(_JEQ, _TCP, f"compare{name}"),
        Step(_JEQ, _UDP, f"compare{name}", "keep"),
    ]
    for offset in (0, 2):
        first = load(offset)
        steps.append(first._replace(label=f"compare{name}") if offset == 0 else first)
        steps += [Step(_JEQ, port, "keep") for port in ports]
    return [*steps, Step(_JA, then="drop")]
