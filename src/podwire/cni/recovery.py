"""What the agent does with attachments beside the verbs: take up a former life's, and put strays away.

Host ends of ours that the store does not know are **unknown** at the start. They come of a store that was damaged, so
they may belong to live pods: nothing of them is removed before :func:`adopt` has settled what they are.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

import msgspec

from podwire.cni.keeper import Keeper
from podwire.ipam.rebuild import Orphan
from podwire.ipam.store import StoreState
from podwire.model.addresses import IPAddress
from podwire.model.attachment import Attachment
from podwire.model.errors import AddressInUse, PodwireError
from podwire.reconcile.driver import HostLink

_LOG = logging.getLogger(__name__)


class Recovery(msgspec.Struct, frozen=True):
    """What was found at the start.

    *undone*: attachments that an ADD had not finished. *vanished*: attachments whose link is gone; their addresses
    stay taken until DEL or GC. *disputed*: attachments left out because another one has their address. *unknown*: host
    ends without an attachment. *damaged*: empty, or what the store says about damage that it found.
    """

    undone: tuple[Attachment, ...] = ()
    vanished: tuple[Attachment, ...] = ()
    disputed: tuple[Attachment, ...] = ()
    unknown: tuple[HostLink, ...] = ()
    damaged: str = ""

    @property
    def complete(self) -> bool:
        """Whether every host end is accounted for."""
        return not (self.unknown or self.damaged)


async def recover(keeper: Keeper) -> Recovery:
    """Read the store and undo what was half done. Nobody is told: the first plan is made from what is known then."""
    state, links = await keeper.blocking(lambda: (keeper.store.load(), keeper.wirer.host_links()))
    disputed = _take_up(keeper, state)
    keeper.allocator.restore_cooling(state.cooling)
    undone = [found for found in state.attachments.values() if found.state != "ready"]
    for attachment in undone:
        try:
            await keeper.undo(attachment)
        except PodwireError as error:  # its addresses stay in quarantine while its link stands
            _LOG.error("cannot undo the unfinished attachment of %s: %s", attachment.owner, error)
        keeper.reaping.add(attachment.key.host_ifname, _unclaimed(keeper, attachment))
    recorded = {key.host_ifname for key in state.attachments}
    present = {link.name for link in links if not link.reaping}
    return Recovery(
        undone=tuple(undone),
        vanished=tuple(found for found in keeper.known.values() if found.key.host_ifname not in present),
        disputed=tuple(disputed),
        unknown=tuple(link for link in links if not link.reaping and link.name not in recorded),
        damaged=state.recovered,
    )


def _take_up(keeper: Keeper, state: StoreState) -> list[Attachment]:
    """Know the finished attachments; those whose address is taken are returned."""
    disputed = []
    for attachment in sorted(state.attachments.values(), key=lambda found: found.created_at):
        if attachment.state != "ready":
            continue
        try:
            keeper.allocator.hold(attachment.ips, attachment.owner)
        except AddressInUse as error:
            _LOG.error("%s is left out: %s", attachment.key, error)
            disputed.append(attachment)
        else:
            keeper.known[attachment.key] = attachment
    return disputed


def _unclaimed(keeper: Keeper, attachment: Attachment) -> list[IPAddress]:
    """Its addresses, but for those that went to another attachment because undoing this one had failed."""
    return [addr for addr in attachment.ips if keeper.allocator.owner(addr) is None]


async def adopt(keeper: Keeper, attachments: Collection[Attachment], orphans: Collection[Orphan]) -> None:
    """Take in what was rebuilt from the kernel and the running pods after a store was damaged.

    An orphan's addresses stay taken until a DEL or ADD comes for its host end, or until it is swept.
    """
    for attachment in attachments:
        async with keeper.exclusively(attachment.key):
            if attachment.key in keeper.known:
                continue
            try:
                keeper.allocator.hold(attachment.ips, attachment.owner)
            except AddressInUse as error:
                _LOG.error("%s is left out: %s", attachment.key, error)
                continue
            await keeper.blocking(keeper.store.put, attachment)
            keeper.announce(attachment)
    for orphan in orphans:
        free = tuple(addr for addr in orphan.addresses if keeper.allocator.owner(addr) is None)
        keeper.allocator.hold(free, orphan.owner)
        keeper.orphans[orphan.host_ifname] = Orphan(orphan.host_ifname, free, orphan.owner)


async def strays(keeper: Keeper, *, remove: bool) -> list[HostLink]:
    """Host ends of ours that belong to no attachment and no orphan; with *remove*, they are taken away."""
    links = await keeper.blocking(keeper.wirer.host_links)
    found = [link for link in links if not link.reaping and _is_stray(keeper, link.name)]
    for link in found if remove else ():
        async with keeper.locks.held(link.name):
            if _is_stray(keeper, link.name):
                await keeper.remove_unknown(link.name)
    return found


def _is_stray(keeper: Keeper, name: str) -> bool:
    expected = {key.host_ifname for key in keeper.known} | keeper.orphans.keys() | keeper.busy.keys()
    return name not in expected
