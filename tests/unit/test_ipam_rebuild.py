"""Rebuild: what comes back whole, what is only kept from others, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network

import msgspec

from podwire.ipam.allocator import Allocator
from podwire.ipam.rebuild import Candidate, FoundLink, Orphan, Rebuilt, rebuild
from podwire.model.attachment import Attachment, AttachmentKey
from podwire.model.cluster import Pod
from podwire.model.kernel import Neighbour, Route
from tests.support.attachments import attachment

NOW = 9000.0


def run(
    kernel: Iterable[Attachment],
    *,
    known: Mapping[AttachmentKey, Attachment] | None = None,
    pods: Iterable[Attachment] = (),
    candidates: Iterable[Candidate] = (),
    neighbours: bool = True,
) -> Rebuilt:
    kernel = list(kernel)
    return rebuild(
        known or {},
        links=[FoundLink(entry.key.host_ifname, entry.host_mac, entry.mtu) for entry in kernel],
        routes=[Route(iface.network, entry.key.host_ifname) for entry in kernel for iface in entry.addresses],
        neighbours=[
            Neighbour(entry.key.host_ifname, addr, entry.mac) for entry in kernel for addr in entry.ips if neighbours
        ],
        pods=[Pod(entry.pod.namespace, entry.pod.name, entry.pod.uid, ips=entry.ips) for entry in pods if entry.pod],
        candidates=candidates,
        now=NOW,
    )


def candidate(entry: Attachment, **changes: object) -> Candidate:
    return msgspec.structs.replace(Candidate(entry.key, entry.netns, entry.netns_inode, entry.pod), **changes)


def reborn(entry: Attachment) -> Attachment:
    return msgspec.structs.replace(entry, created_at=NOW, state="ready")


ONE, TWO = attachment(5), attachment(6, "10.244.1.6/32", "fd00::6/128")


def test_what_the_runtime_and_the_kernel_know_comes_back_whole() -> None:
    result = run([ONE, TWO], pods=[ONE, TWO], candidates=[candidate(ONE), candidate(TWO)])
    assert result.attachments == (reborn(ONE), reborn(TWO))
    assert (result.orphans, dict(result.holds)) == ((), {})
    assert result.notes[1] == "default/pod-6 is rebuilt with 10.244.1.6, fd00::6"


def test_the_pod_is_found_by_its_address() -> None:
    result = run([ONE], pods=[ONE], candidates=[candidate(ONE, pod=None)])
    assert result.attachments == (reborn(ONE),)


def test_what_the_store_knows_is_left_alone() -> None:
    result = run([ONE, TWO], known={ONE.key: ONE}, pods=[ONE, TWO], candidates=[candidate(ONE), candidate(TWO)])
    assert result.attachments == (reborn(TWO),)


def test_a_route_without_a_key_is_an_orphan() -> None:
    result = run([ONE, TWO], pods=[ONE])
    assert set(result.orphans) == {
        Orphan(ONE.key.host_ifname, ONE.ips, "default/pod-5"),
        Orphan(TWO.key.host_ifname, TWO.ips, f"unclaimed/{TWO.key.host_ifname}"),
    }
    assert result.attachments == ()


def test_a_candidate_that_lacks_something_is_an_orphan() -> None:
    for result in (
        run([ONE], candidates=[candidate(ONE, netns_inode=0)]),
        run([ONE], candidates=[candidate(ONE)], neighbours=False),
    ):
        assert [orphan.host_ifname for orphan in result.orphans] == [ONE.key.host_ifname]
        assert result.attachments == ()


def test_a_running_pod_without_a_route_keeps_its_address() -> None:
    result = run([], pods=[ONE, TWO], candidates=[candidate(TWO)])
    assert dict(result.holds) == {ip_address("10.244.1.5"): "default/pod-5"}
    assert result.orphans == (Orphan(TWO.key.host_ifname, TWO.ips, "default/pod-6"),)
    assert "held for the running pod default/pod-5" in result.notes[-1]


def test_a_candidate_without_link_and_pod_is_nothing() -> None:
    result = run([], candidates=[candidate(ONE)])
    assert result == Rebuilt((), (), {}, ())


def test_no_address_is_given_again_after_a_rebuild() -> None:
    """Whatever part is known of each pod, the allocator that takes it all in gives none of the addresses away."""
    entries = [attachment(number) for number in range(2, 12)]
    result = run(
        entries[:7],
        known={entry.key: entry for entry in entries[:2]},
        pods=entries,
        candidates=[candidate(entry) for entry in entries[1:5]],
    )
    allocator = Allocator([ip_network("10.244.1.0/27")], cooldown=0)
    for entry in entries[:2]:
        allocator.hold(entry.ips, entry.owner)
    for rebuilt in result.attachments:
        allocator.hold(rebuilt.ips, rebuilt.owner)
    for orphan in result.orphans:
        allocator.hold(orphan.addresses, orphan.owner)
    for addr, owner in result.holds.items():
        allocator.hold([addr], owner)
    assert {allocator.owner(entry.ips[0]) for entry in entries} == {entry.owner for entry in entries}
    taken = {entry.ips[0] for entry in entries}
    assert not taken & {allocator.allocate("new/pod", NOW)[0] for _ in range(18)}
