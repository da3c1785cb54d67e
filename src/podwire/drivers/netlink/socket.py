"""Sockets that speak netlink: batches of requests, dumps, notifications.

A batch is one send. The kernel carries out its messages in order, goes on after a refusal, and always tells refusals;
so only the last message of a send asks for an acknowledgement, which marks the end.

A socket belongs to one thread at a time (:class:`SocketPool` sees to it) and to the network namespace in which it was
opened, whatever the thread does afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from podwire.drivers import netns as namespaces
from podwire.drivers.netlink import wire
from podwire.drivers.netlink.wire import Message, Request
from podwire.model.errors import KernelError, NotSupported

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

_SOL_NETLINK = 270
_ADD_MEMBERSHIP, _CAP_ACK, _EXT_ACK, _STRICT = 1, 10, 11, 12
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_RECEIVE_BUFFER = 2 * 1024 * 1024
"""Holds a refusal for each message of the largest batch (about 1 kB each, as the kernel accounts)."""
_SEND_BUFFER = 256 * 1024
_BATCH_BYTES = 128 * 1024
_BATCH_MESSAGES = 1000
_DATAGRAM = 64 * 1024
"""The kernel fills at most 32 KiB of a dump at a time; no single object of ours comes near it."""
_TIMEOUT = 10
_DUMP_ATTEMPTS = 12


class Refusal(NamedTuple):
    """The kernel refused request number *place* of a batch; *detail* is its own sentence, or empty."""

    place: int
    errno: int
    detail: str


class Overrun(Exception):
    """Notifications were lost because they came faster than they were read: look at everything anew."""


def refused(operation: str, number: int, detail: str = "", *, remedy: str = "") -> KernelError:
    """The error for a refusal: NotSupported where the errno says so."""
    kind = NotSupported if number in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT) else KernelError
    if number == errno.EPERM and not remedy:
        remedy = "run as root (CAP_NET_ADMIN)"
    return kind(operation, number, detail, remedy=remedy)


_own_ports: set[int] = set()


def is_own_port(port: int) -> bool:
    """Whether *port* is that of a socket of this process, so that a notification tells what we did ourselves.

    Sockets in different namespaces may share a number; it is then somebody else's change that goes unnoticed.
    """
    return port in _own_ports


class NetlinkSocket:
    """A netlink socket of *protocol* in the namespace of descriptor *netns* (default: the calling thread's).

    *groups* are multicast groups to listen to (RTNLGRP_* or NFNLGRP_* numbers).
    """

    def __init__(self, protocol: int = NETLINK_ROUTE, *, groups: Sequence[int] = (), netns: int | None = None) -> None:
        self._buffer = bytearray(_DATAGRAM)
        self._seq = 0
        self.clean = True
        """False while answers of a request are outstanding: an exception then leaves the socket unusable."""
        with namespaces.entered(netns) if netns is not None else contextlib.nullcontext():
            self._socket = _open(protocol)
        try:
            self._set_up(groups)
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[0]
        _own_ports.add(self.port)

    def _set_up(self, groups: Sequence[int]) -> None:
        sock = self._socket
        sock.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        sock.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        with contextlib.suppress(OSError):  # before Linux 4.20; filters are then applied by our decoders alone
            sock.setsockopt(_SOL_NETLINK, _STRICT, 1)
        for forced, plain, size in (
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER),
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BUFFER),
        ):
            try:
                sock.setsockopt(socket.SOL_SOCKET, forced, size)
            except PermissionError:
                sock.setsockopt(socket.SOL_SOCKET, plain, size)
        if not groups:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _TIMEOUT, 0))
        sock.bind((0, 0))
        for group in groups:
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        """The descriptor, for select and poll."""
        return self._socket.fileno()

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Pass an option on to the socket (filters)."""
        self._socket.setsockopt(level, option, value)

    def execute(self, requests: Sequence[Request]) -> list[Refusal]:
        """Carry out *requests* in order, in as few sends as their size allows; return those refused."""
        refusals: list[Refusal] = []
        start = 0
        while start < len(requests):
            start = self._send_batch(requests, start, refusals)
        return refusals

    def _send_batch(self, requests: Sequence[Request], start: int, refusals: list[Refusal]) -> int:
        first = self._seq + 1
        parts: list[bytes] = []
        size = 0
        index = start
        limit = min(len(requests), start + _BATCH_MESSAGES)
        while index < limit and (not parts or size + len(requests[index].body) + 32 < _BATCH_BYTES):
            parts.append(wire.pack(requests[index], first + index - start))
            size += len(parts[-1])
            index += 1
        last = first + index - start - 1
        parts[-1] = wire.pack(requests[index - 1], last, wire.NLM_F_ACK)
        self._seq = last
        self._send(b"".join(parts))
        while not self.clean:
            for message in self._receive():
                if message.type != wire.NLMSG_ERROR or not first <= message.seq <= last:
                    continue
                number, detail = wire.verdict(message)
                if number:
                    refusals.append(Refusal(start + message.seq - first, number, detail))
                if message.seq == last:
                    self.clean = True
        return index

    def run(self, request: Request, operation: str) -> None:
        """Carry out one request; KernelError, which names *operation*, when it is refused."""
        for refusal in self.execute((request,)):
            raise refused(operation, refusal.errno, refusal.detail)

    def get(self, request: Request, operation: str) -> Message | None:
        """The one message that answers *request*; None when the kernel says that there is no such thing (or route)."""
        self._seq += 1
        self._send(wire.pack(request, self._seq))
        while True:
            for message in self._receive():
                if message.seq != self._seq:
                    continue
                self.clean = True
                if message.type != wire.NLMSG_ERROR:
                    return message
                number, detail = wire.verdict(message)
                if number in (errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.ENETUNREACH):
                    return None
                raise refused(operation, number, detail)

    def dump(self, request: Request, operation: str) -> list[Message]:
        """All messages that answer *request*, as of one moment: a dump that a change interrupts is taken again."""
        for attempt in range(_DUMP_ATTEMPTS):
            messages, interrupted = self._dump(request, operation)
            if not interrupted:
                return messages
            time.sleep(0.0005 * 2 ** min(attempt, 6))
        raise KernelError(operation, errno.EINTR, "the list kept changing while it was read", remedy="try again")

    def _dump(self, request: Request, operation: str) -> tuple[list[Message], bool]:
        self._seq += 1
        self._send(wire.pack(request, self._seq, wire.NLM_F_DUMP))
        messages: list[Message] = []
        interrupted = False
        while not self.clean:
            for message in self._receive():
                if message.seq != self._seq:
                    continue
                interrupted = interrupted or bool(message.flags & wire.NLM_F_DUMP_INTR)
                if message.type in (wire.NLMSG_ERROR, wire.NLMSG_DONE):
                    self.clean = True
                    number, detail = wire.verdict(message)
                    if number:
                        raise refused(operation, number, detail)
                else:
                    messages.append(message)
        return messages, interrupted

    def notifications(self) -> list[Message]:
        """Block for one datagram of notifications. Raises :class:`Overrun` when some were lost."""
        try:
            return list(self._receive())
        except KernelError as error:
            if error.errno == errno.ENOBUFS:
                raise Overrun from error
            raise

    def _send(self, data: bytes) -> None:
        if not self.clean:
            raise KernelError("use a netlink socket", errno.EBUSY, "an earlier request was left unanswered")
        try:
            self._socket.send(data)
        except OSError as error:
            raise KernelError("send to netlink", error.errno or 0) from error
        self.clean = False

    def _receive(self) -> Iterator[Message]:
        try:
            length = self._socket.recv_into(self._buffer, 0, socket.MSG_TRUNC)
        except BlockingIOError as error:
            raise KernelError("wait for netlink", errno.ETIMEDOUT, f"no answer within {_TIMEOUT} s") from error
        except OSError as error:
            raise KernelError("receive from netlink", error.errno or 0) from error
        if length > len(self._buffer):
            raise KernelError("receive from netlink", errno.EMSGSIZE, f"a datagram of {length} bytes")
        return wire.unpack(bytes(memoryview(self._buffer)[:length]))

    def close(self) -> None:
        """Release the descriptor."""
        _own_ports.discard(self.port)
        self._socket.close()

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(protocol: int) -> socket.socket:
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise refused(f"open a netlink socket of protocol {protocol}", error.errno or 0) from error


class SocketPool:
    """Sockets of one protocol in one network namespace, shared by threads: each exchange borrows one.

    The namespace is that of the thread that makes the pool, whichever threads use it later.
    """

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._protocol = protocol
        self.netns = namespaces.current()
        self._idle: list[NetlinkSocket] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def socket(self) -> Iterator[NetlinkSocket]:
        """Borrow a socket; one left in the middle of an exchange is thrown away."""
        with self._lock:
            if self._closed:
                raise KernelError("use netlink", errno.EBADF, "the driver is closed")
            sock = self._idle.pop() if self._idle else None
        if sock is None:
            sock = NetlinkSocket(self._protocol, netns=self.netns)
        try:
            yield sock
        finally:
            with self._lock:
                keep = sock.clean and not self._closed
                if keep:
                    self._idle.append(sock)
            if not keep:
                sock.close()

    def close(self) -> None:
        """Release all idle sockets; those on loan are released when they come back."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            idle, self._idle = self._idle, []
        for sock in idle:
            sock.close()
        os.close(self.netns)
