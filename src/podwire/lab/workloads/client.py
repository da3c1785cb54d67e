"""podwire/client: asks a target over and over, and prints each answer.

    client TARGET [--every SECONDS] [--count N] [--timeout SECONDS]       or TARGET, EVERY, COUNT in the environment

TARGET is ``http://HOST:PORT/PATH``, ``tcp://HOST:PORT`` or ``udp://HOST:PORT``; what it expects at the other end is
podwire/echo, and it exits with 1 after *count* requests of which one failed. A line for each request::

    12 ok 0.8 ms 10.244.1.5 -> 10.244.2.7 (web-abcde)        the receiver saw this address
    13 failed: timed out

Run as a file, on the standard library alone; it knows nothing of podwire.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any


class Target:
    """Where to ask, and how."""

    def __init__(self, text: str) -> None:
        scheme, found, rest = text.partition("://")
        authority, _, path = rest.partition("/")
        host, _, port = authority.rpartition(":")
        if not found or scheme not in ("http", "tcp", "udp"):
            raise ValueError(f"{text!r} is not http://, tcp:// or udp://HOST:PORT")
        if not host or not port.isdigit():
            host, port = authority, {"http": "80"}.get(scheme, "7")
        self.scheme, self.host, self.port, self.path = scheme, host.strip("[]"), int(port), "/" + path

    def ask(self, timeout: float) -> bytes:
        """One request; what came back. OSError when nothing did."""
        if self.scheme == "udp":
            family, kind, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind) as sock:
                sock.settimeout(timeout)
                sock.connect(address)
                sock.send(b"hello\n")
                return sock.recv(65535)
        with socket.create_connection((self.host, self.port), timeout) as sock:
            if self.scheme == "tcp":
                return self._line(sock)
            head = f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n"
            sock.sendall(head.encode())
            return self._body(sock)

    @staticmethod
    def _line(sock: socket.socket) -> bytes:
        data = b""
        while not data.endswith(b"\n"):
            piece = sock.recv(65536)
            if not piece:
                raise OSError("the connection ended before the answer")
            data += piece
        return data

    @staticmethod
    def _body(sock: socket.socket) -> bytes:
        data = b"".join(iter(lambda: sock.recv(65536), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        words = head.split(b" ", 2)
        if len(words) < 2 or words[1] != b"200":
            raise OSError(f"answered {head.splitlines()[0].decode(errors='replace') if head else 'nothing'}")
        return body


def describe(answer: bytes) -> str:
    """An answer of podwire/echo in a few words; any other as it is, shortened."""
    try:
        facts: dict[str, Any] = json.loads(answer.splitlines()[0])
        return f"{facts['peer']} -> {facts['local']} ({facts['host']})"
    except (ValueError, KeyError, TypeError, IndexError):
        return repr(answer[:80])


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    """Entry point."""
    env = os.environ.get
    parser = argparse.ArgumentParser(prog="podwire/client", description="Asks a target over and over.")
    parser.add_argument("target", nargs="?", default=env("TARGET", ""), help="http://, tcp:// or udp://HOST:PORT")
    parser.add_argument("--every", type=float, default=float(env("EVERY", "1")), help="seconds between requests")
    parser.add_argument("--count", type=int, default=int(env("COUNT", "0")), help="how many requests; 0: for ever")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds to wait for an answer")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    try:
        target = Target(arguments.target)
    except ValueError as error:
        parser.error(str(error))
    number = failures = 0
    while not arguments.count or number < arguments.count:
        number += 1
        began = time.monotonic()
        try:
            answer = target.ask(arguments.timeout)
            print(f"{number} ok {(time.monotonic() - began) * 1000:.1f} ms {describe(answer)}", flush=True)
        except OSError as error:
            failures += 1
            print(f"{number} failed: {error}", flush=True)
        if number != arguments.count:
            time.sleep(max(0.0, arguments.every - (time.monotonic() - began)))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
