"""The checksum offload of vxlan devices, and the kernels on which it must be off.

Before Linux 5.7 a NAT rule that touched an encapsulated packet "updated" its absent outer UDP checksum (zero over
IPv4) when the inner one was left to the hardware; the receiver dropped the packet, and a connection hung for 63 s
until TCP gave up retrying. kube-proxy's masquerading sets this off. The kernel's cure is commit ea64d8d6c675,
"netfilter: nat: never update the UDP checksum when it's 0"; the cure for older ones is to compute checksums before
encapsulation, i.e. to turn the device's transmit offload off, which also costs segmentation offload, so only there.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import re
import socket
import struct

from podwire.drivers import netns
from podwire.model.errors import KernelError

_SIOCETHTOOL = 0x8946
_GET_TX_CHECKSUM, _SET_TX_CHECKSUM = 0x16, 0x17
_CURED_IN = (5, 7)


def needs_software_checksums(release: str) -> bool:
    """Whether kernel *release* (``uname -r``) has the bug. Stable releases have the cure earlier; off is safe there."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < _CURED_IN


def avoid_checksum_bug(home: int, ifname: str, release: str | None = None) -> None:
    """Turn the transmit checksum offload of *ifname* off where the kernel needs it (*release*: default, this one)."""
    if needs_software_checksums(release if release is not None else os.uname().release):
        with netns.entered(home):
            set_tx_checksum(ifname, False)


def set_tx_checksum(ifname: str, on: bool) -> None:
    """``ethtool -K IFNAME tx on|off`` in the calling thread's namespace."""
    _ethtool(ifname, _SET_TX_CHECKSUM, int(on))


def tx_checksum(ifname: str) -> bool:
    """Whether *ifname* leaves checksums to the device."""
    return bool(_ethtool(ifname, _GET_TX_CHECKSUM, 0))


def _ethtool(ifname: str, command: int, value: int) -> int:
    payload = array.array("I", (command, value))
    request = struct.pack("16sP", ifname.encode(), payload.buffer_info()[0])
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        try:
            fcntl.ioctl(sock, _SIOCETHTOOL, request)
        except OSError as error:
            raise KernelError(f"change the checksum offload of {ifname}", error.errno or 0) from error
    return payload[1]
