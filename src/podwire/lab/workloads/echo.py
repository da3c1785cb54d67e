"""podwire/echo: answers on TCP, UDP and HTTP, and tells who asked and who answers.

    echo [--tcp PORT,…] [--udp PORT,…] [--http PORT,…]     or TCP_PORTS, UDP_PORTS, HTTP_PORTS in the environment

By default HTTP on 8080, TCP and UDP on 7. A TCP client first gets one line of JSON about itself, then its own bytes
back; a UDP datagram is answered with that JSON followed by the datagram; HTTP answers the JSON on ``/`` and ``ok`` on
``/healthz``. The JSON: ``{"peer", "peerPort", "local", "localPort", "host", "protocol"}``. SIGTERM ends it at once.

Run as a file, on the standard library alone; it knows nothing of podwire.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import sys
from types import FrameType

MAX_HEAD = 16 * 1024
MAX_UNSENT = 1024 * 1024


def plain(address: str) -> str:
    """The address without the IPv4-mapped prefix that a dual-stack socket shows."""
    return address.removeprefix("::ffff:").partition("%")[0]


def about(peer: tuple[str, int], local: tuple[str, int], protocol: str) -> bytes:
    """One line of JSON: who asked whom."""
    facts = {
        "peer": plain(peer[0]),
        "peerPort": peer[1],
        "local": plain(local[0]),
        "localPort": local[1],
        "host": socket.gethostname(),
        "protocol": protocol,
    }
    return json.dumps(facts).encode() + b"\n"


def http_answer(head: bytes, facts: bytes) -> bytes:
    """The answer to a request with this head."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        status, kind, body = "400 Bad Request", "text/plain", b"not an HTTP/1 request\n"
    elif words[1].split(b"?")[0] == b"/healthz":
        status, kind, body = "200 OK", "text/plain", b"ok\n"
    else:
        status, kind, body = "200 OK", "application/json", facts
    if words[0] == b"HEAD":
        body = b""
    lines = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return lines.encode() + body


class Connection:
    """A TCP connection: what came in and was not used yet, what goes out."""

    def __init__(self, sock: socket.socket, http: bool) -> None:
        self.sock = sock
        self.http = http
        self.incoming = b""
        self.closing = False
        peer, local = sock.getpeername(), sock.getsockname()
        self.facts = about(peer[:2], local[:2], "http" if http else "tcp")
        self.outgoing = b"" if http else self.facts

    def feed(self, data: bytes) -> None:
        """Take what the peer sent."""
        if not data:
            self.closing = True
        elif not self.http:
            self.outgoing += data
        else:
            self.incoming += data
            if b"\r\n\r\n" in self.incoming or len(self.incoming) > MAX_HEAD:
                self.outgoing = http_answer(self.incoming, self.facts)
                self.closing = True

    @property
    def interest(self) -> int:
        """What the selector should wait for; 0 when the connection is over."""
        reads = not self.closing and len(self.outgoing) < MAX_UNSENT
        return (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self.outgoing else 0)


class Echo:
    """The listening sockets and the loop."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()

    def listen(self, protocol: str, port: int) -> None:
        """Serve *protocol* ("tcp", "udp", "http") on *port*, for IPv4 and IPv6 where there is IPv6."""
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        try:
            sock = socket.socket(socket.AF_INET6, kind)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("::", port))
        except OSError as error:
            if error.errno not in (97, 99):  # EAFNOSUPPORT, EADDRNOTAVAIL: a machine without IPv6
                raise
            sock = socket.socket(socket.AF_INET, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("0.0.0.0", port))  # noqa: S104 (a pod serves on all of its addresses)
        if protocol == "udp":
            # The answer must leave from the address that was asked, which only the packet tells.
            for level, option in ((socket.IPPROTO_IP, 8), (socket.IPPROTO_IPV6, 49)):  # IP_PKTINFO, IPV6_RECVPKTINFO
                try:
                    sock.setsockopt(level, option, 1)
                except OSError:
                    continue
        else:
            sock.listen(128)
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ, protocol)
        print(f"{protocol} on port {port}", flush=True)

    def run(self) -> None:
        """Serve for ever."""
        while True:
            for key, events in self.selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if isinstance(key.data, Connection):
                    self._serve(key.data, events)
                elif key.data == "udp":
                    self._datagram(sock)
                else:
                    self._accept(sock, key.data == "http")

    def _accept(self, listener: socket.socket, http: bool) -> None:
        try:
            sock, _ = listener.accept()
            sock.setblocking(False)
            connection = Connection(sock, http)
        except OSError:  # the peer went already
            return
        self.selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)

    def _serve(self, connection: Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                connection.feed(connection.sock.recv(65536))
            if connection.outgoing:
                sent = connection.sock.send(connection.outgoing)
                connection.outgoing = connection.outgoing[sent:]
        except BlockingIOError:
            pass
        except OSError:
            connection.closing, connection.outgoing = True, b""
        if interest := connection.interest:
            self.selector.modify(connection.sock, interest, connection)
        else:
            self.selector.unregister(connection.sock)
            connection.sock.close()

    def _datagram(self, sock: socket.socket) -> None:
        try:
            data, ancillary, _, peer = sock.recvmsg(65535, 256)
            local, reply = _destination(ancillary)
            facts = about(peer[:2], (local, sock.getsockname()[1]), "udp")
            sock.sendmsg([facts, data], reply, 0, peer)
        except OSError:  # unreachable, or too large with what we add: UDP promises nothing
            pass


def _destination(ancillary: list[tuple[int, int, bytes]]) -> tuple[str, list[tuple[int, int, bytes]]]:
    """The address that a datagram was sent to, and what makes the answer leave from it."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == 50:  # IPV6_PKTINFO: in6_addr, ifindex
            return socket.inet_ntop(socket.AF_INET6, data[:16]), [(level, kind, data[:20])]
        if level == socket.IPPROTO_IP and kind == 8:  # IP_PKTINFO: ifindex, in_addr local, in_addr destination
            return socket.inet_ntop(socket.AF_INET, data[8:12]), [(level, kind, data[:4] + data[8:12] + bytes(4))]
    return "", []


def ports(text: str) -> list[int]:
    """``8080,8081`` as numbers."""
    return [int(part) for part in text.split(",") if part.strip()]


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="podwire/echo", description="Answers on TCP, UDP and HTTP.")
    for protocol, default in (("tcp", "7"), ("udp", "7"), ("http", "8080")):
        value = os.environ.get(f"{protocol.upper()}_PORTS", default)
        parser.add_argument(f"--{protocol}", default=value, type=ports, metavar="PORT,…", help=f"default {default}")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    echo = Echo()
    for protocol in ("tcp", "udp", "http"):
        for port in getattr(arguments, protocol):
            echo.listen(protocol, port)
    echo.run()


if __name__ == "__main__":
    main()
