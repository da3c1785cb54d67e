"""The node's attachments on fakes: each verb, repeated, out of order, at once, and refused at every step."""

from __future__ import annotations

import asyncio
import errno
import itertools
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from podwire.cni import codes
from podwire.cni.attachments import GcReport, PodContext
from podwire.cni.request import GcRequest, StatusRequest
from podwire.cni.result import Result
from podwire.ipam.rebuild import Orphan
from podwire.model.attachment import AttachmentKey, PodRef
from podwire.model.errors import AddressInUse, CniError, KernelError, NotInPool, PodwireError, PoolExhausted, StoreError
from podwire.plan.wiring import pod_wiring
from tests.support.cni import add_request, check_request, del_request, fake_node

NETNS = 7


async def test_add_wires_stores_and_tells() -> None:
    async with fake_node() as node:
        attachment = await node.attachments.add(add_request(), NETNS)
        assert [str(addr) for addr in attachment.ips] == ["10.244.1.2"]
        assert (attachment.state, attachment.mtu, attachment.created_at) == ("ready", 1450, 1000.0)
        assert node.attachments.snapshot() == {attachment.key: attachment}
        told = [(change.key, change.attachment and change.attachment.state) for change in node.changes]
        assert told == [(attachment.key, "allocated"), (attachment.key, "ready")]
        assert node.wirer.inspect(pod_wiring(attachment), NETNS) == []
        assert node.attachments.busy == frozenset()
        assert node.problems() == []


async def test_add_gives_an_address_of_each_family() -> None:
    async with fake_node(pools=("10.244.1.0/24", "fd00:10:244:1::/64")) as node:
        attachment = await node.attachments.add(add_request(), NETNS)
        assert sorted(addr.version for addr in attachment.ips) == [4, 6]
        assert all(iface.network.num_addresses == 1 for iface in attachment.addresses)


async def test_add_repeated_answers_the_same_and_changes_nothing() -> None:
    async with fake_node() as node:
        first = await node.attachments.add(add_request(), NETNS)
        writes, told = node.store.writes, len(node.changes)
        assert await node.attachments.add(add_request(), NETNS) == first
        assert (node.store.writes, len(node.changes)) == (writes, told)


async def test_add_repeated_repairs_with_the_same_address() -> None:
    async with fake_node() as node:
        first = await node.attachments.add(add_request(), NETNS)
        node.kernel.objects.clear()
        again = await node.attachments.add(add_request(), NETNS)
        assert again.addresses == first.addresses and again.mac == first.mac
        assert node.problems() == []


async def test_add_for_another_namespace_starts_anew() -> None:
    async with fake_node() as node:
        first = await node.attachments.add(add_request(), NETNS)
        second = await node.attachments.add(add_request(), NETNS + 1)
        assert second.netns_inode == NETNS + 1
        assert not set(first.ips) & set(second.ips)
        await node.settled()
        assert node.problems() == []


async def test_add_repeated_with_another_wish_starts_anew() -> None:
    async with fake_node() as node:
        await node.attachments.add(add_request(), NETNS)
        wish = add_request(ips=(ip_address("10.244.1.50"),), mac="02:00:00:00:00:07")
        second = await node.attachments.add(wish, NETNS)
        assert (str(second.ips[0]), second.mac) == ("10.244.1.50", "02:00:00:00:00:07")
        await node.settled()
        assert node.problems() == []


async def test_requested_addresses_are_honoured_or_refused_by_name() -> None:
    async with fake_node() as node:
        await node.attachments.add(add_request("c1", ips=(ip_address("10.244.1.50"),)), 1)
        with pytest.raises(AddressInUse, match=r"default/web-0"):
            await node.attachments.add(add_request("c2", "other", ips=(ip_address("10.244.1.50"),)), 2)
        with pytest.raises(NotInPool, match=r"10\.244\.1\.0/24"):
            await node.attachments.add(add_request("c2", "other", ips=(ip_address("10.9.9.9"),)), 2)
        assert node.problems() == []


async def test_a_full_pool_says_who_holds_it_and_what_to_do() -> None:
    async with fake_node(pools=("10.244.1.0/29",)) as node:
        for number in range(5):
            await node.attachments.add(add_request(f"c{number}", f"web-{number}"), number)
        with pytest.raises(PoolExhausted) as caught:
            await node.attachments.add(add_request("c9", "late"), 9)
        assert "10.244.1.0/29" in caught.value.message and "default (5)" in caught.value.message
        assert caught.value.remedy
        assert node.problems() == []


async def test_del_frees_the_address_once_the_link_is_gone_and_it_has_cooled() -> None:
    async with fake_node(reaping_at_once=False, cooldown=30) as node:
        first = await node.attachments.add(add_request(), NETNS)
        wish = add_request("c2", "other", ips=first.ips)
        assert await node.attachments.delete(del_request()) == first
        assert node.attachments.snapshot() == {} and node.changes[-1].attachment is None
        assert node.attachments.usage()[0].quarantined == 1
        node.now += 1000  # no time makes up for a link that still stands
        with pytest.raises(AddressInUse, match="taken down"):
            await node.attachments.add(wish, 8)
        node.wirer.reap()
        await node.settled()
        with pytest.raises(AddressInUse, match="cools down"):
            await node.attachments.add(wish, 8)
        node.now += 30
        assert (await node.attachments.add(wish, 8)).ips == first.ips
        assert node.problems() == []


async def test_del_of_what_is_not_there_succeeds_and_removes_a_leftover_link() -> None:
    async with fake_node() as node:
        assert await node.attachments.delete(del_request()) is None
        attachment = await node.attachments.add(add_request(), NETNS)
        node.attachments._keeper.known.clear()  # as after the loss of the store
        assert await node.attachments.delete(del_request()) is None
        assert node.wirer.reaped(attachment.key.host_ifname)


async def test_a_spooled_del_does_not_touch_a_later_add() -> None:
    async with fake_node() as node:
        attachment = await node.attachments.add(add_request(), NETNS)
        assert await node.attachments.delete(del_request(asked_at=node.now - 1)) is None
        assert node.attachments.snapshot() == {attachment.key: attachment}
        assert await node.attachments.delete(del_request(asked_at=node.now + 1)) == attachment


async def test_add_after_del_takes_over_the_name_of_a_link_that_is_still_going() -> None:
    async with fake_node(reaping_at_once=False) as node:
        await node.attachments.add(add_request(), NETNS)
        await node.attachments.delete(del_request())
        await node.attachments.add(add_request(), NETNS + 1)
        await node.settled()  # the new link has the name, so the old one's address may rest
        assert node.problems() == []


@pytest.mark.parametrize("netns", [None, 99])
async def test_a_vanished_namespace(netns: int | None) -> None:
    async with fake_node() as node:
        node.wirer.gone.add(99)
        with pytest.raises(PodwireError) as caught:
            await node.attachments.add(add_request(), netns)
        assert codes.as_cni_error(caught.value).code == codes.UNKNOWN_CONTAINER
        assert node.attachments.snapshot() == {}
        await node.settled()
        assert node.problems() == []


async def test_code_3_is_not_said_while_something_is_held() -> None:
    async with fake_node() as node:
        attachment = await node.attachments.add(add_request(), NETNS)
        with pytest.raises(CniError, match="CNI_NETNS") as caught:
            await node.attachments.add(add_request(), None)
        assert caught.value.code == codes.INVALID_ENVIRONMENT
        assert node.attachments.snapshot() == {attachment.key: attachment}


async def test_the_nodes_own_namespace_is_refused() -> None:
    async with fake_node() as node:
        own = Path("/proc/self/ns/net").stat().st_ino
        with pytest.raises(CniError, match="node's own") as caught:
            await node.attachments.add(add_request(), own)
        assert caught.value.code == codes.INVALID_ENVIRONMENT


async def test_an_interface_that_exists_is_refused_by_name() -> None:
    async with fake_node() as node:
        await node.attachments.add(add_request("c1"), NETNS)
        with pytest.raises(CniError, match=r"CNI_IFNAME: 'eth0' exists already") as caught:
            await node.attachments.add(add_request("c2", "other"), NETNS)
        assert caught.value.code == codes.INVALID_ENVIRONMENT
        await node.settled()
        assert node.problems() == []


async def test_two_interfaces_of_one_container_are_two_attachments() -> None:
    async with fake_node() as node:
        await node.attachments.add(add_request(ifname="eth0"), NETNS)
        await node.attachments.add(add_request(ifname="net1"), NETNS)
        assert len(node.attachments.snapshot()) == 2
        await node.attachments.delete(del_request(ifname="eth0"))
        assert [key.ifname for key in node.attachments.snapshot()] == ["net1"]
        await node.settled()
        assert node.problems() == []


async def test_an_attach_that_the_kernel_refuses_leaves_nothing() -> None:
    async with fake_node() as node:
        node.wirer.injection.fail(1, errno.ENOMEM)
        with pytest.raises(CniError, match=r"default/web-0: create the pair.*ENOMEM") as caught:
            await node.attachments.add(add_request(), NETNS)
        assert caught.value.code == codes.KERNEL_REFUSED
        assert node.attachments.snapshot() == {} and node.changes[-1].attachment is None
        await node.settled()
        assert node.problems() == []
        await node.attachments.add(add_request(), NETNS)
        assert node.problems() == []


async def test_an_attach_that_cannot_even_be_undone_is_undone_by_the_next_start() -> None:
    async with fake_node() as node:
        node.wirer.injection.fail(1, errno.ENOMEM)
        node.wirer.injection.fail(2, errno.EIO)
        with pytest.raises(CniError, match="ENOMEM"):
            await node.attachments.add(add_request(), NETNS)
        await node.settled()
        taker = await node.attachments.add(add_request("c2", "x", ips=()), NETNS)
        async with fake_node(store=node.store, kernel=node.kernel) as again:
            await again.settled()
            assert again.attachments.snapshot() == {taker.key: taker}
            assert again.problems() == []


async def test_a_detach_that_the_kernel_refuses_is_kept_for_the_retry() -> None:
    async with fake_node() as node:
        attachment = await node.attachments.add(add_request(), NETNS)
        node.wirer.injection.fail(1, errno.ENOMEM)
        with pytest.raises(KernelError, match="ENOMEM"):
            await node.attachments.delete(del_request())
        assert node.attachments.snapshot() == {attachment.key: attachment}
        assert node.problems() == []
        await node.attachments.delete(del_request())
        await node.settled()
        assert node.attachments.snapshot() == {} and node.problems() == []


@pytest.mark.parametrize("failing", [1, 2])
async def test_a_store_that_refuses_leaves_nothing(failing: int) -> None:
    async with fake_node() as node:
        node.store.fail_at = {failing}
        with pytest.raises(StoreError):
            await node.attachments.add(add_request(), NETNS)
        assert node.attachments.snapshot() == {} and node.changes[-1].attachment is None
        await node.settled()
        assert node.problems() == []
        await node.attachments.add(add_request(), NETNS)
        assert node.problems() == []


async def test_a_del_that_cannot_be_stored_is_kept_for_the_retry() -> None:
    async with fake_node() as node:
        attachment = await node.attachments.add(add_request(), NETNS)
        node.store.fail_at = {3}
        with pytest.raises(StoreError):
            await node.attachments.delete(del_request())
        assert node.attachments.snapshot() == {attachment.key: attachment}
        assert node.changes[-1].attachment == attachment
        await node.attachments.delete(del_request())
        await node.settled()
        assert node.problems() == []


async def test_an_agent_that_is_not_ready_refuses_add_for_now() -> None:
    async with fake_node() as node:
        standing = await node.attachments.add(add_request("c0", "old"), 1)
        node.context = PodContext(mtu=1450, not_ready="the node has no pod CIDR yet")
        with pytest.raises(CniError, match="no pod CIDR yet") as caught:
            await node.attachments.add(add_request(), NETNS)
        assert caught.value.code == codes.TRY_AGAIN_LATER
        assert await node.attachments.add(add_request("c0", "old"), 1) == standing


async def test_two_adds_at_once_give_one_attachment() -> None:
    async with fake_node() as node:
        both = await asyncio.gather(*(node.attachments.add(add_request(), NETNS) for _ in range(2)))
        assert both[0] == both[1]
        assert len(node.in_use()) == 1
        assert node.problems() == []


async def test_verbs_for_one_attachment_take_turns_and_busy_tells() -> None:
    async with fake_node() as node:
        key = add_request().key
        adding = asyncio.create_task(node.attachments.add(add_request(), NETNS))
        await asyncio.sleep(0)
        assert node.attachments.busy == {key}
        deleting = asyncio.create_task(node.attachments.delete(del_request()))
        attachment = await adding
        assert await deleting == attachment
        await node.settled()
        assert node.attachments.busy == frozenset() and node.problems() == []


@pytest.mark.parametrize("order", list(itertools.permutations(["ADD", "DEL", "ADD", "DEL"], 4))[::3])
async def test_any_race_of_adds_and_dels_ends_consistent(order: tuple[str, ...]) -> None:
    async with fake_node(reaping_at_once=False) as node:

        async def one(verb: str) -> None:
            if verb == "ADD":
                await node.attachments.add(add_request(), NETNS)
            else:
                await node.attachments.delete(del_request())

        await asyncio.gather(*(one(verb) for verb in order))
        node.wirer.reap()
        await node.settled()
        assert len(node.attachments.snapshot()) == (order[-1] == "ADD")
        assert node.problems() == []


async def test_many_pods_at_once_get_different_addresses() -> None:
    async with fake_node() as node:
        made = await asyncio.gather(
            *(node.attachments.add(add_request(f"c{number}", f"web-{number}"), number) for number in range(100))
        )
        assert len({attachment.ips for attachment in made}) == 100
        assert node.problems() == []


async def test_check_passes_as_built_and_names_what_changed() -> None:
    async with fake_node() as node:
        attachment = await node.attachments.add(add_request(), NETNS)
        await node.attachments.check(check_request(attachment), NETNS)
        with pytest.raises(CniError, match="prevResult does not list interface") as caught:
            await node.attachments.check(check_request(attachment, Result()), NETNS)
        assert "prevResult does not list address 10.244.1.2/32" in caught.value.details
        with pytest.raises(CniError, match="not the namespace"):
            await node.attachments.check(check_request(attachment), NETNS + 1)
        node.kernel.objects.clear()
        with pytest.raises(CniError, match=r"default/web-0.*10\.244\.1\.2") as caught:
            await node.attachments.check(check_request(attachment), NETNS)
        assert caught.value.code == codes.WIRING_DIFFERS
        await node.attachments.delete(del_request())
        with pytest.raises(CniError) as caught:
            await node.attachments.check(check_request(attachment), NETNS)
        assert caught.value.code == codes.UNKNOWN_CONTAINER


def gc(*containers: str, network: str = "podwire") -> GcRequest:
    return GcRequest(network, frozenset(AttachmentKey(network, container, "eth0") for container in containers))


async def test_gc_needs_a_second_witness(tmp_path: Path) -> None:
    async with fake_node() as node:
        kept = await node.attachments.add(add_request("c1", "listed"), 1)
        alive = await node.attachments.add(add_request("c2", "unlisted-but-wired"), 2)
        linkless_request = msgspec.structs.replace(add_request("c3", "no-link"), netns=str(tmp_path))
        linkless = await node.attachments.add(linkless_request, tmp_path.stat().st_ino)
        node.wirer.detach(linkless.key.host_ifname, ())
        gone = await node.attachments.add(add_request("c4", "gone"), 4)
        node.wirer.detach(gone.key.host_ifname, pod_wiring(gone).host_routes)
        report = await node.attachments.gc(gc("c1"))
        # c3's link is gone too, but the path of its namespace still leads to it.
        assert report == GcReport(
            {gone.key: "the runtime does not list it, and its network namespace and its host link are gone"},
            (alive.key, linkless.key),
        )
        assert kept.key in node.attachments.snapshot()


async def test_gc_believes_the_cluster_by_uid() -> None:
    async with fake_node() as node:
        replaced = await node.attachments.add(add_request("c1", "web-0"), 1)
        running = await node.attachments.add(add_request("c2", "web-1"), 2)
        unnamed = await node.attachments.add(msgspec.structs.replace(add_request("c3"), pod=None), 3)
        assert (await node.attachments.gc(gc())).removed == {}  # the cluster cannot be asked
        node.running = [PodRef("default", "web-0", "a-later-one"), PodRef("default", "web-1", "")]
        report = await node.attachments.gc(gc())
        reason = "the runtime does not list it, and pod default/web-0 is not meant to run on this node"
        assert report.removed == {replaced.key: reason}
        assert set(report.kept) == {running.key, unnamed.key}
        await node.settled()
        assert node.problems() == []


async def test_gc_without_a_list_needs_the_cluster_and_the_kernel() -> None:
    async with fake_node() as node:
        stopped = await node.attachments.add(add_request("c1", "web-1"), 1)
        gone = await node.attachments.add(add_request("c2", "web-2"), 2)
        both = await node.attachments.add(add_request("c3", "web-3"), 3)
        for attachment in (gone, both):
            node.wirer.detach(attachment.key.host_ifname, pod_wiring(attachment).host_routes)
        node.running = [PodRef("default", "web-2", "u-web-2")]
        report = await node.attachments.gc(GcRequest("podwire", None))
        assert list(report.removed) == [both.key] and report.kept == ()
        assert set(node.attachments.snapshot()) == {stopped.key, gone.key}


async def test_gc_touches_its_own_network_only() -> None:
    async with fake_node() as node:
        node.running = []
        attachment = await node.attachments.add(add_request(), NETNS)
        assert await node.attachments.gc(gc(network="other")) == GcReport({})
        assert attachment.key in node.attachments.snapshot()


async def test_gc_goes_on_after_a_failure_and_reports_it() -> None:
    async with fake_node() as node:
        node.running = []
        for number in range(3):
            await node.attachments.add(add_request(f"c{number}", f"web-{number}"), number)
        node.wirer.injection.fail(2)
        with pytest.raises(CniError, match=r"1 dead attachments.*web-1") as caught:
            await node.attachments.gc(gc())
        assert caught.value.code == codes.GC_INCOMPLETE
        assert [key.container_id for key in node.attachments.snapshot()] == ["c1"]


async def test_status() -> None:
    async with fake_node(pools=("10.244.1.0/29",)) as node:
        request = StatusRequest("podwire")
        node.attachments.status(request)
        node.context = PodContext(mtu=1450, not_ready="the API server has not answered yet")
        with pytest.raises(CniError, match="API server") as caught:
            node.attachments.status(request)
        assert caught.value.code == codes.NOT_AVAILABLE
        node.context = PodContext(mtu=1450, not_ready="the vxlan device cannot be made", limited=True)
        with pytest.raises(CniError) as caught:
            node.attachments.status(request)
        assert caught.value.code == codes.LIMITED_CONNECTIVITY
        node.context = PodContext(mtu=1450)
        for number in range(5):
            await node.attachments.add(add_request(f"c{number}", f"web-{number}"), number)
        with pytest.raises(CniError, match=r"10\.244\.1\.0/29") as caught:
            node.attachments.status(request)
        assert caught.value.code == codes.NOT_AVAILABLE
        await node.attachments.delete(del_request("c0"))
        node.attachments.status(request)  # a cooling address will serve soon: no reason to turn the node away


async def test_a_restart_takes_up_everything() -> None:
    async with fake_node() as node:
        attachments = [await node.attachments.add(add_request(f"c{n}", f"web-{n}"), n) for n in range(3)]
        await node.attachments.delete(del_request("c0"))
        node.wirer.detach(attachments[1].key.host_ifname, ())
        async with fake_node(store=node.store, kernel=node.kernel) as again:
            assert again.changes == []
            assert again.attachments.snapshot() == {found.key: found for found in attachments[1:]}
            assert set(again.in_use()) == {"10.244.1.3", "10.244.1.4"}
            with pytest.raises(AddressInUse, match="cools down"):
                await again.attachments.add(add_request("c9", "x", ips=attachments[0].ips), 9)
            report = await again.attachments.recover()
            assert [found.key for found in report.vanished] == [attachments[1].key]


async def test_unknown_links_are_left_alone_until_they_are_settled() -> None:
    async with fake_node() as node:
        lost = [await node.attachments.add(add_request(f"c{n}", f"web-{n}"), n) for n in range(3)]
        for attachment in lost:
            node.store.remove(attachment.key, {})
        async with fake_node(store=node.store, kernel=node.kernel) as again:
            names = {attachment.key.host_ifname for attachment in lost}
            report = await again.attachments.recover()
            assert {link.name for link in report.unknown} == names and not report.complete
            assert {link.name for link in await again.attachments.sweep()} == names
            assert {link.name for link in again.wirer.host_links()} == names
            adopted, orphaned, stray = lost
            orphan = Orphan(orphaned.key.host_ifname, orphaned.ips, orphaned.owner)
            await again.attachments.adopt([adopted], [orphan])
            assert again.attachments.snapshot() == {adopted.key: adopted}
            assert set(again.in_use()) == {str(addr) for attachment in (adopted, orphaned) for addr in attachment.ips}
            assert [link.name for link in await again.attachments.sweep()] == [stray.key.host_ifname]
            assert {link.name for link in again.wirer.host_links()} == names - {stray.key.host_ifname}
            await again.attachments.delete(del_request("c1"))  # the runtime still knows the orphan's pod
            await again.settled()
            assert again.attachments.orphans == () and set(again.in_use()) == {str(adopted.ips[0])}
            assert [link.name for link in again.wirer.host_links()] == [adopted.key.host_ifname]


async def test_an_orphan_that_is_added_again_becomes_an_attachment() -> None:
    async with fake_node() as node:
        first = await node.attachments.add(add_request(), NETNS)
        node.store.remove(first.key, {})
        async with fake_node(store=node.store, kernel=node.kernel) as again:
            await again.attachments.adopt([], [Orphan(first.key.host_ifname, first.ips, first.owner)])
            second = await again.attachments.add(add_request(), NETNS)
            assert again.attachments.orphans == ()
            await again.settled()
            assert again.in_use() == {str(second.ips[0]): "default/web-0"}


async def test_one_address_stored_twice_goes_to_the_older_attachment() -> None:
    async with fake_node() as node:
        first = await node.attachments.add(add_request(), NETNS)
        later = msgspec.structs.replace(
            first, key=AttachmentKey("podwire", "c2", "eth0"), created_at=2000.0, pod=PodRef("default", "other")
        )
        node.store.put(later)
        async with fake_node(store=node.store, kernel=node.kernel) as again:
            assert again.attachments.snapshot() == {first.key: first}
