"""What passed the interfaces of this namespace: packets kept in memory, asked for by nonce.

Frames are cut behind the headers and the nonce. A packet socket gets its copy before the packet reaches the socket of
a receiver, and after all that a sender's own namespace does to it; so once an exchange is over, its packets are here.
"""

from __future__ import annotations

import base64
import select
import socket
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

from podwire.verify import packets

_ETH_P_ALL = 0x0003
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_SNAP = 256
_BUFFER = 8 * 1024 * 1024
_KEPT = 100_000
"""Packets kept at once: at 256 bytes each some 50 MB at worst; more are counted and not kept."""
_OUTGOING = 4


class Captured(NamedTuple):
    """One packet: nanoseconds since the epoch, interface, whether it left, its length on the wire, its first bytes."""

    when: int
    interface: str
    outgoing: bool
    length: int
    frame: bytes


class Tap:
    """Captures from its making until :meth:`close`. *port* narrows it to UDP datagrams to or from one port."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._kept: list[Captured] = []
        self._decoded: list[packets.Packet] = []
        self.overflowed = 0
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        self._open = True
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while self._open:
            ready, _, _ = select.select([self._socket], [], [], 0.2)
            if ready:
                self.drain()

    def drain(self) -> None:
        """Read what waits in the socket."""
        with self._lock:
            while self._open:
                try:
                    frame, controls, _, where = self._socket.recvmsg(_SNAP, 128, socket.MSG_TRUNC)
                except BlockingIOError:
                    return
                except OSError:  # an interface that went down says so here
                    continue
                self._keep(frame, controls, where)

    def _keep(self, frame: bytes, controls: list[Any], where: Any) -> None:
        packet = packets.decode(frame)
        if packet is None or (self._port and self._port not in (packet.tuple5.sport, packet.tuple5.dport)):
            return
        if len(self._kept) >= _KEPT:
            self.overflowed += 1
            return
        when = time.time_ns()
        for level, kind, data in controls:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                when = int.from_bytes(data[:8], "little") * 10**9 + int.from_bytes(data[8:16], "little")
        length = max(len(frame), packet.length + 14)
        self._kept.append(Captured(when, where[0], where[2] == _OUTGOING, length, frame))
        self._decoded.append(packet)

    def of(self, nonces: list[str]) -> dict[str, list[dict[str, Any]]]:
        """The packets that carry each nonce, in the order of their passing."""
        self.drain()
        wanted: dict[str, list[dict[str, Any]]] = {nonce: [] for nonce in nonces}
        with self._lock:
            for seen, packet in zip(self._kept, self._decoded, strict=True):
                if packet.nonce in wanted:
                    wanted[packet.nonce].append(
                        {
                            "header": list(packet.tuple5),
                            "out": seen.outgoing,
                            "interface": seen.interface,
                            "length": packet.length,
                            "df": packet.dont_fragment,
                        }
                    )
        return wanted

    def count(self) -> list[list[Any]]:
        """How many packets passed, by source, destination and direction: ``[src, dst, outgoing, number]``."""
        self.drain()
        with self._lock:
            counts = Counter(
                (packet.tuple5.src, packet.tuple5.dst, seen.outgoing)
                for seen, packet in zip(self._kept, self._decoded, strict=True)
            )
        return [[*key, number] for key, number in sorted(counts.items())]

    def frames(self, start: int, limit: int) -> list[list[Any]]:
        """Up to *limit* captured packets from number *start*: time, interface, direction, length, bytes in base64."""
        self.drain()
        with self._lock:
            chosen = self._kept[start : start + limit]
        return [
            [seen.when, seen.interface, seen.outgoing, seen.length, base64.b64encode(seen.frame).decode("ascii")]
            for seen in chosen
        ]

    def close(self) -> None:
        """Stop, and forget everything."""
        with self._lock:
            self._open = False
            self._socket.close()
            self._kept.clear()
            self._decoded.clear()
