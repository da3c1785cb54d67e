"""Tells at once when somebody else changed what we care about, so that the agent heals and plans anew.

The kernel notifies of every change, ours included, and a busy node makes thousands a second. So three filters stand
between: a socket filter in the kernel drops news of pods' host ends coming and going up; what our own sockets caused
is recognised by its port; and what remains is reported as one of two words, :data:`UNDERLAY` (the node's own network:
find the underlays again) or :data:`OURS` (objects of ours: observe and heal), gathered over a moment.

It only hints. A notification may be lost, and then the periodic resync finds the change.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, TypeAlias

from podwire.drivers import bpf, netns
from podwire.drivers.elements import FIRST_HOST_INDEX, all_links
from podwire.drivers.netlink import address, link, neighbour, route
from podwire.drivers.netlink.link import LinkInfo
from podwire.drivers.netlink.route import RouteInfo
from podwire.drivers.netlink.socket import NETLINK_NETFILTER, NetlinkSocket, Overrun, is_own_port
from podwire.drivers.netlink.wire import Message, attributes
from podwire.model.errors import KernelError
from podwire.model.kernel import LINK_PREFIX, REAPER_GROUP, ROUTE_PROTOCOL

Hint: TypeAlias = Literal["underlay", "ours"]
LinkState: TypeAlias = tuple[object, ...]
UNDERLAY: Hint = "underlay"
OURS: Hint = "ours"

_LOG = logging.getLogger(__name__)
# RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
_ROUTE_GROUPS = (1, 3, 5, 7, 9, 11)
_NFNLGRP_NFTABLES = 7
_NFT_NEWGEN = 10 << 8 | 15
_NFTA_GEN_PROC_PID = 2
_GATHER_MS = 20
_GATHER_AT_MOST = 0.2


class Monitor:
    """Calls *on_change* from a thread of its own with what changed in the namespace of the thread that makes it."""

    def __init__(self, on_change: Callable[[frozenset[Hint]], None]) -> None:
        self._on_change = on_change
        self._home = netns.current()
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)
        self._route = NetlinkSocket(groups=_ROUTE_GROUPS)
        bpf.attach(self._route, bpf.without_host_ends())
        self._sockets = [self._route]
        with NetlinkSocket() as sock:  # after the subscription, so that no change falls between
            self._known = {index: _state(info) for index, info in all_links(sock).items()}
        try:
            self._sockets.append(NetlinkSocket(NETLINK_NETFILTER, groups=(_NFNLGRP_NFTABLES,)))
        except KernelError as error:  # no nf_tables: then nothing of it can change
            _LOG.info("not watching nftables: %s", error)
        self._thread = threading.Thread(target=self._work, name="podwire-monitor", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching; no call of *on_change* happens after this returns."""
        os.write(self._stop_write, b"x")
        if self._thread.ident is not None:
            self._thread.join()
        for sock in self._sockets:
            sock.close()
        for fd in (self._stop_read, self._stop_write, self._home):
            os.close(fd)

    def _work(self) -> None:
        poll = select.poll()
        for fd in (self._stop_read, *(sock.fileno() for sock in self._sockets)):
            poll.register(fd, select.POLLIN)
        gathered: set[Hint] = set()
        since = 0.0
        while True:
            ready = {fd for fd, _ in poll.poll(_GATHER_MS if gathered else None)}
            if self._stop_read in ready:
                return
            news = {hint for sock in self._sockets if sock.fileno() in ready for hint in self._read(sock)}
            if news and not gathered:
                since = time.monotonic()
            gathered |= news
            if gathered and (not ready or time.monotonic() - since > _GATHER_AT_MOST):
                self._report(frozenset(gathered))
                gathered.clear()

    def _read(self, sock: NetlinkSocket) -> set[Hint]:
        try:
            messages = sock.notifications()
        except Overrun:
            return {UNDERLAY, OURS}
        except KernelError as error:
            _LOG.warning("watching the kernel: %s", error)
            return {UNDERLAY, OURS}
        hint = self._route_hint if sock is self._route else _nft_hint
        return {found for message in messages if (found := hint(message)) is not None}

    def _report(self, hints: frozenset[Hint]) -> None:
        try:
            self._on_change(hints)
        except Exception:  # the watcher outlives a fault of the one who listens
            _LOG.exception("the listener for changes of the kernel failed")

    def _route_hint(self, message: Message) -> Hint | None:
        if is_own_port(message.port):
            return None
        if message.type in (link.RTM_NEWLINK, link.RTM_DELLINK):
            return self._changed_link(message)
        if message.type in (route.RTM_NEWROUTE, route.RTM_DELROUTE):
            return self._changed_route(route.decode(message))
        if message.type in (address.RTM_NEWADDR, address.RTM_DELADDR):
            return OURS if self._is_ours(address.decode(message).index) else UNDERLAY
        if message.type in (neighbour.RTM_NEWNEIGH, neighbour.RTM_DELNEIGH):
            info = neighbour.decode(message)
            # What vxlan tells of its FDB bears no port, so our own additions would come back as news.
            lost_fdb = info.fdb and message.type == neighbour.RTM_DELNEIGH and self._is_ours(info.index)
            return OURS if lost_fdb or info.protocol == ROUTE_PROTOCOL else None
        return None

    def _changed_link(self, message: Message) -> Hint | None:
        info = link.decode(message)
        if message.type == link.RTM_DELLINK:
            self._known.pop(info.index, None)
            if info.group == REAPER_GROUP:
                return None
        else:
            state = _state(info)
            if self._known.get(info.index) == state:
                return None
            self._known[info.index] = state
        return OURS if info.name.startswith(LINK_PREFIX) else UNDERLAY

    def _changed_route(self, info: RouteInfo) -> Hint | None:
        if info.protocol == ROUTE_PROTOCOL:
            return OURS
        # What the kernel adds for each address and each device follows from them, and they are told too.
        derived = info.cloned or info.table == route.LOCAL_TABLE or info.index >= FIRST_HOST_INDEX
        return None if derived or (info.index and self._is_ours(info.index)) else UNDERLAY

    def _is_ours(self, index: int) -> bool:
        with suppress(OSError), netns.entered(self._home):
            return socket.if_indextoname(index).startswith(LINK_PREFIX)
        return True  # it is gone already: look at ours, which costs least


def _state(info: LinkInfo) -> LinkState:
    """What of a link matters to a plan or a driver; the kernel tells of much else (users, carrier, queues)."""
    parameters = tuple(sorted(info.data.items())) if info.kind == "vxlan" else ()
    return info.name, info.up, info.mtu, info.mac, parameters


def _nft_hint(message: Message) -> Hint | None:
    """A new generation of the ruleset that another process made. In another PID namespace than the kernel's first
    one we do not know our own number there, and take our own changes for somebody else's: one look too many."""
    if message.type != _NFT_NEWGEN:
        return None
    process = attributes(message.body, 4).get(_NFTA_GEN_PROC_PID, b"")
    return None if int.from_bytes(process, "big") == os.getpid() else OURS
