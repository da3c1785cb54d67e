"""Links that a plan names: vxlan and bridge devices whose names begin with our prefix.

MTU and MAC are changed in place. A link with other parameters (VNI, port, underlay) is deleted and made anew; see
:class:`~podwire.drivers.kernel.Kernel` for what happens to that which stood on it. A link that is down, or set up
unlike any of ours, is not what was planned and is therefore not observed, so that it is put again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence

from podwire.drivers import offload
from podwire.drivers.elements import GONE, Task, all_links, carry_out, failure, missing, ours
from podwire.drivers.netlink import link, vxlan
from podwire.drivers.netlink.link import LinkInfo
from podwire.drivers.netlink.socket import NetlinkSocket, SocketPool
from podwire.model.errors import KernelError
from podwire.model.intent import Failure, Wanted
from podwire.model.kernel import Link, Value

_KINDS = ("vxlan", "bridge")


class PlannedLinks:
    """The vxlan and bridge links of the pool's namespace."""

    def __init__(self, pool: SocketPool, *, ipv6: bool) -> None:
        self._pool = pool
        self._mode = link.ADDR_GEN_MODE_NONE if ipv6 else None

    def observe(self) -> Iterable[Value]:
        """Those that are ours, up, and set up as ours are."""
        with self._pool.socket() as sock:
            return [value for value, info in self._found(sock) if info.up]

    def _found(self, sock: NetlinkSocket) -> list[tuple[Link, LinkInfo]]:
        links = all_links(sock)
        names = {index: info.name for index, info in links.items()}
        return [
            (value, info)
            for info in links.values()
            if ours(info) and info.kind in _KINDS and (value := _value(info, names)) is not None
        ]

    def to_replace(self, wanted: Sequence[Wanted]) -> set[str]:
        """Names of those that exist but cannot be changed in place into what is wanted."""
        if not wanted:
            return set()
        with self._pool.socket() as sock:
            there = {info.name for info in all_links(sock).values()}
            known = {value.name: value for value, _ in self._found(sock)}
        names = set()
        for element in wanted:
            value = element.value
            assert isinstance(value, Link)
            if value.name in there and not _changeable(known.get(value.name), value):
                names.add(value.name)
        return names

    def put(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Create, change in place, or replace; the link is up afterwards."""
        failures = []
        with self._pool.socket() as sock:
            for element in wanted:
                assert isinstance(element.value, Link)
                try:
                    self._put(sock, element.value)
                except KernelError as error:
                    failures.append(failure("put", element.value, element.cause, error.errno, _why(error)))
        return failures

    def _put(self, sock: NetlinkSocket, value: Link) -> None:
        if value.type not in _KINDS or not value.name.startswith("pw"):
            raise KernelError(f"make a link {value.name} of type {value.type}", errno.EINVAL, "it is none of a plan's")
        links = all_links(sock)
        by_name = {info.name: info for info in links.values()}
        known = by_name.get(value.name)
        if known and not _changeable(_value(known, {i: info.name for i, info in links.items()}), value):
            sock.run(link.delete(known.index), f"delete {value.name}")
            known = None
        if known is None:
            sock.run(link.create(value.name, value.type, value.mac, value.mtu, _data(value, by_name)), "create it")
            message = sock.get(link.get(value.name), f"look for {value.name}")
            if message is None:
                raise KernelError(f"create {value.name}", errno.ENODEV, "somebody deleted it at once")
            known = link.decode(message)
            if value.type == "vxlan":
                offload.avoid_checksum_bug(self._pool.netns, value.name)
        steps = [
            # First no link-local address, then up: the other way round the kernel makes one.
            (link.configure(known.index, addr_gen_mode=self._mode), "set its IPv6 mode"),
            (link.configure(known.index, up=True), "set it up"),
        ]
        if known.mac != value.mac:
            steps.insert(0, (link.configure(known.index, mac=value.mac), f"set its MAC to {value.mac}"))
        if known.mtu != value.mtu:
            detail = f"set its MTU to {value.mtu} (a vxlan device must fit its underlay, less the overhead)"
            steps.insert(0, (link.configure(known.index, mtu=value.mtu), detail))
        for request, what in steps:
            sock.run(request, what)

    def drop(self, values: Sequence[Value]) -> list[Failure]:
        """Delete each, with all that stands on it."""
        with self._pool.socket() as sock:
            by_name = {info.name: info for info in all_links(sock).values() if ours(info)}
            tasks = []
            for value in values:
                assert isinstance(value, Link)
                known = by_name.get(value.name)
                tasks.append(Task(value, None, link.delete(known.index) if known else None, missing(value.name)))
            return carry_out(sock, "drop", tasks, GONE)


def _why(error: KernelError) -> str:
    """What failed and the kernel's sentence, without the errno, which the failure tells anyway."""
    return ": ".join(part for part in error.message.split(": ") if part != errno.errorcode.get(error.errno))


def _data(value: Link, links: Mapping[str, LinkInfo]) -> list[bytes]:
    if value.vxlan is None:
        return []
    underlay = value.vxlan.underlay
    if underlay is None:
        return vxlan.encode(value.vxlan, 0)
    if underlay not in links:
        raise KernelError(f"put {value.name} on {underlay}", errno.ENODEV, missing(underlay))
    return vxlan.encode(value.vxlan, links[underlay].index)


def _value(info: LinkInfo, names: Mapping[int, str]) -> Link | None:
    """The link as a value; None when it is unlike any of ours."""
    if info.kind == "bridge":
        return Link(info.name, "bridge", info.mtu, info.mac)
    parameters = vxlan.decode(info.data, names) if info.kind == "vxlan" else None
    return Link(info.name, "vxlan", info.mtu, info.mac, parameters) if parameters else None


def _changeable(known: Link | None, value: Link) -> bool:
    return known is not None and known.type == value.type and known.vxlan == value.vxlan
