"""The proof on a real lab: agents, CNI plugin and overlay are podwire's own; each way of breaking them is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podwire.cluster.kubeconfig import load
from podwire.lab.cluster import Lab
from podwire.lab.fabric import Fabric
from podwire.verify.proof import Proof
from podwire.verify.run import Options, verify
from podwire.verify.transport_k8s import KubernetesTransport
from tests.support.netns import needs_root

pytestmark = [needs_root, pytest.mark.root, pytest.mark.lab]


def prove(lab: Lab, evidence: Path | None = None) -> Proof:
    async def run() -> Proof:
        transport = KubernetesTransport(load(str(lab.kubeconfig)), image="podwire/probe")
        return await verify(transport, Options(timeout=1.5, evidence=evidence), lambda _: None)

    return asyncio.run(run())


def codes(proof: Proof) -> set[str]:
    return {finding.code for finding in proof.findings}


@contextmanager
def rules(lab: Lab, node: str, text: str) -> Iterator[None]:
    """A table ``inet harm`` on a node, for the length of the block."""
    lab.node(node).run(["nft", f"table inet harm {{ {text} }}"])
    try:
        yield
    finally:
        lab.node(node).run(["nft", "delete table inet harm"])


def test_a_fresh_lab_keeps_the_guarantees(lab: Lab, tmp_path: Path) -> None:
    proof = prove(lab, tmp_path / "evidence")
    assert proof.exit_status == 0, (proof.verdicts, proof.findings)
    assert proof.coverage.tried == 6 and len(proof.captures) == 6


def test_masqueraded_pod_traffic_is_found(lab: Lab) -> None:
    node = lab.nodes[0].name
    chain = (
        "chain c { type nat hook postrouting priority 90; ip saddr 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade; };"
    )
    with rules(lab, node, chain):
        proof = prove(lab)
    assert "masqueraded" in codes(proof) and proof.exit_status == 1
    assert any(finding.where == node for finding in proof.findings)


def test_a_blocked_vxlan_port_is_found(lab: Lab, fabric: Fabric) -> None:
    fabric.block_udp(4789)
    try:
        proof = prove(lab)
    finally:
        fabric.unblock_udp(4789)
    assert codes(proof) == {"blocked-vxlan-port"}, proof.findings
    assert all("UDP port 4789" in finding.sentence for finding in proof.findings)


def test_a_path_that_drops_large_packets_is_found(lab: Lab) -> None:
    """A black hole: the node says nothing, so no agent and no path MTU discovery can notice."""
    chain = "chain c { type filter hook forward priority 0; meta length > 1300 drop; };"
    with rules(lab, lab.nodes[1].name, chain):
        proof = prove(lab)
    assert codes(proof) == {"wrong-mtu"}, proof.findings
    assert all("1300 is the most that does" in finding.sentence for finding in proof.findings)


def test_a_node_that_is_cut_off_is_found(lab: Lab) -> None:
    node = lab.nodes[-1]
    node.cut()
    try:
        proof = prove(lab)
    finally:
        node.heal()
    assert codes(proof) & {"node-cut-off", "agent-down"}
    assert any(node.name in finding.where for finding in proof.findings)


@pytest.fixture
def fabric(lab: Lab) -> Fabric:
    return lab.fabric
