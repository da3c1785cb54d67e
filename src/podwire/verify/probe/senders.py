"""The sending half: one exchange per call, in TCP, UDP or ICMP, always with don't-fragment."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from typing import Any, NamedTuple

from podwire.verify import payload
from podwire.verify.probe.sockets import family_of, never_fragment, receive

# Not named by Python 3.11's socket module: <linux/in.h>, <linux/in6.h>, <linux/errqueue.h>.
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_FIRST_WAIT = 0.5


class Target(NamedTuple):
    """Where to and how: *length* is the payload's, bytes; *timeout* covers all attempts, seconds."""

    proto: str
    dst: str
    port: int
    length: int
    nonce: str
    timeout: float
    attempts: int = 3


def send(target: Target) -> dict[str, Any]:
    """Try *target* once (UDP and ICMP: repeat while no answer comes, within the timeout) and report.

    The report: ``delivered``; ``source`` and ``port`` as the sender's socket has them; ``seen`` (address and port that
    the receiver reports, of TCP and UDP); ``attempts``; ``rtt_us`` of the answered attempt; ``problem``, an errno's
    name or ``timeout``, ``closed``, ``damaged``; ``told``: an ICMP error that came back: its sender, type, code, MTU.
    """
    report: dict[str, Any] = {"delivered": False, "problem": "", "attempts": 0, "source": "", "port": 0}
    sock = _socket(target)
    with sock:
        try:
            sock.settimeout(target.timeout)
            sock.connect((target.dst, target.port))
            name = sock.getsockname()
            report["source"], report["port"] = name[0].partition("%")[0], name[1]
            if target.proto == "tcp":
                _tcp(sock, target, report)
            else:
                _datagram(sock, target, report)
        except TimeoutError:
            report["problem"] = "timeout"
        except OSError as error:
            report["problem"] = errno.errorcode.get(error.errno or 0, str(error))
        if not report["delivered"] and "told" not in report and (told := _told(sock)):
            report["told"] = told
    return report


def _socket(target: Target) -> socket.socket:
    family = family_of(target.dst)
    v6 = family == socket.AF_INET6
    if target.proto == "icmp":
        sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP)
    else:
        sock = socket.socket(family, socket.SOCK_STREAM if target.proto == "tcp" else socket.SOCK_DGRAM)
    never_fragment(sock)
    sock.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, _IPV6_RECVERR if v6 else _IP_RECVERR, 1)
    return sock


def _tcp(sock: socket.socket, target: Target, report: dict[str, Any]) -> None:
    started = time.monotonic()
    report["attempts"] = 1
    sock.settimeout(max(0.05, target.timeout))
    sock.sendall(payload.request(target.nonce, target.length))
    answer = receive(sock, target.length)
    _note(answer, target, report, started)
    if not report["delivered"] and not report["problem"]:
        report["problem"] = "closed"


def _datagram(sock: socket.socket, target: Target, report: dict[str, Any]) -> None:
    deadline = time.monotonic() + target.timeout
    request = payload.request(target.nonce, target.length)
    if target.proto == "icmp":
        report["port"] = identifier = struct.unpack("!H", os.urandom(2))[0]
        request = _echo_request(sock.family == socket.AF_INET6, identifier, request)
    wait = _FIRST_WAIT
    for attempt in range(1, target.attempts + 1):
        report["attempts"], started = attempt, time.monotonic()
        sock.send(request)
        last = attempt == target.attempts
        until = deadline if last else min(deadline, started + wait)
        if _await_answer(sock, target, report, started, until) or time.monotonic() >= deadline:
            break
        wait *= 2
    if not report["delivered"] and not report["problem"]:
        report["problem"] = "timeout"


def _await_answer(sock: socket.socket, target: Target, report: dict[str, Any], started: float, until: float) -> bool:
    """Read until our answer comes (True) or *until* passes (False); an ICMP error is raised by the socket."""
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data = sock.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            if target.proto == "icmp" and not _concerns(sock, report):
                continue
            raise
        if target.proto == "icmp":
            data = _echo_reply(data, sock.family == socket.AF_INET6, report["port"])
        if payload.nonce_of(data) == target.nonce:
            _note(data, target, report, started)
            return True
    return False


def _note(answer: bytes, target: Target, report: dict[str, Any], started: float) -> None:
    if target.proto == "icmp":  # an echo's answer is the request itself
        report["delivered"] = payload.intact(answer)
    elif seen := payload.read_reply(answer):
        report["delivered"] = len(answer) == target.length
        report["seen"] = [seen.peer, seen.port]
    if report["delivered"]:
        report["rtt_us"] = round((time.monotonic() - started) * 1e6)
    elif answer:
        report["problem"] = "damaged"


def _echo_request(v6: bool, identifier: int, body: bytes) -> bytes:
    if v6:  # the kernel fills in the checksum
        return struct.pack("!BBHHH", 128, 0, 0, identifier, 1) + body
    packet = struct.pack("!BBHHH", 8, 0, 0, identifier, 1) + body
    return packet[:2] + struct.pack("!H", _checksum(packet)) + packet[4:]


def _echo_reply(data: bytes, v6: bool, identifier: int) -> bytes:
    """The payload of our echo reply, or nothing: a raw socket is shown everybody's ICMP."""
    body = data if v6 else data[(data[0] & 0x0F) * 4 :]
    if len(body) < 8 or body[0] != (129 if v6 else 0) or struct.unpack_from("!H", body, 4)[0] != identifier:
        return b""
    return body[8:]


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def _concerns(sock: socket.socket, report: dict[str, Any]) -> bool:
    """Whether an ICMP error is about this exchange: a raw socket hears of every echo to the same destination."""
    with contextlib.suppress(OSError):
        original, controls, _, _ = sock.recvmsg(64, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        if len(original) >= 6 and struct.unpack_from("!H", original, 4)[0] != report["port"]:
            return False
        if told := _read_error(controls):
            report["told"] = told
    return True


def _told(sock: socket.socket) -> dict[str, Any] | None:
    """The first error in the socket's error queue, from the network or from a local check of the size."""
    with contextlib.suppress(OSError):
        _, controls, _, _ = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        return _read_error(controls)
    return None


def _read_error(controls: list[tuple[int, int, bytes]]) -> dict[str, Any] | None:
    if controls:
        for level, kind, data in controls:
            if (level, kind) not in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                continue
            number, origin, type_, code, _, info, _ = _EXTENDED_ERROR.unpack_from(data)
            told = {"error": errno.errorcode.get(number, str(number)), "type": type_, "code": code}
            if number == errno.EMSGSIZE:
                told["mtu"] = info
            told["by"] = _offender(data[_EXTENDED_ERROR.size :]) if origin in (2, 3) else "this namespace"
            return told
    return None


def _offender(sockaddr: bytes) -> str:
    family = int.from_bytes(sockaddr[:2], "little") if len(sockaddr) >= 8 else 0
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, sockaddr[4:8])
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return socket.inet_ntop(socket.AF_INET6, sockaddr[8:24])
    return ""


def largest(target: Target, low: int, high: int) -> int:
    """The largest payload between *low* (known to pass) and *high* (known to fail) that passes; UDP or ICMP, bytes.

    Binary search; each size gets one packet and a repeat, *timeout* seconds in all.
    """
    while high - low > 1:
        middle = (low + high) // 2
        nonce = os.urandom(8).hex()
        if send(target._replace(length=middle, nonce=nonce, attempts=2))["delivered"]:
            low = middle
        else:
            high = middle
    return low
