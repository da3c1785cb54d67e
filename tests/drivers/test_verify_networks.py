"""The proof on networks wired by hand: a healthy one is proven, each way of breaking it is found and named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.verify.plan import Sample
from podwire.verify.proof import Proof
from podwire.verify.run import Options, verify
from podwire.verify.transport_netns import NamespaceTransport, Stage
from podwire.verify.values import Finding
from tests.support.hand_wired import HandWired, hand_wired, node_ip, wire_pod
from tests.support.netns import needs_root, run_in

pytestmark = [needs_root, pytest.mark.root]


def prove(stage: Stage, evidence: Path | None = None) -> Proof:
    options = Options(sample=Sample(), timeout=1.2, evidence=evidence)
    return asyncio.run(verify(NamespaceTransport(stage), options, lambda _: None))


def only(proof: Proof, code: str) -> list[Finding]:
    """The findings, which must all have *code*: nothing else may be blamed."""
    assert {finding.code for finding in proof.findings} == {code}, [finding.sentence for finding in proof.findings]
    return list(proof.findings)


@pytest.fixture
def routed() -> Iterator[HandWired]:
    with hand_wired() as cluster:
        yield cluster


@pytest.fixture
def overlay() -> Iterator[HandWired]:
    with hand_wired(vxlan=True) as cluster:
        yield cluster


def test_a_healthy_routed_network_is_proven_with_captures_that_tcpdump_reads(routed: HandWired, tmp_path: Path) -> None:
    proof = prove(routed.stage(), tmp_path / "evidence")
    assert [verdict.status for verdict in proof.verdicts] == ["proven"] * 3, proof.verdicts
    assert proof.exit_status == 0 and not proof.findings
    assert proof.coverage.tried == proof.coverage.pairs == 6
    pairs = {(each.flow.source_node, each.flow.target_node) for each in proof.judged if each.flow.kind == "pod"}
    assert len(pairs) == 9, "every ordered pair, and each node with itself"
    full = [each for each in proof.judged if each.flow.size == "full" and each.flow.proto != "tcp"]
    assert full and all(packet.length == 1500 for each in full for packet in each.evidence.at_receiver or ())
    assert len(proof.captures) == 6
    listing = run_in(routed.switch, "tcpdump", "-Z", "root", "-nr", str(tmp_path / "evidence/default_p1-5_main.pcap"))
    assert "IP 10.244.1.5." in listing.stdout and "> 10.244.2.5." in listing.stdout


def test_a_healthy_overlay_is_proven(overlay: HandWired) -> None:
    proof = prove(overlay.stage())
    assert proof.exit_status == 0, (proof.verdicts, proof.findings)
    assert {each.flow.packet for each in proof.judged if each.flow.size == "full"} == {1450}


def test_masqueraded_pod_traffic_is_found_with_its_conntrack_entry(routed: HandWired) -> None:
    rules = "table ip nat { chain post { type nat hook postrouting priority 100; oifname uplink masquerade; }; }"
    routed.on("node2", "nft", rules)
    proof = prove(routed.stage())
    (finding,) = only(proof, "masqueraded")
    assert finding.where == "node2" and finding.guarantee == 2
    assert f"saw {node_ip(2)}, an address of node node2" in finding.sentence
    assert any("conntrack on node2" in line for line in finding.evidence)
    assert proof.exit_status == 1
    translated = {each.flow.source_node for each in proof.judged if each.outcome == "translated"}
    assert translated == {"node2"}, "only what node2's pods send is touched"


def test_translation_of_the_source_port_alone_is_found(routed: HandWired) -> None:
    """The receiver sees the right address; its port tells."""
    routed.on(
        "node1", "nft",
        "table ip nat { chain post { type nat hook postrouting priority 100; "
        "ip saddr 10.244.1.5 ip protocol udp snat to 10.244.1.5:40000-40010; }; }",
    )  # fmt: skip
    proof = prove(routed.stage())
    only(proof, "masqueraded")
    assert {(each.flow.proto, each.flow.source_node) for each in proof.judged if not each.ok} == {("udp", "node1")}


def test_a_missing_route_is_found_on_the_node_that_lacks_it(routed: HandWired) -> None:
    routed.on("node1", "ip", "route", "del", "10.244.3.0/24")
    findings = only(prove(routed.stage()), "missing-route")
    assert [finding.where for finding in findings] == ["node1: 10.244.3.0/24"]
    assert "node node1 has no route to 10.244.3.0/24, the pods of node3" in findings[0].sentence
    assert "default route via 10.89.0.1" in findings[0].sentence


def test_an_unreachable_route_in_its_place_is_found_too(routed: HandWired) -> None:
    routed.on("node1", "ip", "route", "replace", "unreachable", "10.244.3.0/24")
    (finding,) = only(prove(routed.stage()), "missing-route")
    assert "unreachable 10.244.3.0/24" in finding.sentence


def test_a_route_to_the_wrong_node_is_found(routed: HandWired) -> None:
    routed.on("node1", "ip", "route", "replace", "10.244.3.0/24", "via", node_ip(2))
    routed.on("node2", "ip", "route", "replace", "unreachable", "10.244.3.0/24")
    proof = prove(routed.stage())
    found = {(finding.code, finding.where) for finding in proof.findings}
    assert ("wrong-route", "node1: 10.244.3.0/24") in found


def test_a_pod_without_its_own_host_route_is_found(routed: HandWired) -> None:
    routed.on("node2", "ip", "route", "del", "10.244.2.6/32")
    proof = prove(routed.stage())
    assert {finding.where for finding in only(proof, "missing-route")} == {"node2: 10.244.2.6"}
    assert [verdict.status for verdict in proof.verdicts] == ["proven", "broken", "broken"]


def test_an_mtu_too_large_for_the_path_is_found_with_the_size_that_passes(routed: HandWired) -> None:
    routed.on("node3", "ip", "link", "set", "uplink", "mtu", "1400")
    run_in(routed.switch, "ip", "link", "set", "n3", "mtu", "1400")
    findings = only(prove(routed.stage()), "wrong-mtu")
    assert {finding.where for finding in findings} == {
        "node1 → node3", "node2 → node3", "node3 → node1", "node3 → node2",
    }  # fmt: skip
    for finding in findings:
        assert "packets of 1500 bytes" in finding.sentence and "1400 is the most that does" in finding.sentence
        assert any("uplink on node3 has MTU 1400" in line for line in finding.evidence)


def test_an_overlay_that_forgot_its_own_overhead_is_found(overlay: HandWired) -> None:
    """The underlay shrinks after the overlay was made for it: 1450 bytes and 50 of VXLAN no longer fit."""
    for number, node in enumerate(overlay.nodes, 1):
        overlay.on(node, "ip", "link", "set", "uplink", "mtu", "1450")
        run_in(overlay.switch, "ip", "link", "set", f"n{number}", "mtu", "1450")
    findings = only(prove(overlay.stage()), "wrong-mtu")
    assert len(findings) == 6
    assert all("1400 is the most that does" in finding.sentence for finding in findings)
    assert all(
        any("ov0 on node" in line and "its carrier uplink only 1450" in line for line in finding.evidence)
        for finding in findings
    )


def test_a_duplicate_address_is_found_and_both_pods_are_named(routed: HandWired) -> None:
    """Two pods with one address: podwire's own allocator cannot do that, so an impostor is wired by hand."""
    taken = routed.ips["default/p3-6"]
    routed.ips["default/p2-6"] = taken
    routed.inside("default/p2-6", "ip", "link", "del", "eth0")
    wire_pod(routed, "default/p2-6", "pod6", 1500)
    proof = prove(routed.stage())
    (finding,) = [each for each in proof.findings if each.code == "duplicate-address"]
    assert finding.where == taken and finding.guarantee == 1
    assert "default/p2-6 on node2" in finding.sentence and "default/p3-6 on node3" in finding.sentence
    assert proof.verdicts[0].status == "broken" and proof.exit_status == 1


def test_a_duplicate_that_the_api_does_not_know_of_is_found(routed: HandWired) -> None:
    """The API shows the address that was given; the pod's interface has another pod's."""
    routed.inside("default/p2-6", "ip", "addr", "flush", "dev", "eth0")
    routed.inside("default/p2-6", "ip", "addr", "add", "10.244.1.6/32", "dev", "eth0")
    proof = prove(routed.stage())
    codes = {finding.code for finding in proof.findings}
    assert {"duplicate-address", "address-as-told"} <= codes


@pytest.mark.parametrize(
    ("hook", "rule", "where"),
    [
        ("output", "udp dport 4789 ip daddr 10.89.0.12 drop", "its datagrams do not leave node1"),
        ("input", "udp dport 4789 ip saddr 10.89.0.12 drop", "its datagrams reach node1, and a rule there drops them"),
    ],
)
def test_a_vxlan_port_blocked_on_a_node_is_found(overlay: HandWired, hook: str, rule: str, where: str) -> None:
    overlay.on("node1", "nft", f"table ip f {{ chain c {{ type filter hook {hook} priority 0; {rule}; }}; }}")
    findings = only(prove(overlay.stage()), "blocked-vxlan-port")
    assert any(where in finding.sentence for finding in findings), [finding.sentence for finding in findings]
    assert all("UDP port 4789 (VXLAN) is blocked" in finding.sentence for finding in findings)
    assert {"node1", "node2"} >= {name for finding in findings for name in finding.where.split(" → ")}


def test_a_vxlan_port_blocked_between_the_nodes_is_found(overlay: HandWired) -> None:
    run_in(
        overlay.switch, "nft",
        "table bridge f { chain c { type filter hook forward priority 0; oifname n3 udp dport 4789 drop; }; }",
    )  # fmt: skip
    findings = only(prove(overlay.stage()), "blocked-vxlan-port")
    assert {finding.where for finding in findings} == {"node1 → node3", "node2 → node3"}
    assert all("dropped in between" in finding.sentence for finding in findings)


def test_a_missing_forwarding_entry_is_found(overlay: HandWired) -> None:
    overlay.on("node1", "bridge", "fdb", "del", "02:00:00:00:00:02", "dev", "ov0", "dst", node_ip(2))
    (finding,) = only(prove(overlay.stage()), "missing-vtep")
    assert finding.where == "node1 → node2" and "no forwarding entry (FDB)" in finding.sentence


def test_a_node_that_is_cut_off_is_found(routed: HandWired) -> None:
    run_in(routed.switch, "ip", "link", "set", "n2", "down")
    (finding,) = only(prove(routed.stage()), "node-cut-off")
    assert finding.where == "node2"


def test_forwarding_switched_off_is_found(routed: HandWired) -> None:
    routed.on("node2", "sysctl", "-qw", "net.ipv4.ip_forward=0")
    findings = only(prove(routed.stage()), "forwarding-off")
    assert {finding.where for finding in findings} == {"node2"}


def test_containers_that_do_not_share_a_network_are_found(routed: HandWired) -> None:
    """A second container in a namespace of its own: no shared localhost, no shared ports."""
    stage = routed.stage()
    transport = NamespaceTransport(stage)
    strange = NamespaceTransport(
        Stage(stage.topology, stage.nodes, {**stage.pods, "default/p1-5": stage.pods["default/p1-6"]})
    )
    usual = transport.open

    async def open_elsewhere(seat: object) -> object:
        return await (strange.open(seat) if getattr(seat, "container", "") == "side" else usual(seat))  # type: ignore[arg-type]

    transport.open = open_elsewhere  # type: ignore[assignment,method-assign]
    try:
        proof = asyncio.run(_prove_and_close(transport, strange))
    finally:
        pass
    assert proof.verdicts[0].status == "broken"
    assert {check.name for check in proof.checks if check.ok is False} >= {"localhost", "port conflict"}


async def _prove_and_close(transport: NamespaceTransport, other: NamespaceTransport) -> Proof:
    try:
        return await verify(transport, Options(timeout=1.2), lambda _: None)
    finally:
        await other.close()


def test_a_probe_that_dies_leaves_the_proof_unproven_not_proven(routed: HandWired) -> None:
    transport = NamespaceTransport(routed.stage())
    usual = transport.open

    async def open_dead(seat: object) -> object:
        stream = await usual(seat)  # type: ignore[arg-type]
        if getattr(seat, "pod", "") == "default/p3-5":
            await stream.close()
        return stream

    transport.open = open_dead  # type: ignore[assignment,method-assign]
    proof = asyncio.run(verify(transport, Options(timeout=1.2), lambda _: None))
    assert proof.exit_status == 2
    assert any(finding.code == "agent-down" and finding.where == "node3" for finding in proof.findings)
