"""Capture packets in a network namespace: AF_PACKET, filtered in the kernel, with the kernel's own timestamps.

A packet socket hears everything from the moment it is opened. So it is opened for no protocol, given a filter that
lets nothing through, bound, and only then given the filter that was asked for: no stray packet ever gets in.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import msgspec

from podwire.drivers import bpf, netns
from podwire.model.addresses import IPAddress
from podwire.model.errors import KernelError

_libc = ctypes.CDLL(None, use_errno=True)
_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_OUTGOING = 4
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_BUFFER = 8 * 1024 * 1024
_ANCILLARY = socket.CMSG_SPACE(16) + 64
_TIMESPEC = struct.Struct("@qq")


class Packet(msgspec.Struct, frozen=True):
    """A packet as seen on *device*: *data* begins with the Ethernet header, *length* is that of the whole packet."""

    nanoseconds: int
    device: str
    outgoing: bool
    data: bytes
    length: int


class Capture:
    """Captures in the namespace of descriptor *namespace* (default: the calling thread's).

    *device* limits it to one interface; *hosts* and *ports* as in :func:`podwire.drivers.bpf.packets`; of each packet
    the first *snap_length* bytes are kept. The capture runs from the constructor on; packets wait in a buffer of the
    kernel (8 MiB) until they are read.
    """

    def __init__(
        self,
        namespace: int | None = None,
        *,
        device: str | None = None,
        hosts: Sequence[IPAddress] = (),
        ports: Sequence[int] = (),
        snap_length: int = 65535,
    ) -> None:
        self._buffer = bytearray(snap_length)
        self._dropped = 0
        with netns.entered(namespace) if namespace is not None else nullcontext():
            self._socket = _open(device)
        try:
            bpf.attach(self._socket, bpf.packets(hosts, ports))
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor, which polls readable when packets wait."""
        return self._socket.fileno()

    def read(self, timeout: float = 0.0, limit: int = 10_000) -> list[Packet]:
        """The packets that wait, *limit* at most; blocks up to *timeout* seconds for the first one."""
        if timeout and not select.select([self._socket], [], [], timeout)[0]:
            return []
        packets: list[Packet] = []
        while len(packets) < limit:
            packet = self._receive()
            if packet is None:
                break
            packets.append(packet)
        return packets

    def _receive(self) -> Packet | None:
        while True:
            try:
                length, ancillary, _, (device, _, kind, *_rest) = self._socket.recvmsg_into(
                    [self._buffer], _ANCILLARY, socket.MSG_DONTWAIT | socket.MSG_TRUNC
                )
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # told once when the device goes down; what was captured remains
                    continue
                raise KernelError("capture packets", error.errno or 0) from error
            moment = next((data for _, what, data in ancillary if what == _SO_TIMESTAMPNS), b"")
            seconds, rest = _TIMESPEC.unpack(moment) if len(moment) == _TIMESPEC.size else (0, 0)
            data = bytes(memoryview(self._buffer)[: min(length, len(self._buffer))])
            return Packet(seconds * 1_000_000_000 + rest, device, kind == _PACKET_OUTGOING, data, length)

    def dropped(self) -> int:
        """How many packets the kernel has dropped since the start because they were not read in time."""
        _, lost = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._dropped += lost  # reading resets the kernel's counter
        return self._dropped

    def close(self) -> None:
        """Stop."""
        self._socket.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(device: str | None) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except PermissionError as error:
        raise KernelError("open a packet socket", errno.EPERM, remedy="run as root (CAP_NET_RAW)") from error
    try:
        bpf.attach(sock, bpf.nothing())
        with suppress(PermissionError):  # without CAP_NET_ADMIN the default size has to do
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        _bind(sock, socket.if_nametoindex(device) if device else 0)
    except OSError as error:
        sock.close()
        where = f" on {device}" if device else ""
        # if_nametoindex knows but one error, and gives it no number.
        raise KernelError(f"capture packets{where}", error.errno or errno.ENODEV) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, index: int) -> None:
    """Listen on the device with ifindex *index*, 0 for all: Python's own bind insists on a device's name."""
    where = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(_ETH_P_ALL), index, 0, 0, 0, b"")
    if _libc.bind(sock.fileno(), where, len(where)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
