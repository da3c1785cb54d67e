"""What passed the interfaces of this namespace: packets kept in memory, asked for by nonce.

Frames are cut behind the headers and the nonce. A packet socket gets its copy before the packet reaches the socket of
a receiver, and after all that a sender's own namespace does to it; so once an exchange is over, its packets are here.
"""

from __future__ import annotations

import base64
import select
import threading
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from podwire.drivers.capture import Capture, Packet
from podwire.verify import packets

_SNAP = 256
_KEPT = 100_000
"""Packets kept at once: at 256 bytes each some 50 MB at worst; more are counted and not kept."""
_MAX_HOSTS = 40
"""As many addresses as a socket filter takes; for more everything is heard, and sorted out here."""


class _Kept(NamedTuple):
    """A packet, decoded; *port*: the UDP port of the VXLAN datagram around it, 0 for a bare packet."""

    raw: Packet
    packet: packets.Packet
    port: int


class Tap:
    """Captures from its making until :meth:`close`.

    *pairs* narrows it to what passes between two addresses, in either direction: bare, or in VXLAN datagrams to one of
    *ports*.
    """

    def __init__(self, pairs: Iterable[Sequence[str]] = (), ports: Sequence[int] = ()) -> None:
        self._pairs = frozenset(frozenset(pair) for pair in pairs)
        self._kept: list[_Kept] = []
        self._overflow = 0
        self._lock = threading.Lock()
        addresses = sorted({address for pair in self._pairs for address in pair})
        hosts = [ip_address(address) for address in addresses] if len(addresses) <= _MAX_HOSTS else []
        self._captures = [Capture(hosts=hosts, snap_length=_SNAP)]
        if self._pairs and hosts and ports:
            self._captures.append(Capture(ports=ports, snap_length=_SNAP))
        self._open = True
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def _follow(self) -> None:
        """Keep the kernel's buffers from running over."""
        while self._open:
            ready, _, _ = select.select(self._captures, [], [], 0.05)
            if ready:
                self._drain()

    def _drain(self) -> None:
        with self._lock:
            for capture in self._captures if self._open else ():
                while found := capture.read():
                    for raw in found:
                        self._keep(raw)

    def _keep(self, raw: Packet) -> None:
        packet, port = packets.decode(raw.data), 0
        if self._pairs and (wrapped := packets.unwrap(raw.data)):
            packet, port = wrapped
        if packet is None or (self._pairs and frozenset((packet.tuple5.src, packet.tuple5.dst)) not in self._pairs):
            return
        if len(self._kept) >= _KEPT:
            self._overflow += 1
        else:
            self._kept.append(_Kept(raw, packet, port))

    def lost(self) -> int:
        """How many packets passed without being kept."""
        self._drain()
        with self._lock:
            return self._overflow + sum(capture.dropped() for capture in self._captures)

    def of(self, nonces: list[str]) -> dict[str, list[dict[str, Any]]]:
        """The packets that carry each nonce, in the order of their passing."""
        self._drain()
        wanted: dict[str, list[dict[str, Any]]] = {nonce: [] for nonce in nonces}
        with self._lock:
            for raw, packet, _ in self._kept:
                if packet.nonce in wanted:
                    wanted[packet.nonce].append(
                        {
                            "header": list(packet.tuple5),
                            "out": raw.outgoing,
                            "interface": raw.device,
                            "length": packet.length,
                            "df": packet.dont_fragment,
                        }
                    )
        return wanted

    def places(self) -> list[list[Any]]:
        """Where packets were seen, in the order of their first passing: ``[src, dst, interface, outgoing, port]``.

        *port* is the UDP port of the VXLAN datagram that carried the packet, 0 for a bare one.
        """
        self._drain()
        with self._lock:
            ordered = sorted(self._kept, key=lambda kept: kept.raw.nanoseconds)
        rows = (
            (kept.packet.tuple5.src, kept.packet.tuple5.dst, kept.raw.device, kept.raw.outgoing, kept.port)
            for kept in ordered
        )
        return [list(row) for row in dict.fromkeys(rows)]

    def frames(self, start: int, limit: int) -> list[list[Any]]:
        """Up to *limit* captured packets from number *start*: nanoseconds, length on the wire, bytes in base64."""
        self._drain()
        with self._lock:
            chosen = self._kept[start : start + limit]
        return [[raw.nanoseconds, raw.length, base64.b64encode(raw.data).decode("ascii")] for raw, _, _ in chosen]

    def close(self) -> None:
        """Stop, and forget everything."""
        self._open = False
        self._follower.join()  # it selects on the descriptors, which must not be closed under it
        with self._lock:
            for capture in self._captures:
                capture.close()
            self._kept.clear()
