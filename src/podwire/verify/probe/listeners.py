"""The receiving half: sockets that answer each request with what they saw of it, and remember it by nonce.

A sighting outlives the exchange: where an answer never came back, it still tells that the request arrived, and from
which address.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import OrderedDict
from typing import Any

from podwire.verify import payload
from podwire.verify.probe.sockets import family_of, never_fragment, receive

_KEPT = 200_000
_PATIENCE = 0.5
"""Sightings kept; about what a sample of a 200-node cluster makes at one probe, times ten."""
_PATIENCE = 5.0
"""Seconds that a TCP connection may stay silent before it is dropped."""


class Sightings:
    """What was received, by nonce: peer address and port, own address, payload length, whether it was intact."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Condition()

    def add(self, nonce: str, seen: payload.Seen, length: int, whole: bool) -> None:
        with self._lock:
            entry = {"peer": seen.peer, "port": seen.port, "own": seen.own, "length": length, "intact": whole}
            self._seen[nonce] = entry
            while len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
            self._lock.notify_all()

    def of(self, nonces: list[str], patience: float = _PATIENCE) -> dict[str, dict[str, Any]]:
        """What was seen of *nonces*. The kernel answers an echo before the listener has noted it: what is missing gets
        *patience* seconds to appear."""
        with self._lock:
            self._lock.wait_for(lambda: all(nonce in self._seen for nonce in nonces), patience)
            return {nonce: self._seen[nonce] for nonce in nonces if nonce in self._seen}


def listen(proto: str, address: str, port: int, sightings: Sightings) -> int:
    """Serve *proto* (``tcp``, ``udp``, ``icmp``) on *address* until the probe ends; returns the port (0 for ICMP).

    *port* 0 lets the kernel choose. ICMP is answered by the kernel itself; listening only notes who asked.
    """
    family = family_of(address)
    if proto == "icmp":
        sock = socket.socket(
            family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
        )
        _start(_watch_icmp, sock, sightings)
        return 0
    sock = socket.socket(family, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        never_fragment(sock)  # what is answered at full size must not be fragmented either
        sock.bind((address, port))
        if proto == "tcp":
            sock.listen(512)
    except OSError:
        sock.close()
        raise
    chosen = int(sock.getsockname()[1])
    _start(_serve_tcp if proto == "tcp" else _serve_udp, sock, sightings)
    return chosen


def _start(serve: Any, *arguments: Any) -> None:
    threading.Thread(target=serve, args=arguments, daemon=True).start()


def _serve_tcp(sock: socket.socket, sightings: Sightings) -> None:
    while True:
        try:
            connection, _ = sock.accept()
        except ConnectionError:
            continue
        except OSError:  # out of descriptors or closed: the orchestrator sees flows fail and says so
            return
        _start(_answer_tcp, connection, sightings)


def _answer_tcp(connection: socket.socket, sightings: Sightings) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(_PATIENCE)
        peer, own = connection.getpeername(), connection.getsockname()
        data = receive(connection, payload.HEADER)
        length = payload.length_of(data)
        if length is None:
            return
        data += receive(connection, length - len(data))
        seen = payload.Seen(_plain(peer[0]), peer[1], _plain(own[0]))
        sightings.add(payload.nonce_of(data) or "", seen, len(data), payload.intact(data))
        connection.sendall(payload.reply(data, seen))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # let the sender close first, so that no reset overtakes the answer


def _serve_udp(sock: socket.socket, sightings: Sightings) -> None:
    own = sock.getsockname()[0]
    while True:
        try:
            data, peer = sock.recvfrom(65536)
        except ConnectionError:  # an ICMP error for an earlier answer
            continue
        except OSError:
            return
        nonce = payload.nonce_of(data)
        if nonce is None:
            continue
        seen = payload.Seen(_plain(peer[0]), peer[1], _plain(own))
        sightings.add(nonce, seen, len(data), payload.intact(data))
        with contextlib.suppress(OSError):
            sock.sendto(payload.reply(data, seen), peer)


def _watch_icmp(sock: socket.socket, sightings: Sightings) -> None:
    v4 = sock.family == socket.AF_INET
    while True:
        try:
            data, peer = sock.recvfrom(65536)
        except OSError:
            return
        body = data[(data[0] & 0x0F) * 4 :] if v4 else data
        if len(body) < 8 or body[0] != (8 if v4 else 128):
            continue
        nonce = payload.nonce_of(body[8:])
        if nonce is not None:
            identifier = struct.unpack_from("!H", body, 4)[0]
            seen = payload.Seen(_plain(peer[0]), identifier, "")
            sightings.add(nonce, seen, len(body) - 8, payload.intact(body[8:]))


def _plain(address: str) -> str:
    """Without the scope of a link-local IPv6 address."""
    return address.partition("%")[0]
