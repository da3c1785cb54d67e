"""Neighbours of ours (by NDA_PROTOCOL), and the forwarding entries (FDB) of our vxlan links."""

from __future__ import annotations

from collections.abc import Iterable

from podwire.drivers.elements import OnLink, all_links, ours
from podwire.drivers.netlink import link, neighbour
from podwire.drivers.netlink.link import LinkInfo
from podwire.drivers.netlink.wire import Request
from podwire.model.kernel import ROUTE_PROTOCOL, Fdb, Neighbour, Value

_GROUP_BIT = 0x01


class Neighbours(OnLink[Neighbour]):
    """Permanent neighbours, both families. A put also replaces what the kernel had learned."""

    def observe(self) -> Iterable[Value]:
        """Ours that are permanent; one that was made temporary is not what was planned, hence not there."""
        with self._pool.socket() as sock:
            names = {index: info.name for index, info in all_links(sock).items()}
            found = [
                neighbour.decode(message)
                for version in (4, 6)
                for message in sock.dump(neighbour.dump(version), "list neighbours")
            ]
        return [
            Neighbour(names[info.index], info.address, info.mac)
            for info in found
            if info.permanent and info.protocol == ROUTE_PROTOCOL and info.address and info.index in names
        ]

    def _put(self, index: int, value: Neighbour) -> Request:
        return neighbour.put(index, value.address, value.mac)

    def _drop(self, index: int, value: Neighbour) -> Request:
        return neighbour.remove(index, value.address)


class ForwardingEntries(OnLink[Fdb]):
    """Static entries of vxlan links whose names are ours."""

    def observe(self) -> Iterable[Value]:
        """Unicast entries with a destination; entries of the kernel's own (multicast, default) are not ours."""
        with self._pool.socket() as sock:
            vxlans = [link.decode(message) for message in sock.dump(link.dump("vxlan"), "list vxlan links")]
            return [
                Fdb(device.name, info.mac, info.address)
                for device in vxlans
                if device.kind == "vxlan" and ours(device)
                for info in map(neighbour.decode, sock.dump(neighbour.dump_fdb(device.index), "list the FDB"))
                if info.index == device.index and info.address and _unicast(info.mac)
            ]

    def _unfit(self, found: LinkInfo) -> str:
        # The kernel would take it for one more MAC address to receive.
        return "" if found.kind == "vxlan" else f"link {found.name} is no vxlan device"

    def _put(self, index: int, value: Fdb) -> Request:
        return neighbour.put_fdb(index, value.mac, value.dst)

    def _drop(self, index: int, value: Fdb) -> Request:
        return neighbour.remove_fdb(index, value.mac)


def _unicast(mac: str) -> bool:
    first = int(mac[:2], 16) if mac else _GROUP_BIT
    return not first & _GROUP_BIT and mac != "00:00:00:00:00:00"
