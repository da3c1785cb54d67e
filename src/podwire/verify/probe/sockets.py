"""What both halves of the probe do with sockets.

Nothing that a probe sends may be fragmented. UDP and ICMP sockets have ``IP_MTU_DISCOVER`` set to ``PROBE``:
don't-fragment as with ``DO``, but a path MTU that the kernel remembers from an earlier failure is not believed, so each
full-size packet really goes out and tries the path again. TCP has ``DO``, since ``PROBE`` sets no don't-fragment there.
"""

from __future__ import annotations

import socket

# Not named by Python 3.11's socket module: <linux/in.h>, <linux/in6.h>.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DO, _PMTUDISC_PROBE = 10, 23, 2, 3


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6, by the look of *address*."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def never_fragment(sock: socket.socket) -> None:
    """Set don't-fragment on whatever *sock* sends."""
    mode = _PMTUDISC_DO if sock.type == socket.SOCK_STREAM else _PMTUDISC_PROBE
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, mode)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, mode)


def receive(connection: socket.socket, count: int) -> bytes:
    """Up to *count* bytes; fewer when the peer closes."""
    chunks = bytearray()
    while len(chunks) < count:
        chunk = connection.recv(count - len(chunks))
        if not chunk:
            break
        chunks += chunk
    return bytes(chunks)
