"""Addresses on links of ours."""

from __future__ import annotations

from collections.abc import Iterable

from podwire.drivers.elements import OnLink, all_links, ours
from podwire.drivers.netlink import address
from podwire.drivers.netlink.wire import Request
from podwire.model.kernel import Address, Value


class Addresses(OnLink[Address]):
    """Both families. Those that the kernel gave our links by itself are not ours."""

    def observe(self) -> Iterable[Value]:
        """Those on our links; one that duplicate address detection holds back is not there yet."""
        with self._pool.socket() as sock:
            names = {index: info.name for index, info in all_links(sock).items() if ours(info)}
            found = [
                address.decode(message)
                for version in ((4, 6) if names else ())
                for message in sock.dump(address.dump(version), "list addresses")
            ]
        return [
            Address(names[info.index], info.address)
            for info in found
            if info.index in names and not info.kernel_made and info.usable
        ]

    def _put(self, index: int, value: Address) -> Request:
        return address.put(index, value.address)

    def _drop(self, index: int, value: Address) -> Request:
        return address.remove(index, value.address)
